"""A listener whose server goes away says so and is never deaf without saying so."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import asyncpg
import pytest

from tests.workflows.conftest import until
from toolkit.storage import Database, StorageUnavailable

pytestmark = pytest.mark.postgresql


async def test_a_connection_that_breaks_before_it_listens_is_made_anew(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    heard = asyncio.Event()
    listener = database.listener(heard.set)
    assert listener is not None
    broken = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
    with patch.object(asyncpg.Connection, "add_listener", side_effect=broken), pytest.raises(StorageUnavailable):
        await listener.listen()

    await listener.listen()

    speaker = await asyncpg.connect(postgresql_url)
    await speaker.execute("NOTIFY toolkit")
    await until(heard.is_set)
    await speaker.close()
    await listener.close()
