"""Types of settings values with their checks, secret files, and suggestions for unknown names."""

import difflib
import os
import re
import stat
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from syncd.core.contacts.phone_number import REGIONS
from syncd.errors import SettingsError

DEFAULT_PATH = Path("/etc/syncd/syncd.toml")
SECRETS = DEFAULT_PATH.with_name("secrets")
"""Folder from which the systemd unit loads credentials."""
FORMER_NAMES = {
    "notice": "alerts",
    "settle": "resolve_after",
    "sign_in": "authentication",
    "remember": "cache_ttl",
    "outage": "offline_ttl",
    "stop_within": "shutdown_timeout",
    "max_feeds": "max_streams",
    "repeat": "repeat_interval",
    "keep": "retention",
    "small_removals": "small_source_allowance",
}
"""Former name of a table or key -> its present name: most are not similar enough for a suggestion by spelling."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def did_you_mean(word: str, names: Collection[str]) -> str:
    """Return the end of an error message that suggests the present or the most similar name; empty without one."""
    present = FORMER_NAMES.get(word)
    similar = [present] if present in names else difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {similar[0]!r}?" if similar else ""


def parse_duration(value: object) -> timedelta:
    """Parse a duration such as "90s", "15m", "12h" or "7d". Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError('write a duration as a string with its unit, such as "90s", "15m", "12h" or "7d"')  # noqa: TRY004 - pydantic reports ValueError only
    match = re.fullmatch(r"(\d+)\s*([smhd])", value.strip())
    if match is None:
        raise ValueError(f'{value!r} is not a duration; write "90s", "15m", "12h" or "7d"')
    try:
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise ValueError(f"{value!r} is longer than any calendar") from None


def _check_positive(duration: timedelta) -> timedelta:
    if not duration:
        raise ValueError("must be at least 1s")
    return duration


def _parse_share(value: object) -> float | int:
    """Parse a share such as "5%" into a float from 0 to 1, or return a number unchanged."""
    if isinstance(value, bool):
        raise ValueError('write a share such as "5%" or a number')  # noqa: TRY004 - pydantic reports ValueError only
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip())
        if match is None or float(match[1]) > 100:
            raise ValueError(f'{value!r} is not a share from "0%" to "100%"; a number is written without quotes')
        return float(match[1]) / 100
    if not isinstance(value, int) or value < 0:
        raise ValueError('write a share such as "5%" or a number that is not negative')
    return value


def _parse_threshold(value: object) -> tuple[float | int, ...]:
    """Parse a share, a number, or a list of one of each: a value above either is above the threshold."""
    limits = tuple(map(_parse_share, value)) if isinstance(value, list) else (_parse_share(value),)
    if not 1 <= len(limits) <= 2 or len({type(limit) for limit in limits}) < len(limits):
        raise ValueError('write a share such as "5%", a number, or one of each: ["5%", 200]')
    return limits


def _parse_rule(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError('write "attribute", "{template}" or a list of these')


def _check_not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; leave the key out to look for any value")
    return value


def _check_region(code: str) -> str:
    if code and code not in REGIONS:
        raise ValueError(f'{code!r} is not a region; write two capital letters of ISO 3166 such as "DE" or "US"')
    return code


def _secret_path(value: object) -> object:
    """Return the path for the name of a credential; a text with a slash is a path already.

    Credentials are in $CREDENTIALS_DIRECTORY under systemd, and in the folder that the unit loads them from when a
    command is run in a shell.
    """
    if isinstance(value, str) and value and "/" not in value:
        return Path(os.environ.get("CREDENTIALS_DIRECTORY") or SECRETS) / value
    return value


NonEmpty: TypeAlias = Annotated[str, AfterValidator(_check_not_blank)]
Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration: TypeAlias = Annotated[Duration, AfterValidator(_check_positive)]
Threshold: TypeAlias = Annotated[tuple[float | int, ...], BeforeValidator(_parse_threshold)]
Rule: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_parse_rule)]
Region: TypeAlias = Annotated[str, AfterValidator(_check_region)]
Secret: TypeAlias = Annotated[Path, BeforeValidator(_secret_path), Field(description="path of a secret")]


def check_secret(path: Path) -> Path:
    """Return the path of a usable secret file: text, not empty, closed to other users. Raises ValueError."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except FileNotFoundError:
        # the configured text may be the secret itself, which must not get into a log
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


def read_secret(path: Path) -> str:
    """Read a secret from its file, without the line end that editors add. Raises SettingsError."""
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError([f"cannot read the secret {path}: {error.strerror}"]) from error


def is_attribute(name: str) -> bool:
    """Return whether a text is the name of an LDAP attribute (RFC 4512, 1.4: descr)."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) is not None
