"""What a machine needs before our code can run: the system's packages and a virtual environment in the checkout.

What belongs here runs on a bare Python without any library, and on one that is too old for the rest of us. Nothing is
installed that is there already, and nothing without a line that says so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

OLDEST, TOO_NEW = (3, 11), (3, 14)

_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")

_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES = "#!/bin/sh\n# made by syncd while it installs packages: start no service of theirs\nexit 101\n"


class NotReady(Exception):
    """The machine lacks something that we may not or could not install; the sentence has the next step."""


def prepare(extra: str, packages: Mapping[str, str]) -> Path:
    """The Python of an environment with syncd and these extras; `packages` are Debian's, each with its program."""
    _check_python()
    wanted = [package for package, program in packages.items() if not _has(program)]
    in_checkout = (CHECKOUT / "pyproject.toml").exists()
    if in_checkout and not _environment().exists() and importlib.util.find_spec("ensurepip") is None:
        wanted.append(f"python3.{sys.version_info.minor}-venv")
    if wanted:
        _install_packages(wanted)
    if not in_checkout:  # syncd was installed as a package, and what it needs with it
        return Path(sys.executable)
    _install_ourselves(extra)
    return _environment()


def _check_python() -> None:
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        raise NotReady(
            f"syncd needs Python 3.11, 3.12 or 3.13; {sys.executable} is {sys.version.split()[0]}. "
            "Install one of these and run this command with it, for example: python3.11 -m syncd.demo"
        )


def _has(program: str) -> bool:
    """True when a program is in PATH, in the folders of system programs or where Debian keeps PostgreSQL's."""
    folders = [*os.environ.get("PATH", "").split(":"), *_SYSTEM_FOLDERS]
    folders += [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    return shutil.which(program, path=":".join(folders)) is not None


def _install_packages(packages: Sequence[str]) -> None:
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise NotReady(f"Please install with your system's package manager what Debian calls: {', '.join(packages)}.")
    if os.geteuid() != 0:
        raise NotReady(f"Please ask an administrator of this machine to run:\n\n    {command}\n\nthen try again.")
    for package in packages:
        _say(f"installing the Debian package {package}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_services():
        for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-q", *words], env=quiet, check=False, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            if done.returncode:
                raise NotReady(f"{done.stdout}\napt-get {words[0]} failed, see above. Mend that, then run: {command}")


@contextmanager
def _no_services() -> Iterator[None]:
    """While this lasts, packages do not start their services: our servers are private ones."""
    saved = _POLICY.with_name("policy-rc.d.saved-by-syncd")
    if _POLICY.exists() and _POLICY.read_text(errors="replace") != _NO_SERVICES:
        _POLICY.rename(saved)
    _POLICY.write_text(_NO_SERVICES)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
        if saved.exists():
            saved.rename(_POLICY)


def _environment() -> Path:
    return CHECKOUT / ".venv" / "bin" / "python"


def _install_ourselves(extra: str) -> None:
    """Make the environment if there is none, and install into it unless that was done for these very requirements."""
    python = _environment()
    if not python.exists():
        _say(f"making a Python environment in {CHECKOUT / '.venv'}")
        _run([sys.executable, "-m", "venv", str(CHECKOUT / ".venv")], "Remove the folder .venv and try again.")
    marks = {name: CHECKOUT / ".venv" / f"installed-{name}" for name in extra.split(",")}
    state = hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes() + bytes(CHECKOUT)).hexdigest()
    if all(mark.exists() and mark.read_text() == state for mark in marks.values()):
        return
    _say("installing syncd and the libraries it needs into .venv; the first time takes a minute or two")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    _run([*pip, "--editable", f"{CHECKOUT}[{extra}]"], "Check the network and pip's settings, then try again.")
    for mark in marks.values():
        mark.write_text(state)


def _run(command: Sequence[str], next_step: str) -> None:
    if subprocess.run(command, cwd=CHECKOUT, check=False).returncode:
        raise NotReady(f"This failed, see above: {' '.join(command)}\n{next_step}")


def _say(sentence: str) -> None:
    print(f"syncd: {sentence}", file=sys.stderr, flush=True)
