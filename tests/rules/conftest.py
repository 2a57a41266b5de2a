"""A warm sandbox for the whole folder, and a service on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.rules.installation import RULES, WORKFLOWS, Install, Installation
from tests.rules.policies import approval
from toolkit.rules import RuleService, Sandbox
from toolkit.storage import Database
from toolkit.workflows import Engine


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


@pytest.fixture
async def install(database_url: str) -> AsyncIterator[Install]:
    """Installations on one database, one after the other: a new one ends the one before."""
    stack = AsyncExitStack()

    async def start() -> Installation:
        await stack.aclose()
        database = Database(database_url)
        await database.open()
        stack.push_async_callback(database.close)
        rules = RuleService(database, RULES, refresh_seconds=3600)
        await rules.open()
        stack.push_async_callback(rules.close)
        engine = Engine(database, workflows=WORKFLOWS)
        engine.resources[RuleService] = rules
        await engine.open()
        stack.push_async_callback(engine.close)
        return Installation(engine, rules)

    yield start
    await stack.aclose()
