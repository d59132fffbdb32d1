"""`python -m tests.benchmarks.soak [--minutes N]`: two replicas under mixed load, and all that happens in months.

Desktops read, admins edit, runs sync a changing directory, tokens are made and revoked, the database is restarted
every minute. Every answer is judged by what its asker knows; at the end a mirror made from the change feed must equal
the list, and memory, files, tasks and database connections must not have grown. The exit status is 1 otherwise.
"""

import argparse
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from syncd.demo.servers import free_port
from syncd.errors import StoreUnavailable
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from tests.benchmarks.rig import Rig, rig
from tests.http_daemon import Daemon
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
PEOPLE = 2000
PATIENCE = 20.0
"""Seconds after the end of an outage in which 503 is still an answer."""


class Soak:
    """What all threads share: the daemons, when the database was away, what was answered and what was wrong."""

    def __init__(self, running: Rig, daemons: list[Daemon]) -> None:
        self.rig = running
        self.daemons = daemons
        self.over = threading.Event()
        self.quiet = threading.Event()
        """Nobody writes any more."""
        self.away_until = 0.0
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.samples: list[dict[str, float]] = []
        self._lock = threading.Lock()

    def complain(self, sentence: str) -> None:
        with self._lock:
            self.wrong.append(f"{time.strftime('%X')} {sentence}")

    def client(self, number: int, role: str = "agent") -> "Client":
        return Client(self, self.daemons[number % len(self.daemons)], role)


