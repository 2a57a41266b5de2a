"""An open office, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.human.office import Office
from toolkit.access import Principal, acting_as


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    office = Office(database_url)
    await office.open()
    # Whoever asks in nobody else's name manages the office.
    with acting_as(Principal(id="manager", kind="person", permissions="*")):
        yield office
    await office.close()
