"""The change log and the evidence that runs record."""

from tests.records import HOUR, Records, configure_guard


def test_the_change_log_has_each_change_once(records: Records) -> None:
    """Old and new values of what differs, as many as the run counts, with rising revisions; none for an idle run."""
    configure_guard(records.env, lifecycle='grace = "1h"\ngrace_runs = 1\n')
    records.load(range(10))
    records.remove(0)
    records.change(1, 2, to="new")
    records.add(20)
    second = records.run()
    idle = records.run()
    records.shift_history(2 * HOUR)
    records.change(1, to="newer")
    third = records.run()
    records.add(0)
    fourth = records.run()

    for report in (second, third, fourth):
        kinds = [row["kind"] for row in records.changes_of(report.run)]
        counts = report.counts
        assert (kinds.count("add") + kinds.count("return"), kinds.count("change")) == (counts.added, counts.changed)
        assert (kinds.count("miss"), kinds.count("remove")) == (counts.missing, counts.removed)
        assert len({row["contact_id"] for row in records.changes_of(report.run)}) == len(kinds)
        assert {row["revision"] for row in records.changes_of(report.run)} == {report.revision}
    assert (records.changes_of(idle.run), idle.revision) == ([], None)
    everything = records.env.fetch_rows("SELECT * FROM change ORDER BY id")
    assert [row["revision"] for row in everything] == sorted(row["revision"] for row in everything)
    assert all(row["caller"] is None for row in everything)

    changed = {row["source_key"]: row for row in records.changes_of(second.run) if row["kind"] == "change"}
    assert set(changed) == {records.key(1), records.key(2)}
    assert (changed[records.key(1)]["old"], changed[records.key(1)]["new"]) == ({}, {records.member: "new"})
    (line,) = [row for row in records.changes_of(third.run) if row["kind"] == "change"]
    assert (line["old"], line["new"]) == ({records.member: "new"}, {records.member: "newer"})
    (added,) = [row for row in records.changes_of(second.run) if row["kind"] == "add"]
    assert (added["old"], added["new"]["name"]) == ({}, records.name(20))
    for kind, report in (("miss", second), ("remove", third)):
        (line,) = [row for row in records.changes_of(report.run) if row["kind"] == kind]
        assert (line["old"]["name"], line["new"]) == (records.name(0), {})
    (back,) = records.changes_of(fourth.run)
    assert (back["kind"], back["old"]["name"], back["new"]["name"]) == ("return", records.name(0), records.name(0))


def test_every_run_records_its_evidence(records: Records) -> None:
    """Server, identity, key, scope and shortfalls, of complete and of incomplete runs."""
    records.load(range(3))
    configure_guard(records.env, **records.unreachable_settings())
    records.run()

    good, bad = records.env.fetch_rows("SELECT * FROM run WHERE source = %s ORDER BY id", records.source)

    assert (good["complete"], good["settled"], good["evidence"]["complete"]) == (True, True, True)
    assert good["evidence"]["entries"] == 3
    assert good["evidence"]["scope"]["key"] == good["evidence"]["keyAttribute"]
    assert good["scope"] is not None
    assert (bad["complete"], bad["settled"], bad["evidence"]["complete"]) == (False, False, False)
    assert bad["evidence"]["shortfalls"]