class Client:
    """Asks one daemon, and judges what every asker can: status, form, and that revisions never fall."""

    newest = 0
    _newest_lock = threading.Lock()

    def __init__(self, soak: Soak, daemon: Daemon, role: str) -> None:
        self._soak = soak
        self._http = httpx.Client(
            base_url=daemon.url, timeout=60, headers={"Authorization": f"Bearer {daemon.tokens[role]}"},
            limits=httpx.Limits(keepalive_expiry=2),
        )  # fmt: skip

    def ask(self, method: str, path: str, expected: set[int], **more: Any) -> httpx.Response | None:
        """The answer; None when the database was away. Anything but an expected status is wrong."""
        known = Client.newest
        answer = self._http.request(method, path, **more)
        self._soak.answers[f"{method} {answer.status_code}"] += 1
        if answer.status_code == 503:
            if time.monotonic() > self._soak.away_until:
                self._soak.complain(f"{method} {path}: 503 with the database there: {answer.text}")
            time.sleep(0.2)
            return None
        if answer.status_code not in expected:
            self._soak.complain(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        revision = int(answer.headers.get("directory-revision", known))
        if revision < known:
            self._soak.complain(f"{method} {path}: revision {revision} after {known} was seen")
        with Client._newest_lock:
            Client.newest = max(Client.newest, revision)
        return answer


def read(soak: Soak, number: int) -> None:
    """A desktop: lists, one contact, conditional reads, search, lookup."""
    client, chance, tags = soak.client(number), random.Random(number), dict[str, tuple[str, bytes]]()
    while not soak.over.is_set():
        uid = chance.randrange(PEOPLE)
        path, check = chance.choice(_READS)(uid)
        tag, body = tags.get(path, ("", b""))
        answer = client.ask("GET", path, {200, 304}, headers={"If-None-Match": tag} if tag else {})
        if answer is None:
            continue
        if answer.status_code == 200:
            if not check(answer.json()):
                soak.complain(f"GET {path}: {answer.text[:300]}")
            tags[path] = (answer.headers["etag"], answer.content)
        elif not body:
            soak.complain(f"GET {path}: 304 for what was never sent")


_READS: list[Callable[[int], tuple[str, Callable[[Any], bool]]]] = [
    lambda uid: (f"{API}?userName=u{uid:07}", lambda found: found["totalCount"] == 1),
    lambda _: (
        f"{API}?type=User&limit=50",
        lambda found: found["totalCount"] == PEOPLE and len(found["contacts"]) == 50,
    ),
    lambda uid: (f"{API}?q=u{uid:07}", lambda found: found["contacts"][0]["userName"] == f"u{uid:07}"),
    lambda uid: (
        f"{API}/lookup?number=%2B1 555 000 {uid:04}",
        lambda found: found["lookups"][0]["matches"][0]["contact"]["userName"] == f"u{uid:07}",
    ),
]


def edit(soak: Soak, number: int) -> None:
    """An admin with contacts of their own: what was acknowledged is there, on the other replica at once."""
    here, there = soak.client(number, "admin"), soak.client(number + 1, "admin")
    chance = random.Random(1000 + number)
    own: dict[str, str] = {}
    while not soak.over.is_set():
        value = str(chance.randrange(10**9))
        deed = chance.choice(["POST", "PUT", "PUT", "DELETE"]) if own else "POST"
        id_ = chance.choice(list(own)) if own else ""
        if deed == "POST":
            answer = here.ask("POST", API, {200}, json={"name": f"Soak {number} {value}", "phoneNumber": value})
            id_ = "" if answer is None else answer.json()["id"]
        elif deed == "PUT":
            answer = here.ask("PUT", f"{API}/{id_}", {200}, json={"phoneNumber": value})
        else:
            answer = here.ask("DELETE", f"{API}/{id_}", {200})
        if answer is None:  # nobody knows what became of it: look, once somebody answers again
            if deed != "POST":
                settle(soak, there, id_, own)
            continue
        own[id_] = value
        if deed == "DELETE":
            del own[id_]
        seen = there.ask("GET", f"{API}/{id_}", {200} if deed != "DELETE" else {404})
        if seen is not None and deed != "DELETE" and seen.json()["contact"]["phoneNumber"] != value:
            soak.complain(f"{deed} {id_}: {value} was acknowledged, {seen.text} is shown")
        time.sleep(0.02)


def settle(soak: Soak, client: Client, id_: str, own: dict[str, str]) -> None:
    """Take over what a write in doubt has become."""
    while not soak.over.is_set():
        seen = client.ask("GET", f"{API}/{id_}", {200, 404})
        if seen is not None:
            own[id_] = seen.json()["contact"]["phoneNumber"] if seen.status_code == 200 else ""
            if not own[id_]:
                del own[id_]
            return


def revoke(soak: Soak, _: int) -> None:
    """A token works on both replicas, and at the first call after its end on neither."""
    engine, number = open_engine(Database(url=soak.daemons[0].database_url), Role.API), 0
    while not soak.over.wait(2):
        number += 1
        try:
            secret = tokens.create(engine, f"soak {number}", "agent")
            valid = [status(soak, daemon, secret) for daemon in soak.daemons]
            tokens.revoke(engine, f"soak {number}")
            revoked = [status(soak, daemon, secret) for daemon in soak.daemons]
        except StoreUnavailable:
            continue
        if not {*valid} <= {200, 503} or not {*revoked} <= {401, 503}:
            soak.complain(f"token {number}: {valid}, and revoked {revoked}")


def status(soak: Soak, daemon: Daemon, secret: str) -> int:
    answer = httpx.get(f"{daemon.url}{API}?limit=1", headers={"Authorization": f"Bearer {secret}"}, timeout=60)
    soak.answers[f"token {answer.status_code}"] += 1
    return answer.status_code


def change(soak: Soak, _: int) -> None:
    """Somebody keeps the LDAP directory; the daemons' schedules do the rest."""
    turn = 0
    while not soak.over.wait(5):
        turn += 1
        soak.rig.modify(range(turn % 50, PEOPLE, 50), str(turn))


def restart(soak: Soak, _: int) -> None:
    """The database goes away for some seconds in every minute."""
    while not soak.over.wait(50):
        soak.away_until = time.monotonic() + 1e9
        soak.rig.postgres.stop()
        time.sleep(4)
        soak.rig.postgres.start()
        soak.away_until = time.monotonic() + PATIENCE


def mirror(soak: Soak, number: int) -> dict[str, Any]:
    """Follow the change feed from an empty directory on; return what it makes of it."""
    client, found, position = soak.client(number), dict[str, Any](), 0
    last = False
    while True:
        answer = client.ask("GET", f"{API}/changes?since={position}&wait={0 if last else 2}", {200})
        if answer is None:
            continue
        page = answer.json()
        for item in page["changes"]:
            if item["change"] == "put":
                found[item["id"]] = item["contact"]
            else:
                found.pop(item["id"], None)
        if page["revision"] < position:
            soak.complain(f"the feed went from {position} back to {page['revision']}")
        position = page["revision"]
        if last and not page["more"]:
            return found
        last = soak.quiet.is_set()


def sample(soak: Soak, _: int) -> None:
    """Memory, open files, tasks and database connections, every five seconds."""
    while not soak.over.wait(5):
        try:
            used = connections(soak.daemons[0].database_url)
        except psycopg.OperationalError:
            continue
        for number, daemon in enumerate(soak.daemons):
            assert daemon.process is not None
            process = Path(f"/proc/{daemon.process.pid}")
            resident = re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())
            shown = httpx.get(f"{daemon.url}/metrics", timeout=60).text
            tasks = re.search(r"^syncd_tasks (\S+)", shown, re.MULTILINE)
            assert resident is not None
            assert tasks is not None
            soak.samples.append({
                "daemon": number, "MB": int(resident[1]) / 1024, "files": len(list((process / "fd").iterdir())),
                "tasks": float(tasks[1]), "connections": used,
            })  # fmt: skip


