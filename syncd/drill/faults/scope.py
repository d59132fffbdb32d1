"""What is read instead of what was meant: replicas that lack entries, another filter, base or key, parts of a tree."""

from syncd.drill.people import POPULATION
from syncd.drill.proxy import dead_port
from syncd.drill.scenario import Fault, Stage


def _empty_replica(stage: Stage) -> None:
    """The address leads to another server, as behind a balancer: so nothing but the empty answer tells."""
    replica = stage.site.server(stage.name, lacking=POPULATION)
    stage.sync(urls=[replica.url])


def _lacking_replica(stage: Stage) -> None:
    """Ten entries have not reached the first server yet; the second one has them."""
    replica = stage.site.server(stage.name, lacking=10)
    stage.sync(urls=[replica.url, stage.site.directory.url])


def _lacking_and_alone(stage: Stage) -> None:
    replica = stage.site.server(stage.name, lacking=10)
    stage.sync(urls=[replica.url, f"ldap://127.0.0.1:{dead_port()}"])


def _lacking_and_strange(stage: Stage) -> None:
    """Who is asked for the ten is a server of another directory, which knows nothing of them."""
    replica = stage.site.server(stage.name, lacking=10)
    stranger = stage.site.server(stage.name, lacking=POPULATION, directory="another")
    stage.sync(urls=[replica.url, stranger.url])


def _narrowed_filter(stage: Stage) -> None:
    few = "".join(f"(uid={person.uid})" for person in stage.branch.people[:3])
    stage.sync(filter=f"(&(objectClass=inetOrgPerson)(!(|{few})))")


def _narrowed_base(stage: Stage) -> None:
    stage.sync(base=f"ou=north,{stage.branch.base}")


def _other_key(stage: Stage) -> None:
    stage.sync(key="uid")


def _referral(stage: Stage) -> None:
    """Half of the tree has moved to another server, and a referral stands in its place."""
    unit = f"ou=south,{stage.branch.base}"
    stage.branch.move(unit, stage.branch.outside)
    stage.branch.refer(unit, f"ldap://127.0.0.1:1/{unit}")
    stage.sync()


def _moved_subtree(stage: Stage) -> None:
    stage.branch.move(f"ou=south,{stage.branch.base}", stage.branch.outside)
    stage.sync()


FAULTS = (
    Fault("empty-replica", "another server answers, which is empty", _empty_replica, "held", "no entry at all"),
    Fault(
        "replica-lacks-10", "the first server lacks ten entries", _lacking_replica, "held", "are there when asked for"
    ),
    Fault(
        "second-server-away",
        "the first server lacks ten, the second is away",
        _lacking_and_alone,
        "held",
        "could not be asked",
    ),
    Fault(
        "second-server-strange",
        "the first lacks ten, the second is of another directory",
        _lacking_and_strange,
        "held",
        "could not be asked",
    ),
    Fault("narrowed-filter", "the filter leaves out three people", _narrowed_filter, "held", "filter changed"),
    Fault("narrowed-base", "the base is only half of what it was", _narrowed_base, "held", "base changed"),
    Fault("other-key", "the settings name another key", _other_key, "failed", "entryuuid"),
    Fault("referral", "half of the tree is on another server", _referral, "incomplete", "on other servers"),
    Fault(
        "moved-subtree",
        "half of the tree moves out of the base",
        _moved_subtree,
        "held",
        'max_removals = "5%"',
        settings={"guard": {"max_removals": "5%"}},
    ),
)
