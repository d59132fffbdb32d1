"""config/syncd.toml: it loads, lists every key, and shows the actual defaults."""

import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from syncd.core.contacts.contact import MEMBERS_OF
from syncd.core.sync.mapping import DEFAULT_RULES
from syncd.settings import (
    Alerts,
    Authentication,
    ContactSettings,
    Database,
    FileSource,
    Guard,
    History,
    Http,
    LdapSource,
    LifecycleSettings,
    Log,
    Mail,
    Schedule,
    SentinelSettings,
    Settings,
    Webhook,
    WorkerSettings,
    load,
)

CONFIG = Path(__file__).parents[2] / "config"
TEXT = (CONFIG / "syncd.toml").read_text("utf-8")
KEY = re.compile(r"^#?(?P<key>[A-Za-z_]+) = ", re.MULTILINE)
COMMENTED = re.compile(r"^#(?=[A-Za-z_]+ = )", re.MULTILINE)

MODELS_BY_HEADER: dict[str, type[BaseModel]] = {
    "[database]": Database,
    "[http]": Http,
    "[log]": Log,
    "[worker]": WorkerSettings,
    "[alerts]": Alerts,
    "[alerts.webhook]": Webhook,
    "[alerts.mail]": Mail,
    "[history]": History,
    "[contacts]": ContactSettings,
    "[authentication]": Authentication,
    "[[source]] ldap": LdapSource,
    "[source.schedule]": Schedule,
    "[source.guard]": Guard,
    "[[source.guard.sentinel]]": SentinelSettings,
    "[source.lifecycle]": LifecycleSettings,
    "[[source]] file": FileSource,
}
KEYS_WITH_SHARED_COMMENT = {"key_file", "to", "max_removals_week", *SentinelSettings.model_fields}
"""Keys that may share the comment of the key above them."""


def text_by_header() -> dict[str, str]:
    """Return the header of each table -> its text up to the next header."""
    pieces = re.split(r"^#?(\[.+\])$", TEXT, flags=re.MULTILINE)
    texts: dict[str, str] = {}
    for header, text in zip(pieces[1::2], pieces[2::2], strict=True):
        kind = re.search(r'^kind = "(\w+)"$', text, re.MULTILINE)
        texts[f"{header} {kind[1]}" if kind else header] = text
    return texts


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example in a folder of its own, with its credentials and queue file."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("db-password", "ldap-password"):
        (credentials / name).write_text("secret\n")
        (credentials / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    shutil.copy(CONFIG / "syncd.toml", tmp_path)
    shutil.copy(CONFIG / "queues.toml", tmp_path)
    return tmp_path / "syncd.toml"


def test_the_example_loads_unchanged(installed: Path) -> None:
    """With its credentials in place it needs no correction, and its queue file exists."""
    settings = load(installed)

    assert [(source.name, source.type, source.kind) for source in settings.source] == [
        ("corp", "User", "ldap"),
        ("acd", "Queue", "file"),
    ]
    queues = settings.find_source("acd")
    assert isinstance(queues, FileSource)
    assert queues.path.is_file()


def test_every_model_has_a_table() -> None:
    """A new table of the settings is added to the example, too."""
    assert set(text_by_header()) == {*MODELS_BY_HEADER, "[source.map]"}
    assert {"contacts", "database", "history", "http", "log", "worker", "alerts", "authentication", "source"} == set(
        Settings.model_fields
    )


@pytest.mark.parametrize("header", MODELS_BY_HEADER)
def test_every_key_is_shown(header: str) -> None:
    """Each table of the example has all its keys, set or commented out, and no other."""
    shown = [match["key"] for match in KEY.finditer(text_by_header()[header])]
    nested = {"schedule", "map", "guard", "lifecycle", "sentinel", "webhook", "mail"} - set(shown)

    if header == "[[source]] file":
        nested |= {"schedule"}
        shown = [key for key in shown if key != "schedule"]
    assert sorted(shown) == sorted(set(MODELS_BY_HEADER[header].model_fields) - nested)


def test_every_key_has_a_reason() -> None:
    """A comment is above each key of the tables that are shown in full."""
    for header in MODELS_BY_HEADER.keys() - {"[[source]] file"}:
        lines = text_by_header()[header].strip().splitlines()
        for number, line in enumerate(lines):
            if KEY.match(line):
                shares = line.lstrip("#").partition(" ")[0] in KEYS_WITH_SHARED_COMMENT
                assert lines[number - 1].startswith("# ") or (shares and KEY.match(lines[number - 1])), line


def test_every_member_is_in_the_map() -> None:
    """The map of users shows all members that can be mapped."""
    shown = {match["key"] for match in KEY.finditer(text_by_header()["[source.map]"])}

    assert shown == MEMBERS_OF["User"]


def test_the_map_is_the_default(installed: Path) -> None:
    """The table of the example equals the default map."""
    assert load(installed).find_source("corp").rules() == DEFAULT_RULES["User"]


def test_a_key_that_is_commented_out_shows_its_default(installed: Path) -> None:
    """Uncommenting every key that has a default changes no setting."""
    unchanged = load(installed)
    uncommented: list[str] = []

    def with_default(header: str, text: str) -> str:
        def uncomment(match: re.Match[str]) -> str:
            has_default = (
                header in MODELS_BY_HEADER and MODELS_BY_HEADER[header].model_fields[match["key"]].default is not None
            )
            has_default = has_default and match[0].startswith("#")
            uncommented.extend([match["key"]] if has_default else [])
            return match[0].lstrip("#") if has_default else match[0]

        return KEY.sub(uncomment, text)

    installed.write_text(
        TEXT.split("\n[database]")[0]
        + "\n"
        + "".join(
            f"{header.split(' ')[0]}\n{with_default(header, text)}"
            for header, text in text_by_header().items()
            if f"\n#{header}\n" not in TEXT
        )
    )

    assert load(installed).model_dump() == unchanged.model_dump()
    assert len(uncommented) > 20


def test_a_key_without_a_default_is_marked_as_an_example() -> None:
    """A commented value without a default is not mistaken for one."""
    for header, model in MODELS_BY_HEADER.items():
        text = text_by_header()[header]
        for match in COMMENTED.finditer(text):
            key = text[match.end() :].partition(" ")[0]
            if model.model_fields[key].default is None:
                assert "example" in above(text[: match.start()]), key


def above(text: str) -> str:
    """Return the comment directly above the end of a text, over keys that share it."""
    lines = text.splitlines()
    while lines and not lines[-1].startswith("# "):
        lines.pop()
    return lines[-1]
