"""What the server still answers as a success, or nearly: limits and lost rights of the account that reads."""

from syncd.drill.people import FEW, FEW_PAGES, HIDDEN, NO_KEY, NO_PHONE
from syncd.drill.scenario import Fault, Stage


def _size_limit(stage: Stage) -> None:
    stage.branch.join(FEW)
    stage.sync()


def _total_limit(stage: Stage) -> None:
    stage.branch.join(FEW_PAGES)
    stage.sync()


def _hidden_entries(stage: Stage) -> None:
    stage.branch.describe(stage.branch.people[::3], HIDDEN)
    stage.sync()


def _hidden_attribute(stage: Stage) -> None:
    """The number is kept, and what else has changed arrives all the same."""
    changed = stage.branch.people[7]
    stage.branch.describe(stage.branch.people, NO_PHONE)
    stage.branch.change(changed.dn, mail="new@example.com")
    stage.excuse(changed)
    stage.sync()
    contact = stage.contacts()[stage.id_of(changed)]
    if contact.get("emailAddress") != "new@example.com" or "phoneNumber" not in contact:
        stage.wrong(f"the other changes of these people did not arrive: {contact}")


def _hidden_keys(stage: Stage) -> None:
    """Five people cannot be told apart any more: nobody can say which contacts are theirs."""
    stage.branch.describe(stage.branch.people[:5], NO_KEY)
    stage.sync()


def _hidden_base(stage: Stage) -> None:
    stage.branch.change(stage.branch.base, description=HIDDEN)
    stage.sync()


def _hidden_sentinel(stage: Stage) -> None:
    stage.branch.describe(stage.branch.people[:1], HIDDEN)
    stage.sync()


def _refused_bind(stage: Stage) -> None:
    stage.branch.change(stage.branch.reader, userPassword="another")
    stage.sync()


FAULTS = (
    Fault("size-limit", "the server answers half of the entries", _size_limit, "incomplete", "code 4 "),
    Fault("total-paging-limit", "the server ends the paging half-way", _total_limit, "incomplete", "code 4 "),
    Fault(
        "acl-entries",
        "a third of the entries is hidden from us",
        _hidden_entries,
        "held",
        'max_removals = "5%"',
        settings={"guard": {"max_removals": "5%"}},
    ),
    Fault(
        "acl-attribute",
        "telephoneNumber is hidden from us",
        _hidden_attribute,
        "held",
        "telephonenumber",
        settings={"guard": {"max_attribute_loss": "20%"}},
    ),
    Fault("acl-key", "the keys of five entries are hidden from us", _hidden_keys, "held", "have no readable"),
    Fault("acl-base", "the base is hidden from us", _hidden_base, "incomplete", "code 32"),
    Fault(
        "sentinel-hidden",
        "a sentinel is hidden from us",
        _hidden_sentinel,
        "incomplete",
        "the sentinel",
        settings={"guard": {"sentinel": [{"userName": "sentinel-hidden.00"}, {"at_least": 10}]}},
    ),
    Fault("bind-refused", "our password was changed", _refused_bind, "incomplete", "was refused"),
)
