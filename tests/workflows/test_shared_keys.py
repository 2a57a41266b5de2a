"""Many runs may wait under one key, each for its own event: none costs more because of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.workflows.conftest import StartEngine, until
from toolkit.storage import Script
from toolkit.workflows import RunState, wait_for_event, workflow
from toolkit.workflows.batches import Batch

locked: list[int] = []


@workflow()
async def waits_for_approval() -> str:
    return await wait_for_event("approval", payload_type=str)


@pytest.fixture
def counted_locks() -> Iterator[None]:
    """Notes how many runs each batch locks."""
    original = Batch._run_ids

    def counting(self: Batch) -> Script[list[str]]:
        ids = yield from original(self)
        locked.append(len(ids))
        return ids

    locked.clear()
    with patch.object(Batch, "_run_ids", counting):
        yield


@pytest.mark.usefixtures("counted_locks")
async def test_an_event_for_one_run_touches_no_other_that_waits_for_the_same_key(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_approval)
    runs = [await engine.start(waits_for_approval) for _ in range(50)]

    async def all_wait() -> bool:
        return len(await engine.list_runs(state=RunState.SUSPENDED, limit=100)) == 50

    await until(all_wait)
    locked.clear()
    await engine.emit_event("approval", "yes", run_id=runs[20].id)

    assert await asyncio.wait_for(runs[20].result(), 10) == "yes"
    assert max(locked, default=0) <= 2  # on PostgreSQL it is one statement, which locks no other either
    assert len(await engine.list_runs(state=RunState.SUSPENDED, limit=100)) == 49


async def test_an_event_for_everybody_reaches_all_that_wait_and_those_that_come_later(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(waits_for_approval)
    early = [await engine.start(waits_for_approval) for _ in range(5)]
    await engine.emit_event("approval", "for all")

    late = await engine.start(waits_for_approval)

    assert [await asyncio.wait_for(run.result(), 10) for run in [*early, late]] == ["for all"] * 6
