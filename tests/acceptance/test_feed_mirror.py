"""A mirror made from the change feed equals the list, whatever happens to the directory and to the daemon."""

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import httpx
import psycopg
import pytest

from syncd.app import use_cases
from syncd.core.sync.plan import Report
from syncd.errors import SourceBusy
from tests.daemon_process import DaemonProcess
from tests.environment import Environment
from tests.mirror import LIST, Listener, Mirror, Poller
from tests.waiting import wait_until

WRITERS = 4
EDITS = 150
"""Number of edits of each writer in each of three phases."""


class Scenario:
    """A daemon that can be killed, and all the writers that change its directory."""

    def __init__(self, env: Environment, daemon: DaemonProcess) -> None:
        self.env = env
        self.daemon = daemon
        self.random = random.Random(4)
        self.people: set[str] = set()

    def edit(self, number: int) -> None:
        """Create, change and delete Custom contacts over HTTP."""
        dice, own = random.Random(number), list[str]()
        with self.daemon.client() as client:
            edits = 0
            while edits < EDITS:
                try:
                    self._edit(client, dice, own)
                    edits += 1
                except httpx.TransportError:
                    pass  # the daemon is down; the edit may have been committed

    def _edit(self, client: httpx.Client, dice: random.Random, own: list[str]) -> None:
        action = dice.choice(["create", "change", "change", "delete"]) if own else "create"
        body = {"name": f"Custom {dice.randrange(10**6)} ñ\u2028", "phoneNumber": str(dice.randrange(10**6))}
        if action == "create":
            answer = client.post(LIST, json=body)
            if answer.status_code == 200:
                own.append(answer.json()["id"])
        elif action == "change":
            answer = client.put(f"{LIST}/{dice.choice(own)}", json=body)
        else:
            answer = client.delete(f"{LIST}/{own.pop(dice.randrange(len(own)))}")
        assert answer.status_code in {200, 404, 503}, answer.text

    def sync(self) -> None:
        """Run both sources with additions, changes, removals and returns; undo one run, and purge."""
        branch, dice = self.env.branch, self.random
        for _ in range(2):
            self.env.write_queues({f"Queue {n}": str(dice.randrange(100)) for n in dice.sample(range(900), 600)})
            self._run_when_free(lambda: use_cases.run_source(self.env.settings, "acd"))
            for _ in range(15):
                uid = f"u{dice.randrange(40)}"
                if uid in self.people and dice.random() < 0.5:
                    branch.remove(f"uid={uid},{branch.base}")
                    self.people.discard(uid)
                elif uid in self.people:
                    branch.change(f"uid={uid},{branch.base}", telephoneNumber=str(dice.randrange(1000)))
                else:
                    branch.add(uid, "Ada", f"Example{dice.randrange(100)}")
                    self.people.add(uid)
            last = self._run_when_free(lambda: use_cases.run_source(self.env.settings, "corp"))
        if last.run is not None and last.revision is not None:
            number = last.run
            self._run_when_free(lambda: use_cases.undo_run(self.env.settings, number))
        with psycopg.connect(self.env.database_url) as connection:
            connection.execute("UPDATE contact_queue SET state_since = state_since - %s", (timedelta(days=100),))
        self._run_when_free(lambda: use_cases.purge_source(self.env.settings, "acd"))

    def _run_when_free(self, run: Callable[[], Report]) -> Report:
        """Run while no other run of the source is in progress: the daemon reads the queue file when it changes."""
        while True:
            try:
                return run()
            except SourceBusy:
                time.sleep(0.1)

    def start_writers(self, pool: ThreadPoolExecutor) -> list[Future[None]]:
        first = self.random.randrange(10**6)
        return [pool.submit(self.sync), *(pool.submit(self.edit, first + n) for n in range(WRITERS))]

    def restart(self, mirrors: list[Mirror], number: signal.Signals) -> None:
        """End the daemon by a signal while mirrors apply changes; start it when all have lost their connections."""
        applied = [mirror.applied for mirror in mirrors]
        wait_until(lambda: all(mirror.applied > before + 100 for mirror, before in zip(mirrors, applied, strict=True)))
        reconnects = [mirror.reconnects for mirror in mirrors]
        assert self.daemon.stop(number) == (0 if number is signal.SIGTERM else -number)
        wait_until(lambda: all(mirror.reconnects > n for mirror, n in zip(mirrors, reconnects, strict=True)))
        self.daemon.start()

    def assert_equal(self, mirrors: list[Mirror]) -> int:
        """Assert that idle mirrors reach the revision of the list and are equal to it; return the revision."""
        answer = self.daemon.get(LIST, "admin")
        revision = int(answer.headers["directory-revision"])
        expected = {contact["id"]: contact for contact in answer.json()["contacts"]}
        assert len(expected) == answer.json()["totalCount"] > 600
        wait_until(lambda: all(mirror.position >= revision or mirror.error is not None for mirror in mirrors))
        for mirror in mirrors:
            assert mirror.error is None, mirror.error
            assert mirror.position == revision
            assert mirror.contacts == expected
        return revision


@pytest.fixture
def scenario(env: Environment, env_daemon: DaemonProcess) -> Scenario:
    """A scenario with a running daemon."""
    env.configure(max_removals=1000, page_size=100)
    env_daemon.tokens["admin"] = env.create_token("admin")
    env_daemon.start()
    return Scenario(env, env_daemon)


def test_mirrors_equal_the_list(scenario: Scenario) -> None:
    """Through thousands of edits, runs, an undo, a purge, a restart and a kill, by polls and by events."""
    client = scenario.daemon.client
    mirrors: list[Mirror] = [Poller(client), Poller(client), Listener(client), Listener(client)]
    for mirror in mirrors:
        mirror.start()
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            writers = scenario.start_writers(pool)
            if number is not None:
                scenario.restart(mirrors, number)
            for writer in writers:
                writer.result()
            scenario.assert_equal(mirrors)
    late: list[Mirror] = [Poller(client), Listener(client)]  # from revision 0, without the list
    for mirror in late:
        mirror.follow()
    revision = scenario.assert_equal(mirrors + late)
    for mirror in mirrors + late:
        mirror.stop()
    kinds = {row["kind"] for row in scenario.env.fetch_rows("SELECT DISTINCT kind FROM change")}

    assert kinds >= {"add", "change", "delete", "remove", "purge"}
    assert revision > 1200
    assert all(mirror.reconnects >= 2 for mirror in mirrors)
    assert scenario.daemon.stop() == 0
    print(f"revision {revision}; changes applied: {[mirror.applied for mirror in mirrors + late]}")
