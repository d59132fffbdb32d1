"""Freshness over HTTP: every answer about contacts tells the age of what it shows, and a caller may demand one."""

import re
import subprocess
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from syncd.cli import EXIT_BUSY
from syncd.demo.servers import Postgres
from tests.http_daemon import COMMAND, Daemon, done, failed, new_database, run
from tests.scripted_ldap import wait_until

API = "/api/v2/contacts"
SOURCE = """
[[source]]
name = "{name}"
type = "{type}"
kind = "file"
path = "{name}.json"
key = "name"
schedule = {{ cron = "0 0 29 2 *" }}
"""


@pytest.fixture(scope="module")
def shop(postgres: Postgres, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a source of people that was read, and one of queues that never was."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "staff.json").write_text('[{"name": "Ada"}, {"name": "Bob"}]')
    settings = SOURCE.format(name="staff", type="User") + SOURCE.format(name="lines", type="Queue")
    for daemon in run(folder, new_database(postgres, migrated), settings):
        wait_until(partial(read, daemon))
        yield daemon


def read(daemon: Daemon) -> bool:
    """Whether the people were read, by a command or by the daemon, whichever comes first."""
    command = [*COMMAND, "--config", str(daemon.folder / "syncd.toml"), "sync", "staff"]
    assert subprocess.run(command, capture_output=True, check=False).returncode in {0, EXIT_BUSY}
    return bool(daemon.sql("SELECT count(*) FROM run WHERE source = 'staff' AND outcome = 'completed'"))


def read_before(shop: Daemon, hours: int) -> None:
    """Let it be so long ago that the people were read, and return when the daemon has noticed."""
    shop.sql("UPDATE run SET finished_at = now() - %s * interval '1 hour' RETURNING 1", hours)
    with shop.client("agent") as agent:
        wait_until(lambda: age_of_staff(agent.get(API)) // 3600 == hours)


def age_of_staff(answer: httpx.Response) -> int:
    found = re.match('"staff";age=([0-9]+)', told(answer))
    return -1 if found is None else int(found[1])


def told(answer: httpx.Response) -> str:
    return str(answer.headers["directory-freshness"])


def test_every_answer_about_contacts_tells_ages(shop: Daemon) -> None:
    """The list, one contact, an answer that is kept, one that the client has; what never came has no age."""
    read_before(shop, 0)
    with shop.client("agent") as agent:
        first = agent.get(API)
        id_ = done(first)["contacts"][0]["id"]
        answers = [first, agent.get(API), agent.get(f"{API}/{id_}")]
        answers.append(agent.get(API, headers={"If-None-Match": first.headers["etag"]}))
        assert answers[-1].status_code == 304
        assert answers[-1].headers["directory-revision"] == first.headers["directory-revision"]
    for answer in answers:
        staff, lines = told(answer).split(", ")
        name, age, *rest = staff.split(";")
        assert (name, rest) == ('"staff"', ["type=User"])
        assert 0 <= int(age.removeprefix("age=")) < 3600
        assert lines == '"lines";type=Queue;stale'


def test_the_age_grows_though_the_answer_is_kept(shop: Daemon) -> None:
    """The body may be as old as the revision, the header is of this moment."""
    read_before(shop, 0)
    with shop.client("agent") as agent:
        first = agent.get(API)
        read_before(shop, 30)
        again = agent.get(API, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert "stale" not in told(first).partition(", ")[0]
    assert age_of_staff(again) >= 30 * 3600
    assert ";stale" in told(again).partition(", ")[0]


def test_a_caller_may_demand_an_age(shop: Daemon) -> None:
    """Of the types that are asked for; what is too old, or was never read, is refused by name."""
    read_before(shop, 0)
    with shop.client("agent") as agent:
        fresh = {"Directory-Max-Age": "3600"}
        done(agent.get(API))  # kept, and refused all the same
        refused = agent.get(API, headers=fresh)
        assert "lines was never read completely" in failed(refused, 503, 4)
        assert int(refused.headers["retry-after"]) > 0
        assert "lines" in told(refused)
        done(agent.get(f"{API}?type=User", headers=fresh))
        done(agent.get(f"{API}?type=user,Custom&limit=1", headers=fresh))
        failed(agent.get(f"{API}?type=User,Queue", headers=fresh), 503, 4)
        read_before(shop, 2)
        said = failed(agent.get(f"{API}?type=User", headers=fresh), 503, 4)
        assert "staff was last read completely 72" in said
        done(agent.get(f"{API}?type=User", headers={"Directory-Max-Age": "9000"}))
        done(agent.get(f"{API}?type=Custom", headers={"Directory-Max-Age": "0"}))


@pytest.mark.parametrize("demand", ["soon", "-5", "1.5", ""])
def test_a_malformed_demand_is_refused(office_client: httpx.Client, demand: str) -> None:
    """With the parameter's name, whatever the answer would be."""
    answer = office_client.get(API, headers={"Directory-Max-Age": demand})

    assert "Directory-Max-Age" in failed(answer, 400, 2)


@pytest.fixture
def office_client(desk: Daemon) -> Iterator[httpx.Client]:
    with desk.client("agent") as agent:
        yield agent


def test_without_sources_there_is_nothing_to_tell(office_client: httpx.Client) -> None:
    """An empty list is no header (RFC 9651, 4.1), and any demand is met."""
    answer = office_client.get(API, headers={"Directory-Max-Age": "0"})

    done(answer)
    assert "directory-freshness" not in answer.headers
