from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import respx

from tests.agents import openai_http
from tests.agents.runs import Runs
from toolkit.agents import ModelRegistry
from toolkit.files import FileStorages, FileStore, using
from toolkit.storage import Database


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves the machine: a request that no mock answers fails loudly instead of reaching a provider."""
    connect, lookup = socket.socket.connect, socket.getaddrinfo
    here = ("127.0.0.1", "::1", "localhost", None)

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in here:
            raise AssertionError(f"a test tried to reach {address!r}")
        connect(self, address)

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in here:
            raise AssertionError(f"a test tried to look up {host!r}")
        return lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture
def openai() -> Iterator[respx.MockRouter]:
    """A router for https://models.test/v1 that answers in the place of a provider."""
    with respx.mock(using=openai_http.HTTPCore2Mocker.name, assert_all_called=False) as router:
        yield router


@pytest.fixture
def registry() -> ModelRegistry:
    """Two configured models at models.test, one an API."""
    shared = {"provider": "openai", "model": "gpt-5-mini", "base_url": "https://models.test/v1", "api_key": "sk-test"}
    return ModelRegistry({"chat": {**shared, "api": "chat"}, "responses": {**shared, "api": "responses"}})


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """One database, for what does not differ between two."""
    database = Database(f"sqlite:///{tmp_path / 'runs.db'}")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def store(sqlite: Database, tmp_path: Path) -> AsyncIterator[FileStore]:
    """A store of files that agents read from here."""
    storages = FileStorages.from_configuration({"default": "file://./files"}, base_folder=tmp_path)
    with using(FileStore(sqlite, storages)) as store:
        yield store


@pytest.fixture
async def runs(
    sqlite: Database, store: FileStore, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runs]:
    """Runs of the real engine that call agents."""
    async with Runs(sqlite, registry).open(monkeypatch) as runs:
        yield runs
