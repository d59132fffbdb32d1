"""Settings: one TOML file and the environment become one frozen, checked object, or a list of every problem.

What belongs here: the shape, default, unit and meaning of each key, and the reading of secrets. A secret is never
part of the object: it holds the path, `secret()` reads it at the moment of use.
"""

import difflib
import ipaddress
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args
from urllib.parse import parse_qs, urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentFault

from syncd.core.contacts.contact import MEMBERS_OF
from syncd.core.contacts.phone_number import REGIONS
from syncd.core.operations import cron
from syncd.core.operations.health import Expected
from syncd.core.sync import lifecycle, mapping
from syncd.core.sync.guard import Limit, Limits
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import SettingsError

DEFAULT_PATH = Path("/etc/syncd/syncd.toml")
SECRETS = DEFAULT_PATH.with_name("secrets")
"""Where the unit loads credentials from."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(value: object) -> timedelta:
    """The length of time that a text such as "90s", "15m", "12h" or "7d" stands for. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError('write a duration as a string with its unit, such as "90s", "15m", "12h" or "7d"')  # noqa: TRY004 - pydantic reports ValueError only
    found = re.fullmatch(r"(\d+)\s*([smhd])", value.strip())
    if found is None:
        raise ValueError(f'{value!r} is not a duration; write "90s", "15m", "12h" or "7d"')
    try:
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    except OverflowError:
        raise ValueError(f"{value!r} is longer than any calendar") from None


def _positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("must be at least 1s")
    return duration


def _share(value: object) -> object:
    """A share such as "5%" becomes a float from 0 to 1, a number stays a number."""
    if isinstance(value, bool):
        raise ValueError('write a share such as "5%" or a number')  # noqa: TRY004 - pydantic reports ValueError only
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip())
        if found is None or float(found[1]) > 100:
            raise ValueError(f'{value!r} is not a share from "0%" to "100%"; a number is written without quotes')
        return float(found[1]) / 100
    if not isinstance(value, int) or value < 0:
        raise ValueError('write a share such as "5%" or a number that is not negative')
    return value


def _cap(value: object) -> object:
    """A share, a number, or one of each: above either is too much."""
    parts = tuple(_share(part) for part in value) if isinstance(value, list) else (_share(value),)
    if not 1 <= len(parts) <= 2 or len({type(part) for part in parts}) < len(parts):
        raise ValueError('write a share such as "5%", a number, or one of each: ["5%", 200]')
    return parts


def _rule(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError('write "attribute", "{template}" or a list of these')


def _wanted(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; leave the key out to look for any value")
    return value


Wanted: TypeAlias = Annotated[str, AfterValidator(_wanted)]
Duration: TypeAlias = Annotated[timedelta, BeforeValidator(duration)]
Positive: TypeAlias = Annotated[Duration, AfterValidator(_positive)]
Cap: TypeAlias = Annotated[tuple[float | int, ...], BeforeValidator(_cap)]
Rule: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_rule)]


def _secret_path(value: object) -> object:
    """A bare name is a systemd credential, for a command of a shell the file that it is loaded from; else a path."""
    if isinstance(value, str) and value and "/" not in value:
        return Path(os.environ.get("CREDENTIALS_DIRECTORY") or SECRETS) / value
    return value


