"""What a worker asks at each look is found by an index, however many runs wait, and without anybody's statistics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from toolkit.ids import new_id
from toolkit.storage import Database, Query, Script, Statement, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.operations import ClaimRuns, NewRun, StartRun

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

LOOKS = [
    pytest.param(sql.DUE_RUNS, [_NOW, "worker", _NOW, ["pays"], False, 10], "ix_toolkit_run_due", id="due runs"),
    pytest.param(sql.NEXT_DUE, [_NOW], "ix_toolkit_run_due", id="next due"),
    pytest.param(sql.DUE_SUSPECTS, [_NOW, ["pays"]], "ix_toolkit_run_suspect", id="due suspects"),
    pytest.param(sql.UNKNOWN_RUNS, [["pays"], _NOW], "ix_toolkit_run_due", id="unknown runs"),
    pytest.param(sql.OVERDUE_RUNS, [], "ix_toolkit_run_deadline", id="overdue runs"),
]


@pytest.mark.parametrize(("statement", "parameters", "index"), LOOKS)
async def test_sqlite_looks_by_an_index_though_it_has_no_statistics(
    database: Database, statement: Statement, parameters: list[object], index: str
) -> None:
    if database.dialect != "sqlite":
        pytest.skip("an empty table tells nothing of the plans of PostgreSQL")
    plan = Statement("plan", f"EXPLAIN QUERY PLAN {statement.sqlite}", "")

    steps = [str(row[-1]) for row in await database.reader.read(Query(plan, parameters))]

    assert any(f"INDEX {index}" in step for step in steps), steps
    assert not any("ix_toolkit_run_state" in step or step == "SCAN toolkit_run" for step in steps), steps


def _start(priority: int, due_at: datetime) -> StartRun:
    return StartRun(NewRun(new_id(), "pays", "{}", "", priority=priority, due_at=due_at))


async def test_the_due_run_of_the_highest_priority_comes_first_and_the_next_moment_is_that_of_any(
    database: Database,
) -> None:
    late, later, latest = (_NOW + timedelta(seconds=seconds) for seconds in (5, 6, 7))
    starts = [
        *(_start(0, _NOW - timedelta(seconds=seconds)) for seconds in (1, 3, 2)),
        *(_start(7, moment) for moment in (_NOW - timedelta(seconds=1), later)),
        *(_start(-4, moment) for moment in (_NOW - timedelta(days=1), late, latest)),
    ]
    worker = Worker("worker", room=0, closers={}, new_id=new_id)
    await database.writer.run(commit(starts, worker=worker, own_now=_NOW - timedelta(days=2)))

    def look() -> Script[list[str]]:
        return [row[0] for row in (yield Query(sql.DUE_RUNS, [_NOW, "worker", _NOW, ["pays"], False, 4]))]

    in_order = [starts[at].run.id for at in (3, 1, 2, 0)]
    assert await database.writer.run(look()) == in_order
    assert read_moment((await database.reader.read(Query(sql.NEXT_DUE, [_NOW])))[0][0]) == late
    here = Worker("worker", room=4, closers={}, new_id=new_id)
    _, effects = await database.writer.run(commit([ClaimRuns(4, ["pays"])], worker=here, own_now=_NOW))
    assert [run.id for run in effects.claimed] == in_order
