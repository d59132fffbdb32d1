"""Faults in the entries: mistakes in their attributes and keys, and many changes at once."""

import threading

from syncd.drill.proxy import ServerMessage
from syncd.drill.scenario import Fault, Scenario


def _rename_attribute(scenario: Scenario) -> None:
    """Move the numbers of all people to another attribute."""
    for person in scenario.subtree.people:
        number = person.attributes()["telephoneNumber"]
        scenario.subtree.replace_attributes(person.dn, telephoneNumber=[], homePhone=number)
    scenario.sync()


def _rename_while_reading(scenario: Scenario) -> None:
    """Rename and move twenty people between the units all the time, while two runs read slowly."""
    stop = threading.Event()
    renaming = threading.Thread(
        target=scenario.subtree.rename_until, args=(scenario.subtree.people[5:25], stop.is_set), daemon=True
    )

    def delay_entries(message: ServerMessage) -> bytes:
        if message.entry:
            stop.wait(0.01)
        return message.data

    with scenario.open_proxy(delay_entries) as proxy:
        renaming.start()
        try:
            scenario.sync(urls=[proxy.url])
            scenario.sync(urls=[proxy.url])
        finally:
            stop.set()
            renaming.join()


def _duplicate_key(scenario: Scenario) -> None:
    """Copy an account including its key attribute."""
    first = scenario.subtree.people[4]
    copy = first.attributes() | {"cn": "copy", "givenName": "Copied", "uid": f"{scenario.name}.copy"}
    scenario.subtree.add_temporary_person(f"cn=copy,ou=north,{scenario.subtree.base}", **copy)
    scenario.sync()


def _overwrite_key(scenario: Scenario) -> None:
    """Overwrite the key attribute of a person with that of another person; both entries exist."""
    first, second = scenario.subtree.people[4:6]
    scenario.subtree.replace_attributes(first.dn, employeeNumber=second.attributes()["employeeNumber"])
    scenario.sync()


def _break_names(scenario: Scenario) -> None:
    """Put control characters into names, as a broken import does, and delete one person."""
    for person in scenario.subtree.people[:6]:
        scenario.subtree.replace_attributes(person.dn, sn="broken\x07name")
    scenario.subtree.delete_people(scenario.subtree.people[-1])
    scenario.sync()


def _delete_slowly(scenario: Scenario) -> None:
    """Delete two people before each of two runs; the limits allow three a day."""
    scenario.subtree.delete_people(*scenario.subtree.people[:2])
    scenario.expect_change(*scenario.subtree.people[:2])
    scenario.sync()
    scenario.subtree.delete_people(*scenario.subtree.people[2:4])
    scenario.sync()


def _delete_one(scenario: Scenario) -> None:
    """Inject no fault: guards that hold every removal would pass all other faults."""
    deleted, changed = scenario.subtree.people[0], scenario.subtree.people[1]
    scenario.subtree.delete_people(deleted)
    scenario.subtree.replace_attributes(changed.dn, telephoneNumber="+1 555 010 4711")
    scenario.expect_change(deleted, changed)
    scenario.sync()
    served = scenario.served_contacts()
    if scenario.contact_id(deleted) in served:
        scenario.add_problem("the removed contact is still served")
    if served.get(scenario.contact_id(changed), {}).get("phoneNumber") != "+1 555 010 4711":
        scenario.add_problem("the changed number is not served")


FAULTS = (
    Fault(
        "renamed-attribute",
        "all numbers move to another attribute",
        _rename_attribute,
        "held",
        "telephonenumber",
        settings={"guard": {"max_attribute_loss": "20%"}},
    ),
    Fault("modrdn-storm", "people are renamed and moved during runs", _rename_while_reading, "completed held"),
    Fault(
        "duplicate-key",
        "an account is copied with its key",
        _duplicate_key,
        "completed",
        settings={"key": "employeeNumber"},
    ),
    Fault(
        "overwritten-key",
        "a person gets the key of another person",
        _overwrite_key,
        "held",
        "as another one",
        settings={"key": "employeeNumber"},
    ),
    Fault(
        "too-many-rejects",
        "a fifth of the entries cannot be mapped",
        _break_names,
        "incomplete",
        "cannot be mapped",
        settings={"guard": {"max_rejects": "10%"}},
    ),
    Fault(
        "slow-bleed",
        "two people are deleted before each of two runs",
        _delete_slowly,
        "held",
        "in 24 hours",
        settings={"guard": {"max_removals_day": "10%"}},
    ),
    Fault("one-leaves", "no fault: one person deleted, one number changed", _delete_one, "completed"),
)
