"""Plan files: read back exactly as written, or refused with a sentence that tells what is wrong."""

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
    "corp", Outcome.HELD, "3 of 5 would leave", counts=Counts(population=5, added=1), held=1,
    scope={"filter": "(a=b)"}, evidence=Evidence("ldap://h", pages=2, entries=4, result_codes={0: 2}),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A plan of one source, written."""
    path = tmp_path / "plan.json"
    planfile.write(path, PlanFile([SourcePlan.of(REPORT, CHANGES)]))
    return path


def test_a_plan_comes_back_as_it_was_written(path: Path) -> None:
    """Source, outcome, reason, facts and every change."""
    found = planfile.read(path)

    assert (found.job, found.undone) == ("sync", None)
    assert list(found.plans[0].changes) == CHANGES
    assert (found.plans[0].source, found.plans[0].outcome, found.plans[0].applicable) == ("corp", "held", True)
    assert found.plans[0].facts["counts"]["population"] == 5
    assert found.plans[0].facts["scope"] == {"filter": "(a=b)"}
    assert found.plans[0].facts["evidence"]["resultCodes"] == {"0": 2}


def test_a_plan_of_an_undo_names_its_run(tmp_path: Path) -> None:
    """What is taken back is part of the file."""
    path = tmp_path / "undo.json"
    planfile.write(path, PlanFile([SourcePlan.of(REPORT, CHANGES)], "undo", 7))

    found = planfile.read(path)

    assert (found.job, found.undone) == ("undo", 7)


def test_only_its_owner_can_read_it(path: Path) -> None:
    """It holds names and numbers; also where an open file was there before, and nothing is left beside it."""
    path.chmod(0o644)
    planfile.write(path, PlanFile([]))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["plan.json"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the path and the system's reason."""
    with pytest.raises(SyncdError, match=r"plan\.json: cannot be written: No such file"):
        planfile.write(tmp_path / "none" / "plan.json", PlanFile([]))


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> str:
    """The sentence that refuses a file after this edit."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(PlanUnusable) as refused:
        planfile.read(path)
    return str(refused.value).removeprefix(f"{path}: ")


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
def test_what_is_not_as_it_was_written_is_refused(
    path: Path, edit: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    """Each part that an edit, a copy or another version may break."""
    assert edited(path, edit).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no plan file: it is not JSON"),
        (b"\xff", "is no plan file: it is not JSON"),
        (b'{"format": "syncd plan", "ver', "is no plan file: it is not JSON"),
        (b"[]", "is no plan file;"),
    ],
)
def test_what_is_no_plan_file_is_refused(path: Path, content: bytes, sentence: str) -> None:
    """Nothing, bytes, other JSON, a file that was cut."""
    path.write_bytes(content)

    with pytest.raises(PlanUnusable, match=f"plan\\.json: {sentence}"):
        planfile.read(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With the system's reason."""
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
def test_the_way_through_a_file_changes_no_fingerprint(changes: list[Change]) -> None:
    """What is compared with a run is what was planned, whatever people are called."""
    document = json.loads(json.dumps(SourcePlan.of(REPORT, changes).document(), ensure_ascii=False))

    assert fingerprint(Change(**one) for one in document["changes"]) == document["hash"] == fingerprint(changes)
