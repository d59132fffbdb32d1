"""config/syncd.toml: it loads as it stands, names every key there is, and its defaults are the defaults."""

import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from syncd.core.contacts.contact import MEMBERS_OF
from syncd.core.sync.mapping import DEFAULT_RULES
from syncd.settings import (
    Contacts,
    Database,
    FileSource,
    Guard,
    History,
    Http,
    LdapSource,
    Lifecycle,
    Log,
    Mail,
    Notice,
    Schedule,
    Settings,
    SignIn,
    Watchman,
    Webhook,
    load,
)

CONFIG = Path(__file__).parents[2] / "config"
TEXT = (CONFIG / "syncd.toml").read_text("utf-8")
KEY = re.compile(r"^#?(?P<key>[A-Za-z_]+) = ", re.MULTILINE)
COMMENTED = re.compile(r"^#(?=[A-Za-z_]+ = )", re.MULTILINE)

CHAPTERS: dict[str, type[BaseModel]] = {
    "[database]": Database,
    "[http]": Http,
    "[log]": Log,
    "[notice]": Notice,
    "[notice.webhook]": Webhook,
    "[notice.mail]": Mail,
    "[history]": History,
    "[contacts]": Contacts,
    "[sign_in]": SignIn,
    "[[source]] ldap": LdapSource,
    "[source.schedule]": Schedule,
    "[source.guard]": Guard,
    "[[source.guard.sentinel]]": Watchman,
    "[source.lifecycle]": Lifecycle,
    "[[source]] file": FileSource,
}
SHARING = {"key_file", "to", "max_removals_week", *Watchman.model_fields}
"""Keys whose comment may be that of the key above them."""


def chapters() -> dict[str, str]:
    """The header of each table -> its text up to the next header."""
    pieces = re.split(r"^#?(\[.+\])$", TEXT, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for header, text in zip(pieces[1::2], pieces[2::2], strict=True):
        kind = re.search(r'^kind = "(\w+)"$', text, re.MULTILINE)
        found[f"{header} {kind[1]}" if kind else header] = text
    return found


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example in a folder of its own, with the credentials that it names."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("db-password", "ldap-password"):
        (credentials / name).write_text("secret\n")
        (credentials / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    shutil.copy(CONFIG / "syncd.toml", tmp_path)
    shutil.copy(CONFIG / "queues.toml", tmp_path)
    return tmp_path / "syncd.toml"


def test_the_example_loads_as_it_stands(installed: Path) -> None:
    """With its credentials in place there is nothing to correct, and the file that it names is beside it."""
    settings = load(installed)

    assert [(source.name, source.type, source.kind) for source in settings.source] == [
        ("corp", "User", "ldap"),
        ("acd", "Queue", "file"),
    ]
    queues = settings.named("acd")
    assert isinstance(queues, FileSource)
    assert queues.path.is_file()


def test_every_model_has_a_chapter() -> None:
    """A table that is added to the settings is added to the example."""
    assert set(chapters()) == {*CHAPTERS, "[source.map]"}
    assert {"contacts", "database", "history", "http", "log", "notice", "sign_in", "source"} == set(
        Settings.model_fields
    )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_key_is_shown(chapter: str) -> None:
    """Each key of each table stands in its chapter, given or commented out, and no other does."""
    shown = [found["key"] for found in KEY.finditer(chapters()[chapter])]
    inner = {"schedule", "map", "guard", "lifecycle", "sentinel", "webhook", "mail"} - set(shown)  # tables of their own

    if chapter == "[[source]] file":
        inner |= {"schedule"}
        shown = [key for key in shown if key != "schedule"]
    assert sorted(shown) == sorted(set(CHAPTERS[chapter].model_fields) - inner)


def test_every_key_has_a_reason() -> None:
    """A line of comment stands above each key of the tables that are shown in full."""
    for chapter in CHAPTERS.keys() - {"[[source]] file"}:
        lines = chapters()[chapter].strip().splitlines()
        for number, line in enumerate(lines):
            if KEY.match(line):
                shares = line.lstrip("#").partition(" ")[0] in SHARING
                assert lines[number - 1].startswith("# ") or (shares and KEY.match(lines[number - 1])), line


def test_every_member_is_in_the_map() -> None:
    """Whoever writes a map of users sees all that can be mapped, beginning with the map that is the default."""
    shown = {found["key"] for found in KEY.finditer(chapters()["[source.map]"])}

    assert shown == MEMBERS_OF["User"]


def test_the_map_is_the_default(installed: Path) -> None:
    """Leaving the table out changes nothing."""
    assert load(installed).named("corp").rules() == DEFAULT_RULES["User"]


def test_a_key_that_is_commented_out_shows_its_default(installed: Path) -> None:
    """Taking the `#` away from every key that has a default changes nothing at all."""
    as_it_stands = load(installed)
    taken: list[str] = []

    def with_default(chapter: str, text: str) -> str:
        def uncomment(found: re.Match[str]) -> str:
            has_default = chapter in CHAPTERS and CHAPTERS[chapter].model_fields[found["key"]].default is not None
            has_default = has_default and found[0].startswith("#")
            taken.extend([found["key"]] if has_default else [])
            return found[0].lstrip("#") if has_default else found[0]

        return KEY.sub(uncomment, text)

    installed.write_text(
        TEXT.split("\n[database]")[0]
        + "\n"
        + "".join(
            f"{chapter.split(' ')[0]}\n{with_default(chapter, text)}"
            for chapter, text in chapters().items()
            if f"\n#{chapter}\n" not in TEXT
        )
    )

    assert load(installed).model_dump() == as_it_stands.model_dump()
    assert len(taken) > 20


def test_a_key_without_a_default_is_announced_as_an_example() -> None:
    """Nobody takes a commented value for the default when there is none."""
    for chapter, model in CHAPTERS.items():
        text = chapters()[chapter]
        for found in COMMENTED.finditer(text):
            key = text[found.end() :].partition(" ")[0]
            if model.model_fields[key].default is None:
                assert "example" in above(text[: found.start()]), key


def above(text: str) -> str:
    """The comment that stands directly above, over keys that share it."""
    lines = text.splitlines()
    while lines and not lines[-1].startswith("# "):
        lines.pop()
    return lines[-1]
