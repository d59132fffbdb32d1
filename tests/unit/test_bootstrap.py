"""Bootstrap of a checkout: it installs only missing parts, only with the necessary rights, and refuses elsewhere."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.demo import bootstrap
from syncd.demo.bootstrap import CHECKOUT, BootstrapError

FIRST_MODULES = [
    CHECKOUT / name
    for name in (
        "syncd/__init__.py", "syncd/demo/__init__.py", "syncd/demo/__main__.py", "syncd/demo/bootstrap.py",
        "syncd/drill/__init__.py", "syncd/drill/__main__.py", "tests/__main__.py",
    )
]  # fmt: skip
"""Modules that run before any library is installed."""


def test_first_modules_need_no_library() -> None:
    """A fresh checkout on a bare Python has nothing but the standard library."""
    code = "import syncd.demo.bootstrap, syncd.demo.__main__, syncd.drill.__main__, tests.__main__"
    command = [sys.executable, "-S", "-c", code]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert result.stderr == ""


@pytest.mark.parametrize("path", FIRST_MODULES, ids=lambda path: path.parent.name + "/" + path.name)
def test_first_modules_have_the_syntax_of_an_old_python(path: Path) -> None:
    """An old Python shows which version is needed, and no syntax error."""
    ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_unsupported_python_is_rejected(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]) -> None:
    """The message names the supported versions."""
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(BootstrapError, match=r"needs Python 3\.11, 3\.12 or 3\.13"):
        bootstrap.prepare("demo", {})


def test_missing_packages_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the exact command with the missing packages only; nothing is run."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", which_only("apt-get", "sh"))
    monkeypatch.setattr(bootstrap, "subprocess", None)
    with pytest.raises(BootstrapError, match=r"apt-get install --no-install-recommends slapd one-more\n"):
        bootstrap.prepare("demo", {"slapd": "slapd", "dash": "sh", "one-more": "more"})


def test_missing_packages_without_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has Debian's package names."""
    monkeypatch.setattr(shutil, "which", which_only())
    with pytest.raises(BootstrapError, match="Debian packages with your system's package manager: slapd"):
        bootstrap.prepare("demo", {"slapd": "slapd"})


def which_only(*programs: str) -> Callable[..., str | None]:
    return lambda program, path=None: f"/bin/{program}" if program in programs else None


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 104\n"])
def test_packages_start_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    """Only during the installation: the policy of the machine is restored, also after a failure."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(bootstrap, "_POLICY", policy)
    if before:
        policy.write_text(before)
    calls = []

    def apt_get(command: list[str], **_: object) -> SimpleNamespace:
        calls.append((command[2], subprocess.call([policy, "slapd", "start"])))
        return SimpleNamespace(returncode=int(command[2] == "install"), stdout="no such package")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", which_only("apt-get"))
    monkeypatch.setattr(bootstrap, "subprocess", SimpleNamespace(run=apt_get, PIPE=-1, STDOUT=-2, DEVNULL=-3))
    with pytest.raises(BootstrapError, match=r"no such package\napt-get install failed"):
        bootstrap.prepare("demo", {"slapd": "slapd"})

    assert calls == [("update", 101), ("install", 101)]
    assert [path.name for path in tmp_path.iterdir()] == (["policy-rc.d"] if before else [])
    assert before is None or policy.read_text() == before


def test_syncd_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed again only after a change of pyproject.toml; the extras of the tests include `demo`."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >> "$0.log"\n')
    python.chmod(0o755)
    requirements = tmp_path / "pyproject.toml"
    requirements.write_text("one")
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)

    def installed(extra: str) -> list[str]:
        log = python.with_name("python.log")
        log.unlink(missing_ok=True)
        assert bootstrap.prepare(extra, {}) == python
        return [line.rpartition(" ")[2] for line in log.read_text().splitlines()] if log.exists() else []

    assert installed("demo") == [f"{tmp_path}[demo]"]
    assert installed("demo") == []
    assert installed("demo,test") == [f"{tmp_path}[demo,test]"]
    assert installed("demo") == []
    requirements.write_text("two")
    assert installed("demo") == [f"{tmp_path}[demo]"]
    assert installed("demo,test") == [f"{tmp_path}[demo,test]"]


def test_failed_installation_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error each time."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/false")
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    for _ in range(2):
        with pytest.raises(BootstrapError, match="Check the network and pip's settings"):
            bootstrap.prepare("demo", {})


def test_bootstrap_refuses_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed, although root could and a package is missing; the message says where to run the command."""
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", which_only("apt-get"))
    monkeypatch.setattr(bootstrap, "subprocess", None)

    with pytest.raises(BootstrapError, match=r"is not a checkout of syncd.*python3 -m syncd\.demo"):
        bootstrap.prepare("demo", {"slapd": "slapd"})

    assert list(tmp_path.iterdir()) == []
