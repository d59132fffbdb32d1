"""`python -m tests.benchmarks.soak [--minutes N]`: a soak test of two replicas under mixed load.

Desktops read, admins edit, runs sync a changing directory, tokens are created and revoked, the database is restarted
every minute. Every response is checked by its client; at the end a mirror made from the change feed must equal the
list, and memory, files, tasks and database connections must not have grown. The exit status is 1 otherwise.
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from syncd.errors import StoreUnavailable
from syncd.settings import Database
from syncd.store.admin import tokens
from syncd.store.connection.engine import Role, open_engine
from tests.benchmarks.rig import Rig, start_rig
from tests.http_daemon import HttpDaemon
from tests.waiting import wait_until

API = "/api/v2/contacts"
PEOPLE = 2000
RECOVERY_TIMEOUT = 20.0
"""Seconds after the end of an outage in which 503 is allowed."""


class Soak:
    """State that all threads share: the daemons, the outage of the database, counted responses and errors."""

    def __init__(self, rig: Rig, daemons: list[HttpDaemon]) -> None:
        self.start_rig = rig
        self.daemons = daemons
        self.stopped = threading.Event()
        self.idle = threading.Event()
        """All writers have ended."""
        self.outage_until = 0.0
        self.answers: Counter[str] = Counter()
        self.errors: list[str] = []
        self.samples: list[dict[str, float]] = []
        self._lock = threading.Lock()

    def add_error(self, sentence: str) -> None:
        with self._lock:
            self.errors.append(f"{time.strftime('%X')} {sentence}")

    def client(self, number: int, role: str = "agent") -> "Client":
        return Client(self, self.daemons[number % len(self.daemons)], role)


class Client:
    """A client of one daemon that checks each response: its status, and that revisions never decrease."""

    newest = 0
    _newest_lock = threading.Lock()

    def __init__(self, soak: Soak, daemon: HttpDaemon, role: str) -> None:
        self._soak = soak
        self._http = httpx.Client(
            base_url=daemon.url, timeout=60, headers={"Authorization": f"Bearer {daemon.tokens[role]}"},
            limits=httpx.Limits(keepalive_expiry=2),
        )  # fmt: skip

    def request(self, method: str, path: str, expected: set[int], **more: Any) -> httpx.Response | None:
        """Send a request; return the response, or None during an outage. An unexpected status is an error."""
        newest = Client.newest
        answer = self._http.request(method, path, **more)
        self._soak.answers[f"{method} {answer.status_code}"] += 1
        if answer.status_code == 503:
            if time.monotonic() > self._soak.outage_until:
                self._soak.add_error(f"{method} {path}: 503 with the database there: {answer.text}")
            time.sleep(0.2)
            return None
        if answer.status_code not in expected:
            self._soak.add_error(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        revision = int(answer.headers.get("directory-revision", newest))
        if revision < newest:
            self._soak.add_error(f"{method} {path}: revision {revision} after {newest}")
        with Client._newest_lock:
            Client.newest = max(Client.newest, revision)
        return answer


def read(soak: Soak, number: int) -> None:
    """Read as a desktop does: lists, one contact, conditional requests, search, lookup."""
    client, chance, tags = soak.client(number), random.Random(number), dict[str, tuple[str, bytes]]()
    while not soak.stopped.is_set():
        uid = chance.randrange(PEOPLE)
        path, check = chance.choice(_READS)(uid)
        tag, body = tags.get(path, ("", b""))
        answer = client.request("GET", path, {200, 304}, headers={"If-None-Match": tag} if tag else {})
        if answer is None:
            continue
        if answer.status_code == 200:
            if not check(answer.json()):
                soak.add_error(f"GET {path}: {answer.text[:300]}")
            tags[path] = (answer.headers["etag"], answer.content)
        elif not body:
            soak.add_error(f"GET {path}: 304 without an earlier response")


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
    """Edit contacts as an admin: an acknowledged write is visible on the other replica at once."""
    here, there = soak.client(number, "admin"), soak.client(number + 1, "admin")
    chance = random.Random(1000 + number)
    own: dict[str, str] = {}
    while not soak.stopped.is_set():
        value = str(chance.randrange(10**9))
        action = chance.choice(["POST", "PUT", "PUT", "DELETE"]) if own else "POST"
        id_ = chance.choice(list(own)) if own else ""
        if action == "POST":
            answer = here.request("POST", API, {200}, json={"name": f"Soak {number} {value}", "phoneNumber": value})
            id_ = "" if answer is None else answer.json()["id"]
        elif action == "PUT":
            answer = here.request("PUT", f"{API}/{id_}", {200}, json={"phoneNumber": value})
        else:
            answer = here.request("DELETE", f"{API}/{id_}", {200})
        if answer is None:  # the write may have been committed: read it after the outage
            if action != "POST":
                resolve_write(soak, there, id_, own)
            continue
        own[id_] = value
        if action == "DELETE":
            del own[id_]
        seen = there.request("GET", f"{API}/{id_}", {200} if action != "DELETE" else {404})
        if seen is not None and action != "DELETE" and seen.json()["contact"]["phoneNumber"] != value:
            soak.add_error(f"{action} {id_}: {value} was acknowledged, {seen.text} is shown")
        time.sleep(0.02)


def resolve_write(soak: Soak, client: Client, id_: str, own: dict[str, str]) -> None:
    """Read the state after a write whose outcome is unknown."""
    while not soak.stopped.is_set():
        seen = client.request("GET", f"{API}/{id_}", {200, 404})
        if seen is not None:
            own[id_] = seen.json()["contact"]["phoneNumber"] if seen.status_code == 200 else ""
            if not own[id_]:
                del own[id_]
            return


def revoke(soak: Soak, _: int) -> None:
    """Create and revoke tokens: each is valid on both replicas, and after the revocation on neither."""
    engine, number = open_engine(Database(url=soak.daemons[0].database_url), Role.API), 0
    while not soak.stopped.wait(2):
        number += 1
        try:
            secret = tokens.create(engine, f"soak {number}", "agent")
            valid = [status(soak, daemon, secret) for daemon in soak.daemons]
            tokens.revoke(engine, f"soak {number}")
            revoked = [status(soak, daemon, secret) for daemon in soak.daemons]
        except StoreUnavailable:
            continue
        if not {*valid} <= {200, 503} or not {*revoked} <= {401, 503}:
            soak.add_error(f"token {number}: {valid}, and revoked {revoked}")


def status(soak: Soak, daemon: HttpDaemon, secret: str) -> int:
    answer = httpx.get(f"{daemon.url}{API}?limit=1", headers={"Authorization": f"Bearer {secret}"}, timeout=60)
    soak.answers[f"token {answer.status_code}"] += 1
    return answer.status_code


def change(soak: Soak, _: int) -> None:
    """Change the LDAP directory; the daemons sync by their schedules."""
    turn = 0
    while not soak.stopped.wait(5):
        turn += 1
        soak.start_rig.modify(range(turn % 50, PEOPLE, 50), str(turn))


def restart(soak: Soak, _: int) -> None:
    """Stop the database for four seconds in every minute."""
    while not soak.stopped.wait(50):
        soak.outage_until = time.monotonic() + 1e9
        soak.start_rig.postgres.stop()
        time.sleep(4)
        soak.start_rig.postgres.start()
        soak.outage_until = time.monotonic() + RECOVERY_TIMEOUT


def mirror(soak: Soak, number: int) -> dict[str, Any]:
    """Follow the change feed from an empty directory; return the resulting contacts."""
    client, contacts, position = soak.client(number), dict[str, Any](), 0
    last = False
    while True:
        answer = client.request("GET", f"{API}/changes?since={position}&wait={0 if last else 2}", {200})
        if answer is None:
            continue
        page = answer.json()
        for item in page["changes"]:
            if item["change"] == "put":
                contacts[item["id"]] = item["contact"]
            else:
                contacts.pop(item["id"], None)
        if page["revision"] < position:
            soak.add_error(f"the feed went from {position} back to {page['revision']}")
        position = page["revision"]
        if last and not page["more"]:
            return contacts
        last = soak.idle.is_set()


def sample(soak: Soak, _: int) -> None:
    """Memory, open files, tasks and database connections, every five seconds."""
    while not soak.stopped.wait(5):
        try:
            used = count_connections(soak.daemons[0].database_url)
        except psycopg.OperationalError:
            continue
        for number, daemon in enumerate(soak.daemons):
            soak.samples.append({
                "daemon": number, "MB": daemon.resident_kib() / 1024, "files": daemon.count_open_files(),
                "tasks": daemon.metric("syncd_event_loop_tasks"), "connections": used,
            })  # fmt: skip


def count_connections(url: str) -> int:
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def run_all(soak: Soak, minutes: float) -> None:
    """Run all threads for the time, then compare the mirror with the list."""
    mirrors: list[dict[str, Any]] = []
    activities: list[tuple[Callable[[Soak, int], Any], int]] = [
        *((read, number) for number in range(4)), *((edit, number) for number in range(2)),
        (revoke, 0), (change, 0), (restart, 0), (sample, 0),
    ]  # fmt: skip

    def run_activity(activity: Callable[[Soak, int], Any], number: int) -> None:
        try:
            activity(soak, number)
        except Exception as error:  # noqa: BLE001 - a thread that ends early is an error
            soak.add_error(f"{getattr(activity, '__name__', 'activity')} {number} died: {error!r}")

    threads = [threading.Thread(target=run_activity, args=activity) for activity in activities]
    mirror_thread = threading.Thread(target=run_activity, args=(lambda it, n: mirrors.append(mirror(it, n)), 0))
    for thread in (mirror_thread, *threads):
        thread.start()
    time.sleep(minutes * 60)
    soak.stopped.set()
    for thread in threads:
        thread.join()
    time.sleep(10)  # the last runs
    soak.idle.set()
    mirror_thread.join()
    soak.outage_until = 0.0
    listed = None
    while listed is None:
        listed = soak.client(0).request("GET", API, {200})
    expected = {contact["id"]: contact for contact in listed.json()["contacts"]}
    if not mirrors or _without_uri(mirrors[0]) != _without_uri(expected):
        made = mirrors[0] if mirrors else {}
        differ = [id_ for id_ in made.keys() | expected.keys() if made.get(id_) != expected.get(id_)]
        soak.add_error(
            f"the mirror made from the change feed is not the list: {len(differ)} differ, such as {differ[:3]}"
        )


def _without_uri(contacts: dict[str, Any]) -> dict[str, Any]:
    """Return contacts without `uri`, which differs between replicas."""
    return {id_: contact | {"uri": None} for id_, contact in contacts.items()}


def report(soak: Soak) -> bool:
    """Print the results; return whether there were no errors and no growth."""
    print(", ".join(f"{name}: {count}" for name, count in sorted(soak.answers.items())))
    table = Table("", "second quarter", "last quarter", title="medians of the two daemons")
    flat = True
    for name, bound in (("MB", 1.05), ("files", 1.2), ("tasks", 1.2), ("connections", 1.2)):
        values = [one[name] for one in soak.samples]
        quarter = len(values) // 4
        early, late = median(values[quarter : 2 * quarter]), median(values[-quarter:])
        flat = flat and late <= bound * early + 3
        table.add_row(name, f"{early:.0f}", f"{late:.0f}")
    Console().print(table)
    print(f"errors: {len(soak.errors)}", *soak.errors[:20], sep="\n  ")
    return flat and not soak.errors


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    arguments = parser.parse_args()
    with start_rig(PEOPLE) as rig:
        rig.create_database()
        source = rig.settings.read_text().partition("[[source]]")[2].replace('every = "1h"', 'every = "5s"')
        daemons = []
        for name in ("one", "two"):
            folder = rig.folder / name
            folder.mkdir()
            daemon = HttpDaemon(folder, rig.postgres.url("bench"))
            # a small cache is full in the first minute: what grows after that is no cache
            daemon.configure(f'cache_mib = 4\n[log]\nlevel = "warning"\n[[source]]{source}')
            daemon.start()
            daemon.create_tokens(str(daemon.port))
            daemons.append(daemon)
        wait_until(lambda: httpx.get(f"{daemons[0].url}/health").json()["contacts"].get("User") == PEOPLE)
        soak = Soak(rig, daemons)
        try:
            run_all(soak, arguments.minutes)
        finally:
            ends = [daemon.stop() for daemon in daemons]
        if any(ends):
            soak.add_error(f"exit statuses {ends}")
        return 0 if report(soak) else 1


if __name__ == "__main__":
    sys.exit(main())
