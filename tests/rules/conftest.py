"""A warm sandbox for the whole folder, and a service on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.rules.policies import approval
from toolkit.rules import RuleService, Sandbox
from toolkit.storage import Database


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that is patient: the machine that runs the tests may be busy."""
    sandbox = Sandbox(silence_seconds=10, trial_seconds=30)
    yield sandbox
    sandbox.close()


@pytest.fixture
async def service(database: Database) -> AsyncIterator[RuleService]:
    """A service with the rule ``approval``; it refreshes when it is told to."""
    service = RuleService(database, [approval], refresh_seconds=3600)
    await service.open()
    yield service
    await service.close()
