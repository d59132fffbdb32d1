"""Tables of the settings that do not describe a source: their keys, defaults and checks."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from syncd.core.operations.client_address import parse_network
from syncd.core.operations.web_origin import normalize_origin
from syncd.settings.cron import check_expression
from syncd.settings.validation import (
    Duration,
    PositiveDuration,
    Region,
    Rule,
    Secret,
    check_secret,
    did_you_mean,
    is_attribute,
    read_secret,
)


class Table(BaseModel):
    """Base of all tables: frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Database(Table):
    """[database]: the PostgreSQL database of the contacts."""

    url: str
    direct_url: str | None = None
    password_file: Secret | None = None
    pool_size: int = Field(default=10, ge=1, le=200)
    connect_timeout: PositiveDuration = timedelta(seconds=5)
    statement_timeout: PositiveDuration = timedelta(seconds=10)

    @property
    def session_url(self) -> str:
        """URL for sessions that keep their state between transactions: runs, commands, migrations and LISTEN."""
        return self.direct_url or self.url

    @field_validator("url", "direct_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        # the URL is never shown: it may hold a password, and one with a slash in it looks like a port
        scheme, _, rest = url.partition("://")
        servers, _, parameters = rest.partition("?")
        user, _, hosts = servers.rpartition("@")
        if scheme not in {"postgresql", "postgres"} or not rest:
            raise ValueError("write a libpq URL: postgresql://user@host/database")
        if ":" in user or "password" in parse_qs(urlsplit(f"//?{parameters}").query):
            raise ValueError("a password does not belong here; put it into a file and name that in password_file")
        for host in hosts.partition("/")[0].split(","):
            if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:[0-9]+)?", host):
                raise ValueError("its host or port is not understood; write postgresql://user@host:5432/database")
        return url

    @field_validator("password_file")
    @classmethod
    def _check_password_file(cls, path: Path | None) -> Path | None:
        return path and check_secret(path)


class Http(Table):
    """[http]: the HTTP server and its limits."""

    listen: str = "127.0.0.1:8080"
    public_url: str = ""
    metrics: bool = True
    trusted_proxies: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    cache_mib: int = Field(default=32, ge=0, le=4096)
    max_streams: int = Field(default=2000, ge=1, le=100_000)
    max_connections: int = Field(default=4096, ge=1, le=100_000)
    shutdown_timeout: Duration = timedelta(seconds=20)

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, listen: str) -> str:
        if listen.startswith("unix:/"):
            return listen
        host, colon, port = listen.rpartition(":")
        if not (colon and host and re.fullmatch("[0-9]{1,5}", port) and int(port) < 65536):
            raise ValueError(f'{listen!r} is not an address; write "127.0.0.1:8080", "[::1]:8080" or "unix:/path"')
        return listen

    @field_validator("public_url")
    @classmethod
    def _normalize_public_url(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url):
            raise ValueError('write the base that clients see, such as "https://directory.example.com"')
        return url.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                if proxy != "unix":
                    parse_network(proxy)
            except ValueError:
                raise ValueError(
                    f'{proxy!r} is not a network; write "10.0.0.0/8" (no host bits behind the /), "192.0.2.7" or "unix"'
                ) from None
        return proxies

    @field_validator("allowed_origins")
    @classmethod
    def _normalize_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        normalized = [normalize_origin(origin) for origin in origins]
        for origin, result in zip(origins, normalized, strict=True):
            if result is None:
                raise ValueError(
                    f'{origin!r} is not an origin; write each as browsers send it, such as "https://wall.example.com", '
                    "without a path; there is no wildcard"
                )
        return tuple(filter(None, normalized))