def _check_secret(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except FileNotFoundError:
        # what was written here may be the secret itself, which must not get into a log
        folder = f" in {path.parent}" if path.parent.is_dir() else ""
        raise ValueError(f"names no file{folder}; write the name of a file that holds the secret") from None
    except OSError as error:
        raise ValueError(f"cannot read the secret {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ValueError(f"{path} is readable by others; run: chmod o-rwx {path}")
    if not text.strip():
        raise ValueError(f"{path} is empty; an empty password would be taken as an anonymous sign-in")
    return path


Secret: TypeAlias = Annotated[Path, BeforeValidator(_secret_path), Field(description="path of a secret")]


def secret(path: Path) -> str:
    """The secret that a file holds, without the line end that editors add. Raises SettingsError."""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError([f"cannot read the secret {path}: {error.strerror}"]) from error


class Part(BaseModel):
    """A table of the settings: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Database(Part):
    """Where the directory is kept."""

    url: str
    password_file: Secret | None = None
    pool_size: int = Field(default=10, ge=1, le=200)
    connect_timeout: Positive = timedelta(seconds=5)
    statement_timeout: Positive = timedelta(seconds=10)

    @field_validator("url")
    @classmethod
    def _checked(cls, url: str) -> str:
        # the URL is never shown: it may hold a password, and one with a slash in it looks like a port
        scheme, _, rest = url.partition("://")
        servers, _, _ = rest.partition("?")
        user, _, hosts = servers.rpartition("@")
        if scheme not in {"postgresql", "postgres"} or not rest:
            raise ValueError("write a libpq URL: postgresql://user@host/database")
        if ":" in user or "password" in parse_qs(urlsplit(f"//?{rest.partition('?')[2]}").query):
            raise ValueError("a password does not belong here; put it into a file and name that in password_file")
        for host in hosts.partition("/")[0].split(","):
            if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:[0-9]+)?", host):
                raise ValueError("its host or port is not understood; write postgresql://user@host:5432/database")
        return url

    @field_validator("password_file")
    @classmethod
    def _private(cls, path: Path | None) -> Path | None:
        return path and _check_secret(path)


class Http(Part):
    """Where the directory is served."""

    listen: str = "127.0.0.1:8080"
    public_url: str = ""
    metrics: bool = True
    trusted_proxies: tuple[str, ...] = ()
    cache_mib: int = Field(default=32, ge=0, le=4096)
    max_feeds: int = Field(default=2000, ge=1, le=100_000)
    max_connections: int = Field(default=4096, ge=1, le=100_000)
    stop_within: Duration = timedelta(seconds=20)

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str) -> str:
        if listen.startswith("unix:/"):
            return listen
        host, colon, port = listen.rpartition(":")
        if not (colon and host and re.fullmatch("[0-9]{1,5}", port) and int(port) < 65536):
            raise ValueError(f'{listen!r} is no address; write "127.0.0.1:8080", "[::1]:8080" or "unix:/path"')
        return listen

    @field_validator("public_url")
    @classmethod
    def _base(cls, url: str) -> str:
        if url and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url):
            raise ValueError('write the base that clients see, such as "https://directory.example.com"')
        return url.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                if proxy != "unix":
                    ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(
                    f'{proxy!r} is no network; write "10.0.0.0/8" (no host bits behind the /), "192.0.2.7" or "unix"'
                ) from None
        return proxies


class Log(Part):
    """How much is logged, and in which form."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
    repeat: Positive = timedelta(hours=1)


class Schedule(Part):
    """When a source is read: an interval or a cron line, never both."""

    every: Positive | None = None
    cron: str | None = None
    timezone: str = "UTC"
    jitter: Duration = timedelta(0)

    @model_validator(mode="after")
    def _one(self) -> "Schedule":
        if (self.every is None) == (self.cron is None):
            raise ValueError('give either every = "15m" or cron = "*/15 6-22 * * mon-fri"')
        return self

    @field_validator("cron")
    @classmethod
    def _times(cls, line: str | None) -> str | None:
        if line is not None:
            cron.parse(line)
        return line

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError(f"{name!r} is no time zone{_did_you_mean(name, available_timezones())}")
        return name


class Watchman(Part):
    """One sentinel: so many contacts with these members, or without any so many at all, must be there."""

    name: Wanted | None = None
    phoneNumber: Wanted | None = None  # noqa: N815 - the members of a contact, by their wire names
    userName: Wanted | None = None  # noqa: N815
    firstName: Wanted | None = None  # noqa: N815
    lastName: Wanted | None = None  # noqa: N815
    employeeId: Wanted | None = None  # noqa: N815
    emailAddress: Wanted | None = None  # noqa: N815
    roles: Wanted | None = None
    businessUnits: Wanted | None = None  # noqa: N815
    channel: Wanted | None = None
    at_least: int = Field(default=1, ge=1)

    @property
    def members(self) -> dict[str, str]:
        """The members that are given."""
        return self.model_dump(exclude={"at_least"}, exclude_none=True)

    def sentinel(self) -> Sentinel:
        """The same as the pure core knows it."""
        return Sentinel(self.members, self.at_least)


class Guard(Part):
    """What a run may remove without being asked, and what makes a read unbelievable."""

    max_removals: Cap = (0.05,)
    max_removals_day: Cap = (0.10,)
    max_removals_week: Cap = (0.20,)
    min_population: int = Field(default=20, ge=0)
    small_removals: int = Field(default=3, ge=0)
    max_attribute_loss: Cap = (0.20,)
    max_rejects: Cap = (0.20,)
    max_purge: Cap = (0.20,)
    on_empty: Literal["hold", "remove"] = "hold"
    approval_expires: Positive = timedelta(hours=24)
    sentinel: tuple[Watchman, ...] = ()

    def limits(self) -> Limits:
        """The same as the values that the pure guard decides by."""
        return Limits(
            removals=self._limit(self.max_removals),
            day=self._limit(self.max_removals_day),
            week=self._limit(self.max_removals_week),
            losses=self._limit(self.max_attribute_loss),
            rejects=self._limit(self.max_rejects),
            purge=self._limit(self.max_purge),
            hold_empty=self.on_empty == "hold",
        )

    def _limit(self, cap: tuple[float | int, ...]) -> Limit:
        share = next((part for part in cap if isinstance(part, float)), None)
        number = next((part for part in cap if isinstance(part, int)), None)
        return Limit(share, number, self.min_population, self.small_removals)


class Lifecycle(Part):
    """How long somebody whom the source no longer has stays in the directory."""

    missing: Literal["show", "hide"] = "show"
    grace: Duration = timedelta(hours=24)
    grace_runs: int = Field(default=3, ge=1, le=1000)
    retention: Positive = timedelta(days=90)

    def terms(self) -> lifecycle.Lifecycle:
        """The same as the pure core knows it."""
        return lifecycle.Lifecycle(self.grace, self.grace_runs, self.missing == "show", self.retention)


class Webhook(Part):
    """Who gets a POST with JSON."""

    url: str | None = None
    url_file: Secret | None = Field(default=None, validate_default=True)
    token_file: Secret | None = None

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str | None) -> str | None:
        return url and _web_address(url)

    @field_validator("url_file")
    @classmethod
    def _hidden(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if "url" in info.data and (path is None) == (info.data["url"] is None):
            raise ValueError("give either url or, where the address itself is a secret, url_file")
        if path is not None:
            _web_address(_check_secret(path).read_text("utf-8").rstrip("\r\n"))
        return path

    @field_validator("token_file")
    @classmethod
    def _private(cls, path: Path | None) -> Path | None:
        return path and _check_secret(path)

    def address(self) -> str:
        """The URL, wherever it stands."""
        return secret(self.url_file) if self.url_file is not None else str(self.url)


def _web_address(url: str) -> str:
    # not shown: whoever knows it may be able to post
    if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?([/?][!-~]*)?", url):
        raise ValueError("write a URL without a user, such as https://chat.example.com/hooks/syncd")
    return url


class Mail(Part):
    """Who gets mail, and by which server."""

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: Literal["starttls", "smtps", "none"] = "starttls"
    sender: str
    to: tuple[str, ...] = Field(min_length=1)
    user: str = ""
    password_file: Secret | None = Field(default=None, validate_default=True)

    @field_validator("sender", "to")
    @classmethod
    def _addresses(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (given,) if isinstance(given, str) else given:
            if not re.fullmatch(r"[!-~]+@[A-Za-z0-9.-]+", address):
                raise ValueError(f"{address!r} is no address; write syncd@example.com, without a name")
        return given

    @field_validator("password_file")
    @classmethod
    def _private(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if (path is None) == bool(info.data.get("user")):
            raise ValueError("user and password_file go together")
        if path is not None and info.data.get("tls") == "none":
            raise ValueError('tls = "none" would send the password in clear; use "starttls" or "smtps"')
        return path and _check_secret(path)


class Notice(Part):
    """Whom to tell when something begins to be wrong, and when it is over."""

    settle: Duration = timedelta(minutes=5)
    webhook: Webhook | None = None
    mail: Mail | None = None


class History(Part):
    """How long runs and changes can be looked up."""

    keep: Positive = timedelta(days=400)
    purge: Schedule = Schedule(cron="17 3 * * *")


def _region(code: str) -> str:
    if code and code not in REGIONS:
        raise ValueError(f'{code!r} is no region; write two capital letters of ISO 3166 such as "DE" or "US"')
    return code


Region: TypeAlias = Annotated[str, AfterValidator(_region)]


class Contacts(Part):
    """What holds for the contacts that people keep."""

    default_region: Region = ""


class _Source(Part):
    """What every source has, whatever its kind."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    type: Literal["User", "Queue"]
    schedule: Schedule
    stale_after: Positive = timedelta(hours=1)
    default_region: Region = ""
    map: dict[str, Rule] = Field(default_factory=dict)
    guard: Guard = Guard()
    lifecycle: Lifecycle = Lifecycle()

    @field_validator("map")
    @classmethod
    def _mappable(cls, rules: dict[str, Rule], info: ValidationInfo) -> dict[str, Rule]:
        found = mapping.problems(info.data["type"], rules) if rules and "type" in info.data else []
        if found:
            raise ValueError("\n".join(found))
        return rules

    @field_validator("guard")
    @classmethod
    def _watched(cls, guard: Guard, info: ValidationInfo) -> Guard:
        type_ = info.data.get("type")
        allowed = MEMBERS_OF[type_] if type_ else frozenset()
        strange = [
            f"sentinel[{number}].{member}: a {type_} has no such member; there are {', '.join(sorted(allowed))}"
            for number, watchman in enumerate(guard.sentinel)
            for member in watchman.members
            if type_ and member not in allowed
        ]
        if strange:
            raise ValueError("\n".join(strange))
        return guard

    @model_validator(mode="after")
    def _sentinels_are_mapped(self) -> "_Source":
        rules = self.rules()
        unmapped = [
            f"guard.sentinel[{number}].{member}: the map gives this source's contacts no {member}, so it is never found"
            for number, watchman in enumerate(self.guard.sentinel)
            for member in watchman.members
            if member not in rules
        ]
        if unmapped:
            raise ValueError("\n".join(unmapped))
        return self

    @property
    def stale_age(self) -> timedelta:
        """The age from which contacts are stale: as set, else no sooner than after three intervals or a day of cron."""
        if "stale_after" in self.model_fields_set:
            return self.stale_after
        regular = timedelta(hours=25) if self.schedule.every is None else 3 * self.schedule.every
        return max(self.stale_after, regular)

    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """The map as given, or the one that fits this kind of source when none is."""
        raise NotImplementedError

    def scope_of_reads(self) -> dict[str, str]:
        """What decides which entries are read, and as what, by name; a change of it may look like people who left."""
        return {f"map.{member}": ", ".join(wanted) for member, wanted in sorted(self.rules().items())}


class LdapSource(_Source):
    """Users (or queues) in an LDAP directory."""

    kind: Literal["ldap"]
    urls: tuple[str, ...] = Field(min_length=1)
    tls: Literal["ldaps", "starttls", "none"] = Field(default="ldaps", validate_default=True)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = Field(default=None, validate_default=True)
    bind: Literal["simple", "external", "anonymous"] = "simple"
    bind_dn: str = ""
    bind_password_file: Secret | None = Field(default=None, validate_default=True)
    base: str
    filter: str = "(objectClass=inetOrgPerson)"
    scope: Literal["subtree", "onelevel", "base"] = "subtree"
    page_size: int = Field(default=1000, ge=1, le=100_000)
    key: str = "auto"
    connect_timeout: Positive = timedelta(seconds=5)
    read_timeout: Positive = timedelta(seconds=30)
    deadline: Positive = timedelta(minutes=10)

    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """The map as given, or the attributes of inetOrgPerson."""
        return self.map or mapping.DEFAULT_RULES[self.type]

    def scope_of_reads(self) -> dict[str, str]:
        """Base, filter, scope and map."""
        return {"base": self.base, "filter": self.filter, "scope": self.scope} | super().scope_of_reads()

    @field_validator("urls")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if "@" in url:  # not shown: it holds a password
                raise ValueError("an LDAP URL here has no user; write bind_dn and bind_password_file")
            if not _is_ldap_url(url):
                raise ValueError(f"{url!r} is no LDAP URL; write ldaps://host, ldap://host:389 or ldapi:///path")
        return urls

    @field_validator("filter")
    @classmethod
    def _balanced(cls, text: str) -> str:
        plain = re.sub(r"\\[0-9A-Fa-f]{2}", "", text)
        if not (plain.startswith("(") and plain.endswith(")") and plain.count("(") == plain.count(")")):
            raise ValueError(f"{text!r} is no LDAP filter (RFC 4515): its parentheses do not match")
        return text

    @field_validator("tls")
    @classmethod
    def _fits_urls(cls, tls: str, info: ValidationInfo) -> str:
        urls = info.data.get("urls", ())
        wanted = {"ldaps": {"ldaps"}, "starttls": {"ldap"}, "none": {"ldap", "ldapi"}}[tls]
        if not {urlsplit(url).scheme for url in urls} <= wanted:
            raise ValueError(f'"{tls}" goes with {" or ".join(sorted(wanted))}:// URLs, not {", ".join(urls)}')
        return tls

    @field_validator("key_file")
    @classmethod
    def _pair(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if (path is None) != (info.data.get("cert_file") is None):
            raise ValueError("cert_file and key_file go together")
        return path

    @field_validator("bind_password_file")
    @classmethod
    def _private(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("bind") == "simple" and not (path and info.data.get("bind_dn")):
            raise ValueError('bind = "simple" needs bind_dn and bind_password_file')
        return path and _check_secret(path)


class FileSource(_Source):
    """Queues (or users) in a file."""

    kind: Literal["file"]
    path: Path
    key: str = "name"

    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """The map as given, or the members by their own names."""
        return self.map or mapping.own_names(self.type)

    def scope_of_reads(self) -> dict[str, str]:
        """Path and map."""
        return {"path": str(self.path)} | super().scope_of_reads()

    @field_validator("path")
    @classmethod
    def _ending(cls, path: Path) -> Path:
        if path.suffix.lower() not in {".toml", ".yaml", ".yml", ".json", ".csv"}:
            raise ValueError(f"{path}: the ending tells the format; use .toml, .yaml, .json or .csv")
        return path


class SignIn(Part):
    """Who may sign in with the name and password of a directory server, and as what."""

    source: str
    user: Rule = ()
    admin_groups: tuple[str, ...] = ()
    agent_groups: tuple[str, ...] = Field(default=(), validate_default=True)
    nested_groups: bool = False
    remember: Positive = timedelta(minutes=5)
    outage: Duration = timedelta(hours=12)

    @field_validator("user")
    @classmethod
    def _attributes(cls, user: tuple[str, ...]) -> tuple[str, ...]:
        for attribute in user:
            if not _is_attribute(attribute):
                raise ValueError(
                    f'{attribute!r} is no attribute; write "uid", "sAMAccountName" or a list of such names'
                )
        return user

    @field_validator("admin_groups", "agent_groups")
    @classmethod
    def _names(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        for group in groups:
            if not re.fullmatch(r"\s*[A-Za-z0-9.-]+\s*=.+", group):
                raise ValueError(f'{group!r} is no DN; write "cn=agents,ou=groups,dc=example,dc=com"')
        return groups

    @field_validator("agent_groups")
    @classmethod
    def _some(cls, groups: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not groups and not info.data.get("admin_groups", ("refused already",)):
            raise ValueError("name a group here or in admin_groups; without one nobody may sign in")
        return groups


def _is_attribute(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) is not None


def _is_ldap_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment)
    network = parts.scheme in {"ldap", "ldaps"} and bool(parts.hostname) and parts.path in {"", "/"}
    local = parts.scheme == "ldapi" and not parts.netloc and parts.path.startswith("/")
    return fine and bare and (network or local)


AnySource: TypeAlias = Annotated[LdapSource | FileSource, Field(discriminator="kind")]


class Settings(BaseSettings):
    """Everything an operator decides. Environment variables such as SYNCD_DATABASE__URL win over the file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="SYNCD_", env_nested_delimiter="__", validate_default=False
    )

    database: Database
    http: Http = Http()
    log: Log = Log()
    notice: Notice = Notice()
    history: History = History()
    contacts: Contacts = Contacts()
    source: tuple[AnySource, ...] = ()
    sign_in: SignIn | None = None

    @field_validator("sign_in")
    @classmethod
    def _possible(cls, wanted: SignIn | None, info: ValidationInfo) -> SignIn | None:
        """The source that sign-in asks is there, protects passwords, and has an attribute that is the login."""
        if wanted is None or "source" not in info.data:  # no source is known while one of them is wrong
            return wanted
        sources: Mapping[str, AnySource] = {source.name: source for source in info.data["source"]}
        source = sources.get(wanted.source)
        if source is None:
            there = f"; there are: {', '.join(sources)}" if sources else ""
            near = _did_you_mean(wanted.source, sources)
            raise ValueError(f"source: there is no source {wanted.source!r}{near}{there}")
        if not isinstance(source, LdapSource):
            raise ValueError(f'source: {wanted.source!r} cannot check passwords; name one of kind = "ldap"')  # noqa: TRY004 - pydantic reports ValueError only
        if source.tls == "none" and any(urlsplit(url).scheme != "ldapi" for url in source.urls):
            raise ValueError(f'source: {wanted.source!r} has tls = "none", and passwords need "ldaps" or "starttls"')
        user = wanted.user or source.rules().get("userName", ())
        if not user or not all(map(_is_attribute, user)):
            raise ValueError("user: name the attribute; the source's map does not tell of which one userName is made")
        return wanted.model_copy(update={"user": user})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose tables are passed in."""
        return env_settings, init_settings

    def expected(self) -> list[Expected]:
        """The sources as health knows them."""
        return [Expected(source.name, source.type, source.stale_age) for source in self.source]

    def regions(self) -> tuple[str, ...]:
        """Every region that a number without country code may belong to."""
        named = (self.contacts.default_region, *[source.default_region for source in self.source])
        return tuple(dict.fromkeys(filter(None, named)))

    def terms(self) -> dict[str, lifecycle.Lifecycle]:
        """The life cycle of each source's contacts."""
        return {source.name: source.lifecycle.terms() for source in self.source}

    def named(self, name: str) -> LdapSource | FileSource:
        """The source of this name. Raises SettingsError, with the nearest name."""
        for source in self.source:
            if source.name == name:
                return source
        names = [source.name for source in self.source]
        raise SettingsError([f"there is no source {name!r}{_did_you_mean(name, names)}; there are: {', '.join(names)}"])


def load(path: Path | None = None) -> Settings:
    """Read `path`, else $SYNCD_CONFIG, else /etc/syncd/syncd.toml; raise SettingsError with all that is wrong."""
    path = path or Path(os.environ.get("SYNCD_CONFIG") or DEFAULT_PATH)
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}; name another with --config"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: is not TOML: {error}"]) from error
    _resolve(tables, path.resolve().parent)
    strange = [*_repeated_names(tables, path), *_strange_variables()]
    try:
        settings = Settings(**tables)
    except ValidationError as error:
        raise SettingsError([*_sentences(error, tables, path), *strange]) from None
    except EnvironmentFault as error:
        one_key = "set one key at a time, such as SYNCD_DATABASE__URL"
        raise SettingsError([f"environment: {error}; {one_key}", *strange]) from None
    if strange:
        raise SettingsError(strange)
    return settings


