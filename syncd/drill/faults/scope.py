"""Faults in the scope of a read: incomplete replicas, another filter, base or key, moved parts of the tree."""

from syncd.drill.people import POPULATION
from syncd.drill.proxy import dead_port
from syncd.drill.scenario import Fault, Scenario


def _read_empty_replica(scenario: Scenario) -> None:
    """Read an empty replica, as behind a load balancer: nothing but the empty response shows the difference."""
    replica = scenario.environment.start_replica(scenario.name, omit_last=POPULATION)
    scenario.sync(urls=[replica.url])


def _read_incomplete_replica(scenario: Scenario) -> None:
    """Read a server that lacks ten entries; the second server has them."""
    replica = scenario.environment.start_replica(scenario.name, omit_last=10)
    scenario.sync(urls=[replica.url, scenario.environment.directory.url])


def _read_incomplete_replica_alone(scenario: Scenario) -> None:
    replica = scenario.environment.start_replica(scenario.name, omit_last=10)
    scenario.sync(urls=[replica.url, f"ldap://127.0.0.1:{dead_port()}"])


def _verify_on_other_directory(scenario: Scenario) -> None:
    """Read a server that lacks ten entries; the second server is of another directory and has none of them."""
    replica = scenario.environment.start_replica(scenario.name, omit_last=10)
    other = scenario.environment.start_replica(scenario.name, omit_last=POPULATION, directory="another")
    scenario.sync(urls=[replica.url, other.url])


def _narrow_filter(scenario: Scenario) -> None:
    excluded = "".join(f"(uid={person.uid})" for person in scenario.subtree.people[:3])
    scenario.sync(filter=f"(&(objectClass=inetOrgPerson)(!(|{excluded})))")


def _narrow_base(scenario: Scenario) -> None:
    scenario.sync(base=f"ou=north,{scenario.subtree.base}")


def _change_key(scenario: Scenario) -> None:
    scenario.sync(key="uid")


def _replace_by_referral(scenario: Scenario) -> None:
    """Move half of the subtree away and put a referral in its place."""
    unit = f"ou=south,{scenario.subtree.base}"
    scenario.subtree.move_entry(unit, scenario.subtree.outside_unit)
    scenario.subtree.add_referral(unit, f"ldap://127.0.0.1:1/{unit}")
    scenario.sync()


def _move_unit(scenario: Scenario) -> None:
    scenario.subtree.move_entry(f"ou=south,{scenario.subtree.base}", scenario.subtree.outside_unit)
    scenario.sync()


FAULTS = (
    Fault("empty-replica", "an empty server responds at the address", _read_empty_replica, "held", "no entry at all"),
    Fault(
        "replica-lacks-10",
        "the first server lacks ten entries",
        _read_incomplete_replica,
        "held",
        "found by a direct search",
    ),
    Fault(
        "second-server-away",
        "the first server lacks ten entries, the second is down",
        _read_incomplete_replica_alone,
        "held",
        "could not be verified",
    ),
    Fault(
        "second-server-strange",
        "the first lacks ten entries, the second is another directory",
        _verify_on_other_directory,
        "held",
        "could not be verified",
    ),
    Fault("narrowed-filter", "the filter excludes three people", _narrow_filter, "held", "filter changed"),
    Fault("narrowed-base", "the base has only half of the people", _narrow_base, "held", "base changed"),
    Fault("other-key", "the settings name another key", _change_key, "failed", "entryuuid"),
    Fault("referral", "half of the tree is on another server", _replace_by_referral, "incomplete", "on other servers"),
    Fault(
        "moved-subtree",
        "half of the tree moves out of the base",
        _move_unit,
        "held",
        'max_removals = "5%"',
        settings={"guard": {"max_removals": "5%"}},
    ),
)