class Log(Table):
    """[log]: level, format and rate of log lines."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    repeat_interval: PositiveDuration = timedelta(hours=1)


class WorkerSettings(Table):
    """[worker]: the processes of runs, imports and explanations."""

    memory_mib: int = Field(default=512, ge=128, le=1_048_576)


class Schedule(Table):
    """A schedule: either an interval or a cron expression."""

    every: PositiveDuration | None = None
    cron: str | None = None
    timezone: str = "UTC"
    jitter: Duration = timedelta(0)

    @model_validator(mode="after")
    def _check_exclusive(self) -> "Schedule":
        if (self.every is None) == (self.cron is None):
            raise ValueError('give either every = "15m" or cron = "*/15 6-22 * * mon-fri"')
        return self

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, expression: str | None) -> str | None:
        return expression and check_expression(expression)

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is not a time zone{did_you_mean(name, available_timezones())}")
        return name


class Webhook(Table):
    """[alerts.webhook]: the URL that alerts are posted to as JSON."""

    url: str | None = None
    url_file: Secret | None = Field(default=None, validate_default=True)
    token_file: Secret | None = None

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return url and _check_web_url(url)

    @field_validator("url_file")
    @classmethod
    def _check_url_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if "url" in info.data and (path is None) == (info.data["url"] is None):
            raise ValueError("give either url or, where the address itself is a secret, url_file")
        if path is not None:
            _check_web_url(check_secret(path).read_text("utf-8").rstrip("\r\n"))
        return path

    @field_validator("token_file")
    @classmethod
    def _check_token_file(cls, path: Path | None) -> Path | None:
        return path and check_secret(path)

    def address(self) -> str:
        """Return the URL from `url` or from its secret file. Raises SettingsError."""
        return read_secret(self.url_file) if self.url_file is not None else str(self.url)


def _check_web_url(url: str) -> str:
    # the URL is not shown: its knowledge may be enough to post
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?([/?][!-~]*)?", url):
        raise ValueError("write a URL without a user, such as https://chat.example.com/hooks/syncd")
    return url


class Mail(Table):
    """[alerts.mail]: the mail server, sender and recipients of alerts."""

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: Literal["starttls", "smtps", "none"] = "starttls"
    sender: str
    to: tuple[str, ...] = Field(min_length=1)
    user: str = ""
    password_file: Secret | None = Field(default=None, validate_default=True)

    @field_validator("sender", "to")
    @classmethod
    def _check_addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not re.fullmatch(r"[!-~]+@[A-Za-z0-9.-]+", address):
                raise ValueError(f"{address!r} is not an address; write syncd@example.com, without a name")
        return value

    @field_validator("password_file")
    @classmethod
    def _check_password_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if (path is None) == bool(info.data.get("user")):
            raise ValueError("user and password_file go together")
        if path is not None and info.data.get("tls") == "none":
            raise ValueError('tls = "none" would send the password in clear; use "starttls" or "smtps"')
        return path and check_secret(path)


class Alerts(Table):
    """[alerts]: the channels of alerts, and the time after which a problem counts as resolved."""

    resolve_after: Duration = timedelta(minutes=5)
    webhook: Webhook | None = None
    mail: Mail | None = None


class History(Table):
    """[history]: the retention of runs and changes, and the schedule of the purge."""

    retention: PositiveDuration = timedelta(days=400)
    purge: Schedule = Schedule(cron="17 3 * * *")


class ContactSettings(Table):
    """[contacts]: settings of Custom contacts."""

    default_region: Region = ""


class Authentication(Table):
    """[authentication]: sign-in with the password of an LDAP source, and the groups that give roles."""

    source: str
    user: Rule = ()
    admin_groups: tuple[str, ...] = ()
    agent_groups: tuple[str, ...] = Field(default=(), validate_default=True)
    nested_groups: bool = False
    cache_ttl: PositiveDuration = timedelta(minutes=5)
    offline_ttl: Duration = timedelta(hours=12)

    @field_validator("user")
    @classmethod
    def _check_user(cls, user: tuple[str, ...]) -> tuple[str, ...]:
        for attribute in user:
            if not is_attribute(attribute):
                raise ValueError(
                    f'{attribute!r} is not an attribute; write "uid", "sAMAccountName" or a list of such names'
                )
        return user

    @field_validator("admin_groups", "agent_groups")
    @classmethod
    def _check_groups(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        for group in groups:
            if not re.fullmatch(r"\s*[A-Za-z0-9.-]+\s*=.+", group):
                raise ValueError(f'{group!r} is not a DN; write "cn=agents,ou=groups,dc=example,dc=com"')
        return groups

    @field_validator("agent_groups")
    @classmethod
    def _check_any_group(cls, groups: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not groups and not info.data.get("admin_groups", ("invalid, and reported already",)):
            raise ValueError("name a group here or in admin_groups; without one nobody may sign in")
        return groups
