"""SIGHUP: settings are read anew, all or nothing, and nobody who is served or synced notices."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from syncd.drill.proxy import dead_port
from tests.daemon_process import OFTEN, Running, corp, manager, stalled
from tests.environment import NEVER
from tests.load import load
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"


def hang_up(running: Running) -> None:
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)


@contextmanager
def asked(running: Running) -> Iterator[Counter[str]]:
    """While this lasts, two clients ask over connections that they keep: what became of it, counted."""
    token = running.site.command("token", "create", "--role", "agent", "--name", "load").stdout.strip()
    options: Any = {"headers": {"Authorization": f"Bearer {token}"}, "timeout": 60}
    with httpx.Client(**options) as one, httpx.Client(**options) as other:
        url = f"http://127.0.0.1:{running.site.port}{API}"
        with load(lambda: one.get(url), lambda: other.get(url)) as outcomes:
            yield outcomes


def test_good_settings_are_in_force_at_once(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another schedule, another queue file, `uri`, log level: under load, in the same process, and it is told how."""
    site = running.site
    path = site.folder / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    site.branch.add("ada", "Ada", "Lovelace")
    (site.folder / "other.toml").write_text('[[queue]]\nname = "Support"\nphoneNumber = "7"\n')
    with manager(path) as said:
        running.start(schedule=NEVER)
        wait_until(lambda: "Ada Lovelace" in site.contacts() and not site.contacts("Queue"))
        with asked(running) as outcomes:
            site.branch.add("bob", "Bob", "Stone")
            site.configure('\n[log]\nlevel = "warning"\n', schedule=OFTEN, path="other.toml", port=site.port + 1)
            hang_up(running)
            wait_until(lambda: {"Bob Stone"} <= set(site.contacts()) and "Support" in site.contacts("Queue"))
            (site.folder / "other.toml").write_text('[[queue]]\nname = "Sales"\nphoneNumber = "7"\n')
            wait_until(lambda: "Sales" in site.contacts("Queue"))
        assert running.stop() == 0

    assert set(outcomes) == {"200"}
    reloading = next(number for number, message in enumerate(said) if message.startswith("RELOADING=1\nMONOTONIC"))
    assert any(message.startswith("READY=1") for message in said[reloading:])
    assert running.lines("daemon.started")
    assert not running.lines("daemon.stopped")  # of level info, as all that came after the reload


def test_a_reload_tells_what_it_changed_and_what_it_could_not(running: Running) -> None:
    """By the names of keys; a second source comes and goes."""
    site = running.site
    running.start(schedule=NEVER)
    port = site.port
    more = (
        '\n[[source]]\nname = "more"\ntype = "Queue"\nkind = "file"\npath = "more.toml"\nschedule = { every = "1h" }\n'
    )
    (site.folder / "more.toml").write_text('[[queue]]\nname = "Extra"\nphoneNumber = "9"\n')
    site.configure(more, port=port + 1)
    hang_up(running)
    wait_until(lambda: "Extra" in site.contacts("Queue"))
    assert [source["name"] for source in running.health()["sources"]] == ["corp", "acd", "more"]

    site.configure(port=port)
    hang_up(running)
    wait_until(lambda: len(running.lines("settings.reloaded")) == 2)

    assert [source["name"] for source in running.health()["sources"]] == ["corp", "acd"]
    assert 'syncd_source_stale{source="more"}' not in running.get("/metrics").text
    added, removed = running.lines("settings.reloaded")
    assert (added["changed"], added["needs_restart"]) == (["source.more"], ["http.listen"])
    assert (removed["changed"], removed["needs_restart"]) == (["source.more"], [])
    assert running.stop() == 0


def test_bad_settings_are_refused_as_a_whole(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is told, the former settings stay, STATUS says so until a good reload, and the end is status 0."""
    site = running.site
    path = site.folder / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    site.branch.add("ada", "Ada", "Lovelace")
    good = dict(site.options)
    with manager(path) as said:
        running.start(schedule=OFTEN)
        wait_until(lambda: "Ada Lovelace" in site.contacts())
        site.file.write_text(site.file.read_text().replace("ldap-password", "absent").replace("base =", "bass ="))
        hang_up(running)
        wait_until(lambda: bool(running.lines("settings.refused")))
        site.branch.add("bob", "Bob", "Stone")
        wait_until(lambda: "Bob Stone" in site.contacts())
        wait_until(lambda: any("the last reload was refused" in message for message in said[-5:]))

        site.configure(**good)
        hang_up(running)
        wait_until(lambda: bool(running.lines("settings.reloaded")))
        wait_until(lambda: "STATUS" in said[-1] and "refused" not in said[-1])
        assert running.stop() == 0

    (line,) = running.lines("settings.refused")
    assert any("bind_password_file: names no file" in problem for problem in line["problems"])
    assert any("did you mean 'base'?" in problem for problem in line["problems"])
    assert running.lines("settings.reloaded")[0]["changed"] == []


def test_a_run_ends_under_the_settings_it_began_with(running: Running) -> None:
    """It goes on while its source moves to a server that is not there; only the next one meets that."""
    site = running.site
    for number in range(9):
        site.branch.add(f"u{number}", "P", str(number))
    with stalled(running) as proxy:
        running.start(schedule='{ every = "4s" }', urls=f'"{proxy.url}", "{site.branch.slapd.url}"', read_timeout="10m")
        worker = "SELECT pid FROM run WHERE source = 'corp' AND outcome = 'running'"
        wait_until(lambda: bool(site.rows(worker)))
        pid = site.rows(worker)[0]["pid"]
        site.configure(urls=f'"ldap://127.0.0.1:{dead_port()}"')
        hang_up(running)
        wait_until(lambda: bool(running.lines("settings.reloaded")))
        os.kill(pid, 0)
    wait_until(lambda: len(site.contacts()) == 9)
    running.await_outcome("incomplete")
    first = site.rows("SELECT outcome FROM run WHERE source = 'corp' ORDER BY id LIMIT 2")
    assert [row["outcome"] for row in first] == ["completed", "incomplete"]
    assert corp(running.health())["lastSuccess"] is not None
    assert running.stop() == 0