def _resolve(tables: dict[str, Any], folder: Path) -> None:
    """Relative paths are taken from the folder of the settings file; bare secret names stay credentials."""
    sources = tables.get("source")
    found = [table for table in sources if isinstance(table, dict)] if isinstance(sources, list) else []
    notice = tables.get("notice")
    channels = [notice.get("webhook"), notice.get("mail")] if isinstance(notice, dict) else []
    for table in (*found, *channels, tables.get("database")):
        if not isinstance(table, dict):
            continue
        for key, value in table.items():
            plain = key in {"path", "ca_file", "cert_file", "key_file"}
            secret_ = (
                key.endswith(("password_file", "token_file", "url_file")) and isinstance(value, str) and "/" in value
            )
            if isinstance(value, str) and value and (plain or secret_):
                table[key] = str(folder / value)


def _repeated_names(tables: Mapping[str, Any], path: Path) -> Iterator[str]:
    sources = tables.get("source")
    found = [table.get("name") for table in sources if isinstance(table, dict)] if isinstance(sources, list) else []
    for name, count in Counter(name for name in found if isinstance(name, str)).items():
        if count > 1:
            yield f"{path}: source: {count} sources are named {name!r}; each needs a name of its own"


def _strange_variables() -> Iterator[str]:
    tables = {f"SYNCD_{name.upper()}": _model(field) for name, field in Settings.model_fields.items()}
    known = ["SYNCD_CONFIG"]
    known += [f"{table}__{key.upper()}" for table, model in tables.items() if model for key in model.model_fields]
    for variable in sorted(os.environ):
        if variable.startswith("SYNCD_") and variable != "SYNCD_CONFIG" and variable.split("__")[0] not in tables:
            yield f"environment: {variable}: unknown{_did_you_mean(variable, known)}"


