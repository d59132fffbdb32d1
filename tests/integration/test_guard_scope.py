"""The guard: removals after a change of settings that narrows or moves the scope of the read."""

from typing import Any

import pytest

from syncd.core.sync.plan import Outcome
from syncd.demo.servers import Slapd
from tests.environment import READER_DN, Environment
from tests.records import QueueRecords, Records, UserRecords, configure_guard


class NarrowerScope:
    """A change of settings that excludes the records 0, 1 and 2."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def prepare(self) -> None:
        """Prepare the source, before the first run."""

    def narrow_settings(self) -> dict[str, Any]:
        raise NotImplementedError

    def expected_reason(self) -> str:
        """Return the part of the report's reason that names the change."""
        raise NotImplementedError


class ByFilter(NarrowerScope):
    text = "(&(objectClass=inetOrgPerson)(!(sn=000))(!(sn=001))(!(sn=002)))"

    def narrow_settings(self) -> dict[str, Any]:
        return {"ldap": f'filter = "{self.text}"'}

    def expected_reason(self) -> str:
        return f'filter changed from "(objectClass=inetOrgPerson)" to "{self.text}"'


class ByBase(NarrowerScope):
    def prepare(self) -> None:
        self.unit = self.records.env.branch.add_unit(f"ou=inner,{self.records.env.branch.base}")
        for n in range(3, 20):
            self.records.env.branch.rename(f"uid=u{n},{self.records.env.branch.base}", f"uid=u{n}", self.unit)

    def narrow_settings(self) -> dict[str, Any]:
        return {"base": self.unit}

    def expected_reason(self) -> str:
        return f'base changed from "{self.records.env.branch.base}" to "{self.unit}"'


class ByScope(NarrowerScope):
    def prepare(self) -> None:
        unit = self.records.env.branch.add_unit(f"ou=inner,{self.records.env.branch.base}")
        for n in range(3):
            self.records.env.branch.rename(f"uid=u{n},{self.records.env.branch.base}", f"uid=u{n}", unit)

    def narrow_settings(self) -> dict[str, Any]:
        return {"ldap": 'scope = "onelevel"'}

    def expected_reason(self) -> str:
        return 'scope changed from "subtree" to "onelevel"'


class ByIdentity(NarrowerScope):
    def prepare(self) -> None:
        configure_guard(self.records.env, bind_dn=Slapd.root_dn, password_file="ldap-password")
        self.records.env.branch.deny_reader("filter=(|(sn=000)(sn=001)(sn=002))")

    def narrow_settings(self) -> dict[str, Any]:
        return {"bind_dn": READER_DN, "password_file": "reader-password"}

    def expected_reason(self) -> str:
        return f'identity changed from "{Slapd.root_dn}" to "{READER_DN}"'


class ByPath(NarrowerScope):
    def narrow_settings(self) -> dict[str, Any]:
        text = (self.records.env.folder / "queues.toml").read_text().split("\n\n")
        (self.records.env.folder / "other.toml").write_text("\n\n".join(text[3:]))
        return {"path": "other.toml"}

    def expected_reason(self) -> str:
        folder = self.records.env.folder
        return f'path changed from "{folder}/queues.toml" to "{folder}/other.toml"'


NARROWER_SCOPES = [
    (UserRecords, ByFilter),
    (UserRecords, ByBase),
    (UserRecords, ByScope),
    (UserRecords, ByIdentity),
    (QueueRecords, ByPath),
]


@pytest.mark.parametrize(("kind", "narrowing"), NARROWER_SCOPES)
def test_removals_by_a_narrower_scope_are_held(
    env: Environment, kind: type[Records], narrowing: type[NarrowerScope]
) -> None:
    """They are held whatever the limit, with the change as the reason; with the former settings the list empties."""
    configure_guard(env)
    records = kind(env)
    records.add(*range(20))
    change = narrowing(records)
    change.prepare()
    assert records.run().counts.added == 20
    before = dict(env.options)
    env.configure(**change.narrow_settings())

    for _ in range(2):
        report = records.run()
        assert (report.outcome, report.held, report.counts.removed) == (Outcome.HELD, 3, 0)
        assert change.expected_reason() in report.reason
        assert {row["code"] for row in records.held_items()} == {"scope"}
        assert records.held_names() == records.names(range(3))
    assert records.served() == records.names(range(20))

    env.options = before
    env.configure()
    back = records.run()

    assert (back.outcome, back.reason, back.held) == (Outcome.COMPLETED, "", 0)
    assert records.held_items() == []
    assert records.served() == records.names(range(20))


@pytest.mark.parametrize(
    ("kind", "rule"), [(UserRecords, 'name = "cn"'), (QueueRecords, 'name = "name"\nphoneNumber = "phoneNumber"')]
)
def test_removals_that_coincide_with_another_map_are_held(env: Environment, kind: type[Records], rule: str) -> None:
    """One removal together with a change of the map is held, each changed member is named, changes are applied."""
    configure_guard(env)
    records = kind(env)
    records.add(*range(10))
    records.change(1, to="old")
    records.run()
    records.remove(0)
    env.configure(ldap=f"[source.map]\n{rule}", file=f"[source.map]\n{rule}")

    report = records.run()

    assert (report.outcome, report.held) == (Outcome.HELD, 1)
    assert f'map.{records.member} changed from "' in report.reason
    assert records.contact(1)[records.column] is None


@pytest.mark.parametrize(("kind", "narrowing"), [(UserRecords, ByFilter), (QueueRecords, ByPath)])
def test_later_removals_are_held_until_a_change_of_scope_is_approved(
    env: Environment, kind: type[Records], narrowing: type[NarrowerScope]
) -> None:
    """They cannot be told apart until then; one approval releases all and accepts the new scope."""
    configure_guard(env)
    records = kind(env)
    records.load(range(20))
    change = narrowing(records)
    env.configure(**change.narrow_settings())
    assert records.run().held == 3
    if narrowing is ByPath:  # the other file is not the one that `remove` writes
        text = (env.folder / "other.toml").read_text().split("\n\n")
        (env.folder / "other.toml").write_text("\n\n".join(text[1:]))
    else:
        records.remove(3)

    report = records.run()
    assert records.held_names() == records.names(range(4))
    records.approve(report.run)
    released = records.run()

    assert (released.outcome, released.counts.removed, released.held) == (Outcome.COMPLETED, 4, 0)
    after = records.run()
    assert (after.outcome, after.reason) == (Outcome.COMPLETED, "")


@pytest.mark.parametrize(("kind", "narrowing"), [(UserRecords, ByFilter), (QueueRecords, ByPath)])
def test_a_change_of_scope_without_removals_is_accepted(
    env: Environment, kind: type[Records], narrowing: type[NarrowerScope]
) -> None:
    """It excludes no contact, so the next removal is an ordinary one."""
    configure_guard(env)
    records = kind(env)
    records.load(range(3, 20))
    settings = narrowing(records).narrow_settings()
    if kind is QueueRecords:
        (env.folder / "other.toml").write_text((env.folder / "queues.toml").read_text())
    env.configure(**settings)
    first = records.run()
    records.remove(3)
    if kind is QueueRecords:
        (env.folder / "other.toml").write_text((env.folder / "queues.toml").read_text())

    report = records.run()

    assert (first.outcome, first.reason) == (Outcome.COMPLETED, "")
    assert (report.outcome, report.counts.removed) == (Outcome.COMPLETED, 1)
