"""Freshness over HTTP: the age of each source in every contact response, and a maximum age in requests."""

import re
import subprocess
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from syncd.cli import EXIT_BUSY
from syncd.demo.servers import Postgres
from tests.environment import COMMAND
from tests.http_daemon import HttpDaemon, assert_error, assert_ok, create_database, run_daemon
from tests.waiting import wait_until

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
def daemon_with_two_sources(
    postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpDaemon]:
    """A daemon with a source of people that was read, and one of queues that never was."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "people.json").write_text('[{"name": "Ada"}, {"name": "Bob"}]')
    settings = SOURCE.format(name="people", type="User") + SOURCE.format(name="queues", type="Queue")
    with run_daemon(folder, create_database(postgres, template_database), settings) as daemon:
        wait_until(partial(sync_people, daemon))
        yield daemon


def sync_people(daemon: HttpDaemon) -> bool:
    """Run the source of people unless the daemon does; return whether it was read."""
    command = [*COMMAND, "--config", str(daemon.config), "sync", "people"]
    assert subprocess.run(command, capture_output=True, check=False).returncode in {0, EXIT_BUSY}
    return bool(daemon.query_value("SELECT count(*) FROM run WHERE source = 'people' AND outcome = 'completed'"))


def set_age(daemon: HttpDaemon, hours: int) -> None:
    """Set the time of the last read of the people; return when the daemon has noticed."""
    daemon.query_value("UPDATE run SET finished_at = now() - %s * interval '1 hour' RETURNING 1", hours)
    with daemon.client("agent") as agent:
        wait_until(lambda: people_age(agent.get(API)) // 3600 == hours)


def people_age(answer: httpx.Response) -> int:
    """Return the age of the people in seconds; -1 without an age."""
    match = re.match('"people";age=([0-9]+)', freshness(answer))
    return -1 if match is None else int(match[1])


def freshness(answer: httpx.Response) -> str:
    return str(answer.headers["directory-freshness"])


def test_every_contact_response_has_the_ages(daemon_with_two_sources: HttpDaemon) -> None:
    """The list, one contact, a cached response and a 304; a source that was never read has no age."""
    set_age(daemon_with_two_sources, 0)
    with daemon_with_two_sources.client("agent") as agent:
        first = agent.get(API)
        id_ = assert_ok(first)["contacts"][0]["id"]
        answers = [first, agent.get(API), agent.get(f"{API}/{id_}")]
        answers.append(agent.get(API, headers={"If-None-Match": first.headers["etag"]}))
        assert answers[-1].status_code == 304
        assert answers[-1].headers["directory-revision"] == first.headers["directory-revision"]
    for answer in answers:
        people, queues = freshness(answer).split(", ")
        name, age, *rest = people.split(";")
        assert (name, rest) == ('"people"', ["type=User"])
        assert 0 <= int(age.removeprefix("age=")) < 3600
        assert queues == '"queues";type=Queue;stale'


def test_a_cached_response_has_the_current_age(daemon_with_two_sources: HttpDaemon) -> None:
    """The body may be as old as the revision, the header is current."""
    set_age(daemon_with_two_sources, 0)
    with daemon_with_two_sources.client("agent") as agent:
        first = agent.get(API)
        set_age(daemon_with_two_sources, 30)
        again = agent.get(API, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert "stale" not in freshness(first).partition(", ")[0]
    assert people_age(again) >= 30 * 3600
    assert ";stale" in freshness(again).partition(", ")[0]


def test_a_maximum_age_is_enforced(daemon_with_two_sources: HttpDaemon) -> None:
    """Of the requested types only; the error names the source that is too old or was never read."""
    set_age(daemon_with_two_sources, 0)
    with daemon_with_two_sources.client("agent") as agent:
        fresh = {"Directory-Max-Age": "3600"}
        assert_ok(agent.get(API))  # cached, and rejected nevertheless
        refused = agent.get(API, headers=fresh)
        assert "queues was never read completely" in assert_error(refused, 503, 4)
        assert int(refused.headers["retry-after"]) > 0
        assert "queues" in freshness(refused)
        assert_ok(agent.get(f"{API}?type=User", headers=fresh))
        assert_ok(agent.get(f"{API}?type=user,Custom&limit=1", headers=fresh))
        assert_error(agent.get(f"{API}?type=User,Queue", headers=fresh), 503, 4)
        set_age(daemon_with_two_sources, 2)
        message = assert_error(agent.get(f"{API}?type=User", headers=fresh), 503, 4)
        assert "people was last read completely 72" in message
        assert_ok(agent.get(f"{API}?type=User", headers={"Directory-Max-Age": "9000"}))
        assert_ok(agent.get(f"{API}?type=Custom", headers={"Directory-Max-Age": "0"}))


@pytest.mark.parametrize("max_age", ["soon", "-5", "1.5", ""])
def test_a_malformed_maximum_age_is_rejected(agent: httpx.Client, max_age: str) -> None:
    """With the name of the header."""
    answer = agent.get(API, headers={"Directory-Max-Age": max_age})

    assert "Directory-Max-Age" in assert_error(answer, 400, 2)


@pytest.fixture
def agent(shared_daemon: HttpDaemon) -> Iterator[httpx.Client]:
    """A client of a daemon without sources."""
    with shared_daemon.client("agent") as agent:
        yield agent


def test_without_sources_there_is_no_freshness_header(agent: httpx.Client) -> None:
    """An empty list is no header (RFC 9651, 4.1), and every maximum age is met."""
    answer = agent.get(API, headers={"Directory-Max-Age": "0"})

    assert_ok(answer)
    assert "directory-freshness" not in answer.headers
