"""A day on which the directory server is away, an hour of it being two seconds, as its operator lives through it."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from syncd.demo.servers import Postgres, free_port
from syncd.drill.proxy import Proxy
from tests.alert_sinks import Hook, MailSink
from tests.daemon_process import OFTEN
from tests.environment import NEVER, Premises
from tests.http_daemon import logged
from tests.scripted_ldap import wait_until

HOUR = 2.0
MORE = """
[log]
repeat = "2s"

[notice]
settle = "2s"
[notice.webhook]
url = "{hook}"
[notice.mail]
host = "127.0.0.1"
port = {port}
tls = "none"
sender = "syncd@example.com"
to = ["team@example.com"]
"""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as made:
        yield made


@pytest.fixture
def post() -> Iterator[MailSink]:
    with MailSink() as made:
        yield made


class Running:
    """The daemon, started with notices and hours of two seconds."""

    def __init__(self, site: Premises, hook: Hook, post: MailSink) -> None:
        self.site = site
        self.log = site.folder / "daemon.log"
        self.more = MORE.format(hook=hook.url, port=post.port)
        site.port = free_port()

    def start(self, **changes: Any) -> None:
        self.site.configure(self.more, file_schedule=NEVER, **changes)
        self.process = self.site.start("run", log=self.log)
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return self.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.site.port}{path}", timeout=60, **options)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged besides our own requests."""
        return [line for line in logged(self.log) if line["event"] != "http.request"]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(90) == 0


@pytest.fixture
def running(site: Premises, hook: Hook, post: MailSink) -> Iterator[Running]:
    made = Running(site, hook, post)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def test_a_day_of_outage(running: Running, hook: Hook, post: MailSink) -> None:
    """Everybody is served all the time; some thirty lines, one alert, one recovery; and it mends by itself."""
    site = running.site
    site.branch.add("ada", "Ada", "Lovelace")
    token = site.command("token", "create", "--role", "agent", "--name", "t").stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    with Proxy(site.branch.slapd.port) as proxy:
        running.start(schedule=OFTEN, urls=f'"{proxy.url}"', ldap='stale_after = "10s"')
        wait_until(lambda: list(site.contacts()) == ["Ada Lovelace"])
        before = len(running.lines())
        with proxy.outage():
            end = time.monotonic() + 23.5 * HOUR  # a run on a busy machine tells of the last half hour when it is over
            while time.monotonic() < end:
                answer = running.get("/api/v2/contacts?type=User", headers=headers)
                assert answer.status_code == 200
                assert [contact["name"] for contact in answer.json()["contacts"]] == ["Ada Lovelace"]
                time.sleep(0.1)
            health = running.get("/health").json()
            site.branch.add("bob", "Bob", "Stone")

        assert (health["status"], health["sources"][0]["stale"]) == ("degraded", True)
        wait_until(lambda: "Bob Stone" in site.contacts())
        wait_until(lambda: len(hook.got) >= 2 and len(post.letters) >= 2)
        wait_until(lambda: running.get("/health").json()["sources"][0]["outcome"] == "completed")
        shown = running.get("/metrics").text
        running.stop()

    events = [line["event"] for line in running.lines()][before:]
    outage = [event for event in events if event != "sync.completed" and not event.startswith("daemon.")]
    assert 10 <= len(outage) <= 30, outage
    (recovered,) = [line for line in running.lines() if line["event"] == "sync.recovered"]
    told = [line for line in running.lines() if line["event"] in {"sync.incomplete", "sync.skipped"}]
    assert recovered["times"] >= len(told)
    assert recovered["seconds"] >= 40
    counted = [line for line in shown.splitlines() if 'outcome="incomplete",source="corp"' in line]
    assert float(counted[0].split()[-1]) >= len([line for line in told if line["event"] == "sync.incomplete"])

    expected = [("problem", "read:corp"), ("recovery", "read:corp")]
    assert hook.told() == expected
    assert "Connection refused" in hook.got[0]["why"]
    assert ["Subject: syncd: over: corp" in letter for letter in post.letters] == [False, True]
    sent = [(line["kind"], line["about"]) for line in running.lines() if line["event"] == "notice.sent"]
    assert sorted(sent) == sorted(expected * 2)


def test_a_restart_tells_nothing_twice(running: Running, hook: Hook, post: MailSink) -> None:
    """What was told before the stop is known after it; its end is told by whoever is there then."""
    site = running.site
    site.branch.add("ada")
    with Proxy(site.branch.slapd.port) as proxy:
        with proxy.outage():
            running.start(schedule=OFTEN, urls=f'"{proxy.url}"')
            wait_until(lambda: len(hook.got) == 1 and len(post.letters) == 1)
            wait_until(lambda: site.rows("SELECT count(*) AS n FROM notice")[0]["n"] == 2)
            running.stop()
            running.start()
            known = "SELECT count(*) AS n FROM run WHERE outcome = 'incomplete'"
            runs = site.rows(known)[0]["n"]
            wait_until(lambda: site.rows(known)[0]["n"] > runs + 3)
        wait_until(lambda: len(hook.got) >= 2 and len(post.letters) >= 2)
        running.stop()

    assert hook.told() == [("problem", "read:corp"), ("recovery", "read:corp")]
    assert len(post.letters) == 2
    assert site.rows("SELECT * FROM notice") == []


def test_who_cannot_be_told_is_told_later(running: Running, hook: Hook, post: MailSink) -> None:
    """A webhook that refuses holds up neither mail nor runs nor requests, and gets its message when it is back."""
    site = running.site
    hook.status = 500
    running.start(schedule=OFTEN, password_file="wrong-password")
    wait_until(lambda: len(post.letters) == 1)
    wait_until(lambda: len(hook.got) >= 2)
    hook.status = 204
    wait_until(lambda: any(line["event"] == "notice.sent" and line["channel"] == "webhook" for line in running.lines()))
    assert running.get("/ready").status_code == 200
    shown = running.get("/metrics").text
    running.stop()

    assert {about for _, about in hook.told()} == {"read:corp"}
    failed = [line for line in running.lines() if line["event"] == "notice.failed"]
    assert all(line["channel"] == "webhook" and "answered 500" in line["why"] for line in failed)
    assert 'syncd_notices_total{channel="mail",outcome="sent"} 1.0' in shown
    assert len(site.rows("SELECT 1 FROM run WHERE outcome = 'incomplete'")) >= 2


def test_a_lost_database_is_told_and_its_return(
    running: Running, hook: Hook, post: MailSink, own_postgres: Postgres
) -> None:
    """Although nothing can be noted there meanwhile; a restart of a moment is one problem."""
    running.site.database_url = own_postgres.url()
    running.site.configure()
    assert running.site.command("migrate").returncode == 0
    running.start(schedule=NEVER)
    own_postgres.stop()
    wait_until(lambda: hook.told() == [("problem", "database")] and len(post.letters) == 1)
    own_postgres.start()
    wait_until(lambda: len(hook.got) == 2 and len(post.letters) == 2)
    running.stop()

    assert hook.told() == [("problem", "database"), ("recovery", "database")]
