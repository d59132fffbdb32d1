"""Fingerprint of a source: every module that determines a stored row changes it."""

import shutil
from pathlib import Path

import pytest

import syncd
from syncd.app.fingerprint import COVERED, code_fingerprint

PACKAGE = Path(syncd.__file__).parent


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a copy of the package that a test may change."""
    copy = tmp_path_factory.mktemp("package") / "syncd"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def covered_modules() -> list[str]:
    """Return the path of every covered module, found by walking the tree and not by the code under test."""
    modules = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(path == PACKAGE / name or PACKAGE / name in path.parents for name in COVERED)
    ]
    assert len(modules) > 30
    return sorted(modules)


@pytest.mark.parametrize("module", covered_modules())
def test_a_changed_byte_in_a_covered_module_changes_the_fingerprint(package: Path, module: str) -> None:
    """One changed byte in a covered module, at any depth, gives another fingerprint."""
    path = package / module
    original = path.read_bytes()
    before = code_fingerprint(package)
    path.write_bytes(original + b"\n")
    try:
        assert code_fingerprint(package) != before
    finally:
        path.write_bytes(original)
    assert code_fingerprint(package) == before


def test_a_moved_module_changes_the_fingerprint(package: Path) -> None:
    """The same bytes under another name give another fingerprint."""
    before = code_fingerprint(package)
    path = next((package / "sources").rglob("*.py"))
    moved = path.with_name("moved.py")
    path.rename(moved)
    try:
        assert code_fingerprint(package) != before
    finally:
        moved.rename(path)


def test_files_that_are_not_code_do_not_count(package: Path) -> None:
    """Byte code and other files leave the fingerprint as it is."""
    before = code_fingerprint(package)
    (package / "core" / "notes.txt").write_text("not code")
    try:
        assert code_fingerprint(package) == before
    finally:
        (package / "core" / "notes.txt").unlink()
