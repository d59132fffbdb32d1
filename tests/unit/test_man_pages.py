"""Man pages: the generated ones are current, the written ones are complete, all are valid for groff and mandoc."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from syncd import cli
from syncd.observability import log, metrics
from syncd.settings import Settings
from syncd.web.openapi.document import PATH as OPENAPI_PATH
from tests import man_pages

SYSTEMD = Path(__file__).parents[2] / "systemd"
PAGES = sorted(path for path in SYSTEMD.iterdir() if re.fullmatch(r"\.[578]", path.suffix))


def read_page(name: str) -> str:
    """Return a page without the escapes of roff."""
    return (SYSTEMD / name).read_text("utf-8").replace("\\-", "-").replace("\\(dq", '"')


def test_the_settings_page_is_generated() -> None:
    """`python -m tests.man_pages` was run after the last change of config/syncd.toml."""
    assert (SYSTEMD / "syncd.toml.5").read_text("utf-8") == man_pages.generate_settings_page()


def test_the_events_page_is_generated() -> None:
    """`python -m tests.man_pages` was run after the last change of an event or metric."""
    assert (SYSTEMD / "syncd-events.7").read_text("utf-8") == man_pages.generate_events_page()


def test_the_settings_page_has_every_table() -> None:
    """Each table of the settings is a section."""
    page = read_page("syncd.toml.5")
    for table in Settings.model_fields:
        assert re.search(rf"^\.SH \[+{table}[\].]", page, re.MULTILINE), table


def test_the_events_page_has_every_event_and_metric() -> None:
    """Each event and each series of syncd is an item."""
    page = read_page("syncd-events.7")
    for event in log.EVENTS:
        assert f".BR {event.name} " in page
    for family in metrics.REGISTRY.collect():
        if family.name.startswith("syncd_"):
            shown = f"{family.name}_total" if family.type == "counter" else family.name
            assert re.search(rf"^\.BR {shown}[{{ ]", page, re.MULTILINE), shown


def test_the_command_page_has_exactly_the_commands() -> None:
    """The section COMMANDS lists the commands of the command line and no others."""
    section = read_page("syncd.8").partition(".SH COMMANDS\n")[2].partition("\n.SH ")[0]
    listed = {
        name
        for line in re.findall(r"^\.BR? (.+)$", section, re.MULTILINE)
        for name in re.findall(r"syncd ([a-z]+)", line)
    }
    assert listed == set(cli.syncd.list_commands(click.Context(cli.syncd)))


def test_the_command_page_has_every_exit_status() -> None:
    """The section EXIT STATUS lists the constants of the command line."""
    section = re.search(r"^\.SH EXIT STATUS\n(.*?)^\.SH ", read_page("syncd.8"), re.MULTILINE | re.DOTALL)
    assert section is not None
    statuses = {int(number) for number in re.findall(r"^\.B (\d+)$", section[1], re.MULTILINE)}
    assert statuses == {0, 2, cli.EXIT_FAILED, cli.EXIT_CHANGES, cli.EXIT_HELD, cli.EXIT_BUSY, cli.EXIT_SETTINGS}


def test_the_api_page_has_the_paths() -> None:
    """The page names the collection, its resources, the administration and the service endpoints."""
    page = read_page("syncd-api.7")
    for path in ("/api/v2/contacts", "/contacts/lookup", "/contacts/import", "/contacts/changes", "/api/v2/sync/status",
                 "/health", "/ready", "/metrics", OPENAPI_PATH):  # fmt: skip
        assert path in page, path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("command", [["groff", "-man", "-ww", "-z"], ["mandoc", "-T", "lint"]], ids=lambda c: c[0])
def test_a_page_is_valid(command: list[str], page: Path) -> None:
    """groff with all warnings and mandoc's lint report nothing."""
    done = subprocess.run([*command, str(page)], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_the_package_installs_every_page() -> None:
    """The list of the Debian package equals the pages of the folder."""
    listed = (SYSTEMD / "debian" / "syncd.manpages").read_text("utf-8").split()
    assert sorted(listed) == [page.name for page in PAGES]
