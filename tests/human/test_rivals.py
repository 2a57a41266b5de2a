"""Of fifty answers to each task one wins, none is lost, and the run goes on once: over processes that are killed."""

from __future__ import annotations

import pytest

from tests.human.rivals.scenario import run_contest


@pytest.mark.timeout(300)
async def test_one_of_fifty_wins_each_task_while_processes_are_killed(database_url: str) -> None:
    report = await run_contest(database_url, tasks=8, answerers=2, batch=4, kills=2)

    assert report.faults == []
    assert report.kills >= 1
    assert report.attempts >= 8 * 50
