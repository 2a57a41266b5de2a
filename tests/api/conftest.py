"""A small installation with its API, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.api.installation import WORKFLOWS, Caller, Installation, approve_payment, key_sets, limit, reader
from tests.workflows.conftest import until
from toolkit.access import ApiKey, ApiKeyAuthenticator, DevelopmentAuthenticator, new_api_key
from toolkit.agents import AgentService, ModelRegistry
from toolkit.api import Services
from toolkit.files import FileLimits, FileStorages, FileStore
from toolkit.human import TaskService, close_tasks
from toolkit.rules import RULE_WORKFLOWS, RuleService
from toolkit.storage import Database
from toolkit.workflows import Engine


@pytest.fixture
async def installation(database: Database, tmp_path: Path) -> AsyncIterator[Installation]:
    """Everything open, with a worker; whoever calls is believed."""
    rules = RuleService(database, [limit])
    engine = Engine(database, workflows=(*WORKFLOWS, *RULE_WORKFLOWS))
    models = ModelRegistry({"small": {"model": "gpt-5-mini", "api_key": "sk-test"}})
    agents = AgentService(database, [reader], models=models)
    engine.resources[AgentService], engine.resources[ModelRegistry] = agents, models
    engine.closers["human"] = close_tasks
    engine.resources[RuleService] = rules
    storages = FileStorages.from_configuration(
        {"default": f"file://{tmp_path / 'files'}"}, base_folder=tmp_path, key="file_storage"
    )
    services = Services(
        engine=engine,
        files=FileStore(database, storages, limits=FileLimits(max_bytes=2_000_000)),
        rules=rules,
        agents=agents,
        tasks=TaskService(database=database, humans={approve_payment.name: approve_payment}, engine=engine),
        database=database,
        authenticator=DevelopmentAuthenticator(),
        upload_bytes=2_000_000,
    )
    await rules.open()
    engine.resources[FileStore] = services.files
    await engine.open()
    await until(lambda: engine.is_healthy)
    yield Installation(services)
    await engine.close()
    await rules.close()


@pytest.fixture
def call(installation: Installation) -> Caller:
    """Somebody who calls the API as Ada."""
    return installation.caller()


@pytest.fixture
def guarded(installation: Installation) -> Caller:
    """Somebody who calls the API without a credential, and may take an API key with any one permission."""
    made = {permissions: new_api_key() for permissions in key_sets()}
    keys = [
        ApiKey(name=f"key-{at}", hash=key.hash, permissions=frozenset(permissions))
        for at, (permissions, key) in enumerate(made.items())
    ]
    services = replace(installation.services, authenticator=ApiKeyAuthenticator(keys))
    return Caller(Installation(services).app, keys={permissions: key.text for permissions, key in made.items()})
