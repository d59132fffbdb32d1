"""Fixtures of the integration tests."""

import pytest

from tests.environment import Environment
from tests.records import QueueRecords, Records, UserRecords, configure_guard


@pytest.fixture(params=["ldap", "file"])
def records(request: pytest.FixtureRequest, env: Environment) -> Records:
    """Records of each kind of source, without grace and without limits."""
    configure_guard(env)
    return UserRecords(env) if request.param == "ldap" else QueueRecords(env)


@pytest.fixture
def users(env: Environment) -> UserRecords:
    """Records of LDAP only, without grace and without limits."""
    configure_guard(env)
    return UserRecords(env)
