"""Preparation of a checkout: the Debian packages and the virtual environment that its commands need.

This module runs on a bare Python without any library, and on versions that are too old for the rest of syncd. It
installs only missing parts and prints a line for each. Outside a checkout it refuses to install anything.
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

MIN_PYTHON, PYTHON_LIMIT = (3, 11), (3, 14)
"""The first supported version and the first one that is not supported any more."""

_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")

_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES = "#!/bin/sh\n# made by syncd while it installs packages: start no service of theirs\nexit 101\n"


class BootstrapError(Exception):
    """A missing part may not or could not be installed; the message has the next step."""


def exec_command(command: str) -> None:
    """Prepare the checkout, then replace this process by `syncd COMMAND` with the same arguments.

    Raises: SystemExit with the message of a BootstrapError.
    """
    try:
        python = prepare("demo", {"slapd": "slapd"})
    except BootstrapError as error:
        sys.exit(str(error))
    os.execv(python, [str(python), "-m", "syncd", command, *sys.argv[1:]])  # noqa: S606 - no shell is needed


def prepare(extra: str, packages: Mapping[str, str]) -> Path:
    """Install missing packages and syncd with these extras; return the Python of the virtual environment.

    `extra` is a comma-separated list; `packages` is Debian package -> a program that it contains.

    Raises: BootstrapError outside a checkout, for an unsupported Python, without the rights to install, or when an
    installation fails.
    """
    _check_checkout()
    _check_python()
    missing = [package for package, program in packages.items() if not _has_program(program)]
    environment = CHECKOUT / ".venv"
    if not environment.exists() and importlib.util.find_spec("ensurepip") is None:
        missing.append(f"python3.{sys.version_info.minor}-venv")
    if missing:
        _install_packages(missing)
    return create_environment(environment, extra)


def _check_checkout() -> None:
    if not (CHECKOUT / "pyproject.toml").exists():
        raise BootstrapError(
            f"{CHECKOUT} is not a checkout of syncd, so nothing is installed. "
            "Run this command in a checkout: python3 -m syncd.demo"
        )


def _check_python() -> None:
    if not MIN_PYTHON <= sys.version_info[:2] < PYTHON_LIMIT:
        raise BootstrapError(
            f"syncd needs Python 3.11, 3.12 or 3.13; {sys.executable} is {sys.version.split()[0]}. "
            "Install one of these and run this command with it, for example: python3.11 -m syncd.demo"
        )


def _has_program(name: str) -> bool:
    """Whether a program is in PATH, in the folders of system programs or in Debian's folder of PostgreSQL."""
    folders = [*os.environ.get("PATH", "").split(":"), *_SYSTEM_FOLDERS]
    folders += [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
    return shutil.which(name, path=":".join(folders)) is not None


def _install_packages(packages: Sequence[str]) -> None:
    command = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        names = ", ".join(packages)
        raise BootstrapError(f"Please install these Debian packages with your system's package manager: {names}.")
    if os.geteuid() != 0:
        raise BootstrapError(f"Please ask an administrator of this machine to run:\n\n    {command}\n\nthen try again.")
    for package in packages:
        _print_progress(f"installing the Debian package {package}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _prevent_service_starts():
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            result = subprocess.run(
                ["apt-get", "-q", *arguments], env=environment, check=False, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            if result.returncode:
                raise BootstrapError(
                    f"{result.stdout}\napt-get {arguments[0]} failed, see above. Fix the cause, then run: {command}"
                )


@contextmanager
def _prevent_service_starts() -> Iterator[None]:
    """Prevent that packages start their services (policy-rc.d): the demonstration and the tests use private servers."""
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


def create_environment(folder: Path, extra: str, constraints: Sequence[str] = ()) -> Path:
    """Install syncd with these extras into a virtual environment, unless that was done for the same pyproject.toml.

    `extra` is a comma-separated list, `constraints` are requirements such as `click==8.1`. Return the Python of the
    environment.

    Raises: BootstrapError when the environment cannot be created or the installation fails.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        _print_progress(f"making a Python environment in {folder}")
        _run([sys.executable, "-m", "venv", str(folder)], f"Remove the folder {folder} and try again.")
    markers = {name: folder / f"installed-{name}" for name in extra.split(",")}
    content = (CHECKOUT / "pyproject.toml").read_bytes() + bytes(CHECKOUT) + " ".join(constraints).encode()
    digest = hashlib.sha256(content).hexdigest()
    if all(marker.exists() and marker.read_text() == digest for marker in markers.values()):
        return python
    _print_progress(f"installing syncd and its libraries into {folder}; the first time takes a minute or two")
    constraints_file = folder / "constraints.txt"
    constraints_file.write_text("\n".join(constraints))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    pip += ["--constraint", str(constraints_file), "--editable", f"{CHECKOUT}[{extra}]"]
    _run(pip, "Check the network and pip's settings, then try again.")
    for marker in markers.values():
        marker.write_text(digest)
    return python


def _run(command: Sequence[str], next_step: str) -> None:
    if subprocess.run(command, cwd=CHECKOUT, check=False).returncode:
        raise BootstrapError(f"This command failed, see above: {' '.join(command)}\n{next_step}")


def _print_progress(sentence: str) -> None:
    print(f"syncd: {sentence}", file=sys.stderr, flush=True)
