"""Plan files: read back exactly as written, or rejected with the reason."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.app import planfile
from syncd.app.planfile import PlanFile, SourcePlan
from syncd.core.sync.plan import Change, Counts, Outcome, Report, fingerprint
from syncd.core.sync.record import Evidence
from syncd.errors import PlanUnusable, SyncdError

CHANGES = [
    Change("add", "1" * 32, "k1", {}, {"name": "Zoë", "phoneNumbers": [{"phoneNumber": "1", "description": "mobile"}]}),
    Change("remove", "2" * 32, "k2", {"name": "Bob"}, {}, "3 of 5 would leave", "out of scope"),
]
REPORT = Report(
    "sync", "corp", Outcome.HELD, "3 of 5 would leave", counts=Counts(population=5, added=1), held=1,
    scope={"filter": "(a=b)"}, evidence=Evidence("ldap://h", pages=2, entries=4, result_codes={0: 2}),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Provide a plan file with one source."""
    path = tmp_path / "plan.json"
    planfile.write(path, PlanFile([SourcePlan.from_report(REPORT, CHANGES)]))
    return path


def test_a_plan_is_read_as_it_was_written(path: Path) -> None:
    """Source, outcome, reason, facts and every change."""
    plan = planfile.read(path)

    assert (plan.job, plan.undone) == ("sync", None)
    assert list(plan.plans[0].changes) == CHANGES
    assert (plan.plans[0].source, plan.plans[0].outcome, plan.plans[0].is_applicable) == ("corp", "held", True)
    assert plan.plans[0].details["counts"]["population"] == 5
    assert plan.plans[0].details["scope"] == {"filter": "(a=b)"}
    assert plan.plans[0].details["evidence"]["resultCodes"] == {"0": 2}


def test_a_plan_of_an_undo_names_its_run(tmp_path: Path) -> None:
    """The number of the reversed run is part of the file."""
    path = tmp_path / "undo.json"
    planfile.write(path, PlanFile([SourcePlan.from_report(REPORT, CHANGES)], "undo", 7))

    plan = planfile.read(path)

    assert (plan.job, plan.undone) == ("undo", 7)


def test_only_the_owner_can_read_it(path: Path) -> None:
    """Also when it replaces a readable file, and no temporary file is left."""
    path.chmod(0o644)
    planfile.write(path, PlanFile([]))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["plan.json"]


def test_an_unwritable_path_is_an_error(tmp_path: Path) -> None:
    """The message has the path and the reason of the system."""
    with pytest.raises(SyncdError, match=r"plan\.json: cannot be written: No such file"):
        planfile.write(tmp_path / "none" / "plan.json", PlanFile([]))


def read_edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> str:
    """Edit the file, and return the error of reading it without the path."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(PlanUnusable) as rejected:
        planfile.read(path)
    return str(rejected.value).removeprefix(f"{path}: ")


def first(document: dict[str, Any]) -> Any:
    return document["plans"][0]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda d: d.clear(), "is no plan file; `syncd plan --out FILE` writes one"),
        (lambda d: d.update(format="other"), "is no plan file;"),
        (lambda d: d.update(version=2), "is a plan file of version 2, this syncd reads 1; plan again"),
        (lambda d: d.pop("plans"), "is damaged: 'plans'"),
        (lambda d: d.update(plans=5), "is damaged: 'int' object"),
        (lambda d: d.update(job="purging"), "is damaged: 'purging' is none of sync, undo, purge"),
        (lambda d: d.update(job="undo"), "is damaged: a plan of the kind undo with undone = None"),
        (lambda d: d.update(undone=5), "is damaged: a plan of the kind sync with undone = 5"),
        (lambda d: first(d).pop("hash"), "is damaged: 'hash'"),
        (lambda d: first(d).update(outcome="great"), "is damaged: 'great' is not a valid Outcome"),
        (lambda d: first(d)["changes"].pop(), "is damaged: the changes of corp are not those that its hash was made"),
        (lambda d: first(d)["changes"][0]["new"].update(name="Eve"), "is damaged: the changes of corp are not those"),
        (lambda d: first(d)["changes"][1].update(held=""), "is damaged: the changes of corp are not those"),
        (lambda d: first(d)["changes"][0].update(kind="rename"), "is damaged: 'rename' is none of add, change, return"),
        (lambda d: first(d)["changes"][0].update(more=1), "is damaged: "),
        (lambda d: first(d).update(changes=["x"]), "is damaged: "),
    ],
)
def test_an_edited_file_is_rejected(path: Path, edit: Callable[[dict[str, Any]], object], sentence: str) -> None:
    """Every part that an edit, a copy or another version may damage is checked."""
    assert read_edited(path, edit).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no plan file: it is not JSON"),
        (b"\xff", "is no plan file: it is not JSON"),
        (b'{"format": "syncd plan", "ver', "is no plan file: it is not JSON"),
        (b"[]", "is no plan file;"),
    ],
)
def test_another_file_is_rejected(path: Path, content: bytes, sentence: str) -> None:
    """An empty file, bytes, other JSON, and a truncated file are rejected."""
    path.write_bytes(content)

    with pytest.raises(PlanUnusable, match=f"plan\\.json: {sentence}"):
        planfile.read(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """The message has the reason of the system."""
    with pytest.raises(PlanUnusable, match=r"none\.json: cannot be read: No such file"):
        planfile.read(tmp_path / "none.json")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SIDES = st.dictionaries(TEXT, TEXT | st.lists(st.dictionaries(TEXT, TEXT, max_size=2), max_size=2), max_size=3)
ANY_CHANGE = st.builds(
    Change,
    st.sampled_from(["add", "change", "return", "miss", "remove", "purge"]),
    TEXT,
    TEXT,
    SIDES,
    SIDES,
    TEXT,
    TEXT,
)


@given(st.lists(ANY_CHANGE, max_size=5))
def test_a_file_preserves_the_fingerprint(changes: list[Change]) -> None:
    """The hash is the same before and after, for any text."""
    document = json.loads(json.dumps(SourcePlan.from_report(REPORT, changes).to_json(), ensure_ascii=False))

    assert fingerprint(Change(**item) for item in document["changes"]) == document["hash"] == fingerprint(changes)
