"""What happens to the entries themselves, by mistake or by too much of what is ordinary."""

import threading

from syncd.drill.people import UNITS
from syncd.drill.proxy import Answer, Break
from syncd.drill.scenario import Fault, Stage


def _renamed_attribute(stage: Stage) -> None:
    """The numbers of all stand in another attribute now."""
    for person in stage.branch.people:
        number = person.attributes()["telephoneNumber"]
        stage.branch.change(person.dn, telephoneNumber=[], homePhone=number)
    stage.sync()


def _storm(stage: Stage) -> None:
    """Twenty people are renamed and moved among units, again and again, while two runs read slowly."""
    calm = threading.Event()
    blowing = threading.Thread(
        target=stage.branch.storm, args=(stage.branch.people[5:25], UNITS, calm.is_set), daemon=True
    )

    def slowly(answer: Answer) -> bytes | Break:
        if answer.entry:
            calm.wait(0.01)
        return answer.message

    with stage.through(slowly) as proxy:
        blowing.start()
        try:
            stage.sync(urls=[proxy.url])
            stage.sync(urls=[proxy.url])
        finally:
            calm.set()
            blowing.join()


def _duplicates(stage: Stage) -> None:
    """An account was copied with the very attribute that identifies it."""
    first = stage.branch.people[4]
    copy = first.attributes() | {"cn": "copy", "givenName": "Copied", "uid": f"{stage.name}.copy"}
    stage.branch.add_for_now(f"cn=copy,ou=north,{stage.branch.base}", **copy)
    stage.sync()


def _overwritten_key(stage: Stage) -> None:
    """Somebody's identifying attribute was overwritten with somebody else's; both are still there."""
    first, second = stage.branch.people[4:6]
    stage.branch.change(first.dn, employeeNumber=second.attributes()["employeeNumber"])
    stage.sync()


def _rejects(stage: Stage) -> None:
    """Names with control characters, as a broken import makes them; and one who has really left."""
    for person in stage.branch.people[:6]:
        stage.branch.change(person.dn, sn="broken\x07name")
    stage.branch.leave(stage.branch.people[-1])
    stage.sync()


def _bleed(stage: Stage) -> None:
    """Two leave in each run, which is little; three in a day are all that the limits allow."""
    stage.branch.leave(*stage.branch.people[:2])
    stage.excuse(*stage.branch.people[:2])
    stage.sync()
    stage.branch.leave(*stage.branch.people[2:4])
    stage.sync()


def _leavers(stage: Stage) -> None:
    """No fault: guards that let nobody go at all would pass everything else."""
    leaver, changed = stage.branch.people[0], stage.branch.people[1]
    stage.branch.leave(leaver)
    stage.branch.change(changed.dn, telephoneNumber="+1 555 010 4711")
    stage.excuse(leaver, changed)
    stage.sync()
    served = stage.contacts()
    if stage.id_of(leaver) in served:
        stage.wrong("who has left is still served")
    if served.get(stage.id_of(changed), {}).get("phoneNumber") != "+1 555 010 4711":
        stage.wrong("a changed number did not arrive")


FAULTS = (
    Fault(
        "renamed-attribute",
        "all numbers move to another attribute",
        _renamed_attribute,
        "held",
        "telephonenumber",
        settings={"guard": {"max_attribute_loss": "20%"}},
    ),
    Fault("modrdn-storm", "people are renamed and moved while runs go on", _storm, "completed held"),
    Fault(
        "duplicate-key",
        "an account is copied, key and all",
        _duplicates,
        "completed",
        settings={"key": "employeeNumber"},
    ),
    Fault(
        "overwritten-key",
        "somebody gets somebody else's key",
        _overwritten_key,
        "held",
        "another one bears",
        settings={"key": "employeeNumber"},
    ),
    Fault(
        "too-many-rejects",
        "a fifth of the entries cannot be mapped",
        _rejects,
        "incomplete",
        "cannot be mapped",
        settings={"guard": {"max_rejects": "10%"}},
    ),
    Fault(
        "slow-bleed",
        "two leave in each of two runs",
        _bleed,
        "held",
        "in 24 hours",
        settings={"guard": {"max_removals_day": "10%"}},
    ),
    Fault("one-leaves", "no fault: one leaves, one has a new number", _leavers, "completed"),
)
