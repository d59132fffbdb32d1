"""Lowest allowed versions of the dependencies, as constraints for pip (`name==version` lines)."""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*])?>=(?P<version>[0-9.]+),<[0-9.]+")


def read_constraints() -> list[str]:
    """Return one constraint for each runtime dependency. Raises ValueError for one without a range."""
    requirements = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["dependencies"]
    return [_to_constraint(requirement) for requirement in requirements]


def _to_constraint(requirement: str) -> str:
    match = _REQUIREMENT.fullmatch(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} in pyproject.toml has no range such as >=1.2,<2")
    return f"{match['name']}=={match['version']}"