def _variable(location: tuple[int | str, ...]) -> str | None:
    """The environment variable that gave the value at this place, or a table around it."""
    names = ["__".join(("SYNCD", *map(str, location[:length]))).upper() for length in range(1, len(location) + 1)]
    names = [name.replace("SYNCD__", "SYNCD_", 1) for name in names]
    for variable in os.environ:
        if variable.upper() in names or variable.upper().startswith(f"{names[-1]}__"):
            return variable
    return None


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _sentences(error: ValidationError, tables: Mapping[str, Any], path: Path) -> Iterator[str]:
    """One sentence a problem: file, key, what is wrong, what would be right. Never the value of a secret."""
    for problem in error.errors(include_url=False):
        where, fields = _place(problem["loc"], tables)
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
        match problem["type"]:
            case "extra_forbidden":
                message = f"unknown key{_did_you_mean(str(problem['loc'][-1]), fields)}"
            case "missing":
                message = "is missing"
            case "model_type" | "model_attributes_type" | "dict_type":
                message = "must be a table"
            case "tuple_type":
                table = _REPEATED_TABLES.get(where.rpartition(".")[2])
                message = f"must be [[{table}]], once for each" if table else "must be a list"
            case "string_pattern_mismatch":
                message = 'must be letters, digits, "." "_" and "-", at most 63, beginning with a letter or digit'
            case "union_tag_not_found":
                message = 'kind is missing; write kind = "ldap" or kind = "file"'
            case "union_tag_invalid":
                message = f'unknown kind {problem["ctx"]["tag"]!r}; there are "ldap" and "file"'
        variable = _variable(problem["loc"])
        place = f"environment: {variable}" if variable else f"{path}: {where}"
        for line in message.splitlines():
            yield f"{place}: {line}"


_REPEATED_TABLES = {"source": "source", "sentinel": "source.guard.sentinel"}


def _place(location: tuple[int | str, ...], tables: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The key as a person finds it in the file, and the keys that are allowed beside it."""
    words: list[str] = []
    model: type[BaseModel] | None = Settings
    allowed = list(Settings.model_fields)
    for part in location:
        if isinstance(part, int):
            words = [*words[:-1], _source_title(tables, part) if words == ["source"] else f"{words[-1]}[{part}]"]
            continue
        if part in _KINDS and len(words) == 1 and words[0].startswith("source["):
            model = _KINDS[str(part)]
            continue
        allowed = list(model.model_fields) if model is not None else allowed
        model = _model(model.model_fields.get(str(part))) if model is not None else None
        words.append(str(part))
    return ".".join(words), allowed


def _source_title(tables: Mapping[str, Any], position: int) -> str:
    try:
        return f"source[{position}] {tables['source'][position]['name']!r}"
    except (KeyError, IndexError, TypeError):
        return f"source[{position}]"


_KINDS: dict[str, type[BaseModel]] = {"ldap": LdapSource, "file": FileSource}


def _model(field: FieldInfo | None) -> type[BaseModel] | None:
    if field is None:
        return None
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
