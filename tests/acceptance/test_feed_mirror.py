"""A mirror that is built from the change feed equals the list, whatever happens to the directory and to the daemon."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from syncd.app import use_cases
from syncd.core.sync.plan import Report
from syncd.demo.servers import free_port
from syncd.errors import SourceBusy
from tests.environment import Premises
from tests.mirror import LIST, Listener, Mirror, Poller
from tests.scripted_ldap import wait_until

WRITERS = 4
EDITS = 150
"""Of each writer in each of three phases."""


class House:
    """Premises with a daemon that can be killed, and everybody who changes the directory."""

    def __init__(self, site: Premises) -> None:
        site.port = free_port()
        site.configure(max_removals=1000, page_size=100)
        self.site = site
        self.token = site.command("token", "create", "--role", "admin", "--name", "mirror").stdout.split()[-1]
        self.process: subprocess.Popen[bytes] | None = None
        self.random = random.Random(4)
        self.people: set[str] = set()

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.site.port}", headers=headers, timeout=60)

    def start(self) -> None:
        self.process = self.site.start("run", log=self.site.folder / "daemon.log")
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.site.folder / "daemon.log").read_text()[-3000:]
        try:
            with self.client() as client:
                return client.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        status = self.process.wait(90)
        assert status == (0 if how is signal.SIGTERM else -how), status

    def edit(self, number: int) -> None:
        """What one person at the API does: new contacts, other numbers, and some that go."""
        dice, own = random.Random(number), list[str]()
        with self.client() as client:
            done = 0
            while done < EDITS:
                try:
                    self._edit(client, dice, own)
                    done += 1
                except httpx.TransportError:
                    pass  # the daemon is away; whether it was done is for the directory to know

    def _edit(self, client: httpx.Client, dice: random.Random, own: list[str]) -> None:
        deed = dice.choice(["create", "change", "change", "delete"]) if own else "create"
        body = {"name": f"Custom {dice.randrange(10**6)} ñ\u2028", "phoneNumber": str(dice.randrange(10**6))}
        if deed == "create":
            answer = client.post(LIST, json=body)
            if answer.status_code == 200:
                own.append(answer.json()["id"])
        elif deed == "change":
            answer = client.put(f"{LIST}/{dice.choice(own)}", json=body)
        else:
            answer = client.delete(f"{LIST}/{own.pop(dice.randrange(len(own)))}")
        assert answer.status_code in {200, 404, 503}, answer.text

    def sync(self) -> None:
        """A few runs of both sources: arrivals, changes, removals, returns; one of them is taken back, and a purge."""
        branch, dice = self.site.branch, self.random
        for _ in range(2):
            self.site.queues({f"Queue {n}": str(dice.randrange(100)) for n in dice.sample(range(900), 600)})
            self._when_free(lambda: use_cases.run_source(self.site.settings, "acd"))
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
            last = self._when_free(lambda: use_cases.run_source(self.site.settings, "corp"))
        if last.run is not None and last.revision is not None:
            number = last.run
            self._when_free(lambda: use_cases.undo_run(self.site.settings, number))
        with psycopg.connect(self.site.database_url) as connection:
            connection.execute("UPDATE contact_queue SET state_since = state_since - %s", (timedelta(days=100),))
        self._when_free(lambda: use_cases.purge_source(self.site.settings, "acd"))

    def _when_free(self, run: Callable[[], Report]) -> Report:
        """The daemon reads the file of queues as well, as soon as it changes."""
        while True:
            try:
                return run()
            except SourceBusy:
                time.sleep(0.1)

    def everybody_acts(self, pool: ThreadPoolExecutor) -> list[Future[None]]:
        first = self.random.randrange(10**6)
        return [pool.submit(self.sync), *(pool.submit(self.edit, first + n) for n in range(WRITERS))]

    def check(self, mirrors: list[Mirror]) -> int:
        """When all is quiet, the mirrors come to the revision of the list and are equal to it."""
        with self.client() as client:
            answer = client.get(LIST)
        revision = int(answer.headers["directory-revision"])
        expected = {contact["id"]: contact for contact in answer.json()["contacts"]}
        assert len(expected) == answer.json()["totalCount"] > 600
        for mirror in mirrors:
            wait_until(lambda mirror=mirror: mirror.position >= revision or mirror.error is not None)  # type: ignore[misc]
            assert mirror.error is None, mirror.error
            assert mirror.position == revision
            assert mirror.contacts == expected
        return revision


@pytest.fixture
def house(site: Premises) -> Iterator[House]:
    made = House(site)
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGTERM)


def test_mirrors_equal_the_list(house: House) -> None:
    """Through thousands of edits, runs, an undo, a purge, a restart and a kill, by polls and by events."""
    mirrors: list[Mirror] = [Poller(house.client), Poller(house.client), Listener(house.client), Listener(house.client)]
    for mirror in mirrors:
        mirror.start()
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        for how in (None, signal.SIGTERM, signal.SIGKILL):
            acts = house.everybody_acts(pool)
            if how is not None:
                time.sleep(3)
                house.end(how)
                house.start()
            for act in acts:
                act.result()
            house.check(mirrors)
    late: list[Any] = [Poller(house.client), Listener(house.client)]  # from the very beginning, without the list
    for mirror in late:
        mirror._thread.start()
    revision = house.check(mirrors + late)
    for mirror in mirrors + late:
        mirror.stop()
    kinds = {row["kind"] for row in house.site.rows("SELECT DISTINCT kind FROM change")}

    assert kinds >= {"add", "change", "delete", "remove", "purge"}
    assert revision > 1200
    assert all(mirror.reconnects >= 2 for mirror in mirrors)
    print(f"revision {revision}; changes applied: {[mirror.applied for mirror in mirrors + late]}")
