"""Faults in limits and access rights of the reading account, to which most servers still respond with success."""

from syncd.drill.people import HIDDEN, NO_KEY, NO_PHONE, SIZE_LIMITED, TOTAL_LIMITED
from syncd.drill.scenario import Fault, Scenario


def _limit_search(scenario: Scenario) -> None:
    scenario.subtree.add_reader_to_group(SIZE_LIMITED)
    scenario.sync()


def _limit_paging(scenario: Scenario) -> None:
    scenario.subtree.add_reader_to_group(TOTAL_LIMITED)
    scenario.sync()


def _hide_entries(scenario: Scenario) -> None:
    scenario.subtree.set_description(scenario.subtree.people[::3], HIDDEN)
    scenario.sync()


def _hide_attribute(scenario: Scenario) -> None:
    """Hide all numbers: the stored numbers must stay, and other changes must be applied."""
    changed = scenario.subtree.people[7]
    scenario.subtree.set_description(scenario.subtree.people, NO_PHONE)
    scenario.subtree.replace_attributes(changed.dn, mail="new@example.com")
    scenario.expect_change(changed)
    scenario.sync()
    contact = scenario.served_contacts()[scenario.contact_id(changed)]
    if contact.get("emailAddress") != "new@example.com" or "phoneNumber" not in contact:
        scenario.add_problem(f"the other changes of these people were not applied: {contact}")


def _hide_keys(scenario: Scenario) -> None:
    """Hide the keys of five people, so that their entries cannot be matched to contacts."""
    scenario.subtree.set_description(scenario.subtree.people[:5], NO_KEY)
    scenario.sync()


def _hide_base(scenario: Scenario) -> None:
    scenario.subtree.replace_attributes(scenario.subtree.base, description=HIDDEN)
    scenario.sync()


def _hide_sentinel(scenario: Scenario) -> None:
    scenario.subtree.set_description(scenario.subtree.people[:1], HIDDEN)
    scenario.sync()


def _change_password(scenario: Scenario) -> None:
    scenario.subtree.replace_attributes(scenario.subtree.reader_dn, userPassword="another")
    scenario.sync()


FAULTS = (
    Fault("size-limit", "the server returns half of the entries", _limit_search, "incomplete", "code 4 "),
    Fault("total-paging-limit", "the server ends the paging half-way", _limit_paging, "incomplete", "code 4 "),
    Fault(
        "acl-entries",
        "a third of the entries is hidden",
        _hide_entries,
        "held",
        'max_removals = "5%"',
        settings={"guard": {"max_removals": "5%"}},
    ),
    Fault(
        "acl-attribute",
        "telephoneNumber is hidden",
        _hide_attribute,
        "held",
        "telephonenumber",
        settings={"guard": {"max_attribute_loss": "20%"}},
    ),
    Fault("acl-key", "the keys of five entries are hidden", _hide_keys, "held", "have no readable"),
    Fault("acl-base", "the base is hidden", _hide_base, "incomplete", "code 32"),
    Fault(
        "sentinel-hidden",
        "a sentinel is hidden",
        _hide_sentinel,
        "incomplete",
        "the sentinel",
        settings={"guard": {"sentinel": [{"userName": "sentinel-hidden.00"}, {"at_least": 10}]}},
    ),
    Fault("bind-refused", "the password of the account is changed", _change_password, "incomplete", "was refused"),
)