def connections(url: str) -> int:
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def play(soak: Soak, minutes: float) -> None:
    """All of it for the time, then the last comparison."""
    followed: list[dict[str, Any]] = []
    parts: list[tuple[Callable[[Soak, int], Any], int]] = [
        *((read, number) for number in range(4)), *((edit, number) for number in range(2)),
        (revoke, 0), (change, 0), (restart, 0), (sample, 0),
    ]  # fmt: skip

    def guarded(part: Callable[[Soak, int], Any], number: int) -> None:
        try:
            part(soak, number)
        except Exception as error:  # noqa: BLE001 - a part that dies is a wrong answer, not a silent end
            soak.complain(f"{getattr(part, '__name__', 'part')} {number} died: {error!r}")

    threads = [threading.Thread(target=guarded, args=part) for part in parts]
    following = threading.Thread(target=guarded, args=(lambda it, n: followed.append(mirror(it, n)), 0))
    for thread in (following, *threads):
        thread.start()
    time.sleep(minutes * 60)
    soak.over.set()
    for thread in threads:
        thread.join()
    time.sleep(10)  # the last runs
    soak.quiet.set()
    following.join()
    soak.away_until = 0.0
    listed = None
    while listed is None:
        listed = soak.client(0).ask("GET", API, {200})
    expected = {contact["id"]: contact for contact in listed.json()["contacts"]}
    if not followed or _plain(followed[0]) != _plain(expected):
        made = followed[0] if followed else {}
        differ = [id_ for id_ in made.keys() | expected.keys() if made.get(id_) != expected.get(id_)]
        soak.complain(
            f"the mirror made from the change feed is not the list: {len(differ)} differ, such as {differ[:3]}"
        )


def _plain(contacts: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from replica to replica: the address."""
    return {id_: contact | {"uri": None} for id_, contact in contacts.items()}


def report(soak: Soak) -> bool:
    """Print what happened; True when nothing was wrong and nothing grew."""
    print(", ".join(f"{name}: {count}" for name, count in sorted(soak.answers.items())))
    table = Table("", "second quarter", "last quarter", title="medians of the two daemons")
    flat = True
    for what, most in (("MB", 1.05), ("files", 1.2), ("tasks", 1.2), ("connections", 1.2)):
        values = [one[what] for one in soak.samples]
        quarter = len(values) // 4
        early, late = median(values[quarter : 2 * quarter]), median(values[-quarter:])
        flat = flat and late <= most * early + 3
        table.add_row(what, f"{early:.0f}", f"{late:.0f}")
    Console().print(table)
    print(f"wrong: {len(soak.wrong)}", *soak.wrong[:20], sep="\n  ")
    return flat and not soak.wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    arguments = parser.parse_args()
    with rig(PEOPLE) as running:
        running.fresh_database()
        source = running.settings.read_text().partition("[[source]]")[2].replace('every = "1h"', 'every = "5s"')
        daemons = []
        for name in ("one", "two"):
            folder = running.folder / name
            folder.mkdir()
            daemon = Daemon(folder, running.postgres.url("bench"), free_port())
            # a small cache is full in the first minute: what grows after that is no cache
            daemon.start(f'cache_mib = 4\n[log]\nlevel = "warning"\n[[source]]{source}')
            daemons.append(daemon)
        engine = open_engine(Database(url=daemons[0].database_url), Role.API)
        for role in ("admin", "agent"):
            for daemon in daemons:
                daemon.tokens[role] = tokens.create(engine, f"{role} {daemon.port}", role)
        wait_until(lambda: httpx.get(f"{daemons[0].url}/health").json()["contacts"].get("User") == PEOPLE)
        soak = Soak(running, daemons)
        try:
            play(soak, arguments.minutes)
        finally:
            ends = [daemon.stop() for daemon in daemons]
        if any(ends):
            soak.complain(f"exit statuses {ends}")
        return 0 if report(soak) else 1


if __name__ == "__main__":
    sys.exit(main())
