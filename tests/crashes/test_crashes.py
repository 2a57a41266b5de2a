"""A crash before or after any commit loses nothing, repeats no checkpoint and doubles nothing in the database.

Each eighth point here; `python -m tests.crashes --database sqlite` (or `postgresql`) plays them all.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from tests.crashes.plays import make_ledger, play_series
from tests.crashes.references import REFERENCES, WORKFLOWS, count_entries, employ_people, pack
from toolkit.testing import VirtualClock, crash_before, running_process
from toolkit.workflows import StepRecord
from toolkit.workflows.sessions import StepSession


@pytest.mark.parametrize("name", REFERENCES)
async def test_a_crash_at_a_commit_changes_nothing_of_the_outcome(database_url: str, name: str) -> None:
    series = await play_series(name, database_url, every=8)

    assert series.faults == []
    assert series.points >= 4


async def _commit_in_two_transactions(session: StepSession, record: StepRecord) -> None:
    """What a step wrote first, its checkpoint after."""
    await session.flush()
    await AsyncSession.commit(session)
    await session.close()
    await session._execution.record(record)


@pytest.mark.parametrize("is_planted", [False, True], ids=["sound", "planted"])
async def test_a_planted_bug_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_planted: bool) -> None:
    """With a step's writes and its checkpoint in two transactions, a crash between them books twice."""
    if is_planted:
        monkeypatch.setattr(StepSession, "commit_with", _commit_in_two_transactions)
    url, clock = f"sqlite:///{tmp_path / 'toolkit.db'}", VirtualClock()
    await make_ledger(url)

    async with running_process(
        url, *WORKFLOWS, clock=clock, prepare=employ_people, crash=crash_before("book/0")
    ) as first:
        run = await first.start(pack, "a")
        await first.has_crashed.wait()
    async with running_process(url, *WORKFLOWS, clock=clock, prepare=employ_people) as second:
        await second.finish(run.id)
        assert await count_entries(second) == (2 if is_planted else 1)
