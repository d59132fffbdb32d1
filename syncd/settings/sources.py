"""[[source]] tables: LDAP and file sources with their map, guard, sentinels and lifecycle."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from syncd.core.contacts.contact import MEMBERS_OF
from syncd.core.sync import mapping
from syncd.core.sync.guard import Limit, Limits
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.sentinel import Sentinel
from syncd.settings.tables import Schedule, Table
from syncd.settings.validation import (
    Duration,
    NonEmpty,
    PositiveDuration,
    Region,
    Rule,
    Secret,
    Threshold,
    check_secret,
)


class SentinelSettings(Table):
    """[[source.guard.sentinel]]: the least number of contacts with these members that a read must contain."""

    name: NonEmpty | None = None
    phoneNumber: NonEmpty | None = None  # noqa: N815 - the members of a contact, by their names in JSON
    userName: NonEmpty | None = None  # noqa: N815
    firstName: NonEmpty | None = None  # noqa: N815
    lastName: NonEmpty | None = None  # noqa: N815
    employeeId: NonEmpty | None = None  # noqa: N815
    emailAddress: NonEmpty | None = None  # noqa: N815
    roles: NonEmpty | None = None
    businessUnits: NonEmpty | None = None  # noqa: N815
    channel: NonEmpty | None = None
    at_least: int = Field(default=1, ge=1)

    @property
    def members(self) -> dict[str, str]:
        """The members that are set; without any the number counts all contacts."""
        return self.model_dump(exclude={"at_least"}, exclude_none=True)

    def to_sentinel(self) -> Sentinel:
        """Convert to the type of `core`."""
        return Sentinel(self.members, self.at_least)


class Guard(Table):
    """[source.guard]: what a run may remove without an approval, and what makes a read implausible."""

    max_removals: Threshold = (0.05,)
    max_removals_day: Threshold = (0.10,)
    max_removals_week: Threshold = (0.20,)
    min_population: int = Field(default=20, ge=0)
    small_source_allowance: int = Field(default=3, ge=0)
    max_attribute_loss: Threshold = (0.20,)
    max_rejects: Threshold = (0.20,)
    max_purge: Threshold = (0.20,)
    on_empty: Literal["hold", "remove"] = "hold"
    approval_expires: PositiveDuration = timedelta(hours=24)
    sentinel: tuple[SentinelSettings, ...] = ()

    def to_limits(self) -> Limits:
        """Convert to the type of `core`."""
        return Limits(
            removals=self._to_limit(self.max_removals),
            day=self._to_limit(self.max_removals_day),
            week=self._to_limit(self.max_removals_week),
            losses=self._to_limit(self.max_attribute_loss),
            rejects=self._to_limit(self.max_rejects),
            purge=self._to_limit(self.max_purge),
            hold_empty=self.on_empty == "hold",
        )

    def _to_limit(self, threshold: tuple[float | int, ...]) -> Limit:
        share = next((limit for limit in threshold if isinstance(limit, float)), None)
        number = next((limit for limit in threshold if isinstance(limit, int)), None)
        return Limit(share, number, self.min_population, self.small_source_allowance)


class LifecycleSettings(Table):
    """[source.lifecycle]: how long a contact stays after it has vanished from its source."""

    missing: Literal["show", "hide"] = "show"
    grace: Duration = timedelta(hours=24)
    grace_runs: int = Field(default=3, ge=1, le=1000)
    retention: PositiveDuration = timedelta(days=90)

    def to_lifecycle(self) -> Lifecycle:
        """Convert to the type of `core`."""
        return Lifecycle(self.grace, self.grace_runs, self.missing == "show", self.retention)


class _Source(Table):
    """The keys of every source, whatever its kind."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    type: Literal["User", "Queue"]
    schedule: Schedule
    stale_after: PositiveDuration = timedelta(hours=1)
    default_region: Region = ""
    map: dict[str, Rule] = Field(default_factory=dict)
    guard: Guard = Guard()
    lifecycle: LifecycleSettings = LifecycleSettings()

    @field_validator("map")
    @classmethod
    def _check_map(cls, rules: dict[str, Rule], info: ValidationInfo) -> dict[str, Rule]:
        problems = mapping.check_rules(info.data["type"], rules) if rules and "type" in info.data else []
        if problems:
            raise ValueError("\n".join(problems))
        return rules

    @field_validator("guard")
    @classmethod
    def _check_sentinel_members(cls, guard: Guard, info: ValidationInfo) -> Guard:
        type_ = info.data.get("type")
        allowed = MEMBERS_OF[type_] if type_ else frozenset()
        problems = [
            f"sentinel[{number}].{member}: a {type_} has no such member; there are {', '.join(sorted(allowed))}"
            for number, sentinel in enumerate(guard.sentinel)
            for member in sentinel.members
            if type_ and member not in allowed
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return guard

    @model_validator(mode="after")
    def _check_sentinels_are_mapped(self) -> "_Source":
        rules = self.rules()
        problems = [
            f"guard.sentinel[{number}].{member}: the map gives this source's contacts no {member}, so it is never found"
            for number, sentinel in enumerate(self.guard.sentinel)
            for member in sentinel.members
            if member not in rules
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def stale_age(self) -> timedelta:
        """Age of the last complete run from which the contacts are stale.

        Without `stale_after` it is one hour, but at least three intervals, or 25 hours for a cron expression.
        """
        if "stale_after" in self.model_fields_set:
            return self.stale_after
        regular = timedelta(hours=25) if self.schedule.every is None else 3 * self.schedule.every
        return max(self.stale_after, regular)

    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """Return the map of the settings, or the default of this kind of source: contact member -> its rules."""
        raise NotImplementedError

    def read_scope(self) -> dict[str, str]:
        """Return the settings that decide which entries are read and how they are mapped: name -> value as text.

        After a change of any of them, contacts can vanish from a read although they still exist.
        """
        return {f"map.{member}": ", ".join(rules) for member, rules in sorted(self.rules().items())}


class LdapSource(_Source):
    """Users or queues of an LDAP directory."""

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
    connect_timeout: PositiveDuration = timedelta(seconds=5)
    read_timeout: PositiveDuration = timedelta(seconds=30)
    deadline: PositiveDuration = timedelta(minutes=10)

    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """Return the map of the settings, or the attributes of inetOrgPerson."""
        return self.map or mapping.DEFAULT_RULES[self.type]

    def read_scope(self) -> dict[str, str]:
        """Return base, filter, scope and map."""
        return {"base": self.base, "filter": self.filter, "scope": self.scope} | super().read_scope()

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if "@" in url:  # not shown: it holds a password
                raise ValueError("an LDAP URL here has no user; write bind_dn and bind_password_file")
            if not _is_ldap_url(url):
                raise ValueError(f"{url!r} is not an LDAP URL; write ldaps://host, ldap://host:389 or ldapi:///path")
        return urls

    @field_validator("filter")
    @classmethod
    def _check_parentheses(cls, text: str) -> str:
        plain = re.sub(r"\\[0-9A-Fa-f]{2}", "", text)
        if not (plain.startswith("(") and plain.endswith(")") and plain.count("(") == plain.count(")")):
            raise ValueError(f"{text!r} is not an LDAP filter (RFC 4515): its parentheses do not match")
        return text

    @field_validator("tls")
    @classmethod
    def _check_tls(cls, tls: str, info: ValidationInfo) -> str:
        urls = info.data.get("urls", ())
        schemes = {"ldaps": {"ldaps"}, "starttls": {"ldap"}, "none": {"ldap", "ldapi"}}[tls]
        if not {urlsplit(url).scheme for url in urls} <= schemes:
            raise ValueError(f'"{tls}" goes with {" or ".join(sorted(schemes))}:// URLs, not {", ".join(urls)}')
        return tls

    @field_validator("key_file")
    @classmethod
    def _check_key_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if (path is None) != (info.data.get("cert_file") is None):
            raise ValueError("cert_file and key_file go together")
        return path

    @field_validator("bind_password_file")
    @classmethod
    def _check_bind_password_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("bind") == "simple" and not (path and info.data.get("bind_dn")):
            raise ValueError('bind = "simple" needs bind_dn and bind_password_file')
        return path and check_secret(path)


def _is_ldap_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        valid_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment)
    network = parts.scheme in {"ldap", "ldaps"} and bool(parts.hostname) and parts.path in {"", "/"}
    local = parts.scheme == "ldapi" and not parts.netloc and parts.path.startswith("/")
    return valid_port and bare and (network or local)


class FileSource(_Source):
    """Queues or users of a file."""

    kind: Literal["file"]
    path: Path
    max_mib: int = Field(default=16, ge=1, le=1024)
    key: str = "name"

    def rules(self) -> Mapping[str, tuple[str, ...]]:
        """Return the map of the settings, or each member by its own name."""
        return self.map or mapping.identity_rules(self.type)

    def read_scope(self) -> dict[str, str]:
        """Return path and map."""
        return {"path": str(self.path)} | super().read_scope()

    @field_validator("path")
    @classmethod
    def _check_extension(cls, path: Path) -> Path:
        if path.suffix.lower() not in {".toml", ".yaml", ".yml", ".json", ".csv"}:
            raise ValueError(f"{path}: the ending tells the format; use .toml, .yaml, .json or .csv")
        return path


AnySource: TypeAlias = Annotated[LdapSource | FileSource, Field(discriminator="kind")]
