"""Making a machine ready: only what is missing, only what we may, and never silently."""

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.demo import bootstrap
from syncd.demo.bootstrap import CHECKOUT, NotReady

FIRST = [CHECKOUT / "syncd" / "demo" / name for name in ("__init__.py", "__main__.py", "bootstrap.py")]
FIRST += [CHECKOUT / "syncd" / "__init__.py", CHECKOUT / "tests" / "__main__.py"]


def test_the_first_commands_need_no_library() -> None:
    """A fresh checkout on a bare Python has nothing but the standard library."""
    code = "import syncd.demo.bootstrap, syncd.demo.__main__, tests.__main__"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert done.stderr == ""


@pytest.mark.parametrize("path", FIRST, ids=lambda path: path.parent.name + "/" + path.name)
def test_the_first_commands_can_be_read_by_an_old_python(path: Path) -> None:
    """So that an old one is told what it lacks, and not that there is a syntax error."""
    ast.parse(path.read_text("utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 14, 0)])
def test_another_python_is_refused(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]) -> None:
    """In a sentence that says which ones do."""
    monkeypatch.setattr(bootstrap.sys, "version_info", version)
    with pytest.raises(NotReady, match=r"needs Python 3\.11, 3\.12 or 3\.13"):
        bootstrap.prepare("demo", {})


def test_a_user_is_told_what_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The very command, with what is missing and nothing else; nothing is run."""
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(bootstrap.shutil, "which", only("apt-get", "sh"))
    monkeypatch.setattr(bootstrap, "subprocess", None)
    with pytest.raises(NotReady, match=r"apt-get install --no-install-recommends slapd one-more\n"):
        bootstrap.prepare("demo", {"slapd": "slapd", "dash": "sh", "one-more": "more"})


def test_a_system_without_apt_is_told_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """By Debian's names, which are easily found elsewhere."""
    monkeypatch.setattr(bootstrap.shutil, "which", only())
    with pytest.raises(NotReady, match="package manager what Debian calls: slapd"):
        bootstrap.prepare("demo", {"slapd": "slapd"})


def only(*programs: str) -> object:
    return lambda program, path=None: f"/bin/{program}" if program in programs else None


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 104\n"])
def test_packages_start_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    """While we install, and only then: the machine's own policy comes back, also after a failure."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(bootstrap, "_POLICY", policy)
    if before:
        policy.write_text(before)
    seen = []

    def apt_get(command: list[str], **_: object) -> SimpleNamespace:
        seen.append((command[2], subprocess.call([policy, "slapd", "start"])))
        return SimpleNamespace(returncode=int(command[2] == "install"), stdout="no such package")

    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 0)
    monkeypatch.setattr(bootstrap.shutil, "which", only("apt-get"))
    monkeypatch.setattr(bootstrap, "subprocess", SimpleNamespace(run=apt_get, PIPE=-1, STDOUT=-2, DEVNULL=-3))
    with pytest.raises(NotReady, match=r"no such package\napt-get install failed"):
        bootstrap.prepare("demo", {"slapd": "slapd"})

    assert seen == [("update", 101), ("install", 101)]
    assert [path.name for path in tmp_path.iterdir()] == (["policy-rc.d"] if before else [])
    assert before is None or policy.read_text() == before


def test_an_environment_is_installed_into_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again only when the requirements change; what the tests needed includes what the demonstration needs."""
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


def test_an_installation_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And tried again the next time."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/false")
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)
    for _ in range(2):
        with pytest.raises(NotReady, match="Check the network and pip's settings"):
            bootstrap.prepare("demo", {})


def test_outside_a_checkout_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who installed syncd as a package has its Python already."""
    monkeypatch.setattr(bootstrap, "CHECKOUT", tmp_path)

    assert bootstrap.prepare("demo", {}) == Path(sys.executable)
    assert list(tmp_path.iterdir()) == []
