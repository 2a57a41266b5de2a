"""The workflow that plays plans, and the questions that it asks people."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from tests.stateful.models import Operation, Plan
from toolkit.errors import WaitTimeout
from toolkit.storage import Query, Script, both, insert, update
from toolkit.workflows import (
    AttachedRows,
    Engine,
    Schedule,
    current_engine,
    current_run,
    next_wait_id,
    resolve_wait,
    step,
    suspend,
    wait_for,
    wait_for_event,
    workflow,
)

QUESTION = "stateful_question"
TABLE = both(
    "make questions",
    """CREATE TABLE IF NOT EXISTS stateful_question (
           id TEXT PRIMARY KEY, wait_id TEXT NOT NULL, run_id TEXT NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL)""",
)
QUESTIONS = both("questions", "SELECT run_id, label, state FROM stateful_question ORDER BY id")
_ASK = insert(
    "stateful_question", {"id": "text", "wait_id": "text", "run_id": "text", "label": "text", "state": "text"}
)
_CLOSE = update(
    "stateful_question",
    {"id": "text", "state": "text"},
    assign="state = v.state",
    where="t.id = v.id AND t.state = 'open'",
    name="close questions",
)

# How often the body of a step has begun, by run and number.
performed: dict[tuple[str, int], int] = {}


def make_table() -> Script[None]:
    """The table of questions, if it is missing."""
    yield Query(TABLE)


def close_questions(rows: Any) -> list[AttachedRows]:
    """A question whose wait has ended without its answer is closed with it."""
    return [AttachedRows(_CLOSE, [(id_, "closed") for id_, _, _ in rows])]


@step()
async def count(number: int) -> int:
    run = current_run()
    assert run is not None
    performed[run.run_id, number] = performed.get((run.run_id, number), 0) + 1
    return number


@workflow()
async def follow(plan: Plan) -> list[Any]:
    return [await _perform(operation) for operation in plan]


@workflow()
async def tick(at: datetime) -> None:
    """What schedules start: it ends at once, and its input says for which moment it is."""


TICKS = both("ticks", "SELECT input FROM toolkit_run WHERE started_by = $1 ORDER BY id")


def schedule_of(name: str, *, hours: int, catch_up: Any) -> Schedule:
    """Due at half past, in every hour of the day that ``hours`` divides."""
    return Schedule(name, tick, cron=f"30 */{hours} * * *", arguments=lambda moment: {"at": moment}, catch_up=catch_up)


async def _perform(operation: Operation) -> Any:
    match operation:
        case ["step", number]:
            return await count(number)
        case ["nap", hours]:
            return await suspend(interval=timedelta(hours=hours))
        case ["event", key, hours]:
            try:
                return await wait_for_event(key, max_wait_time=-1 if hours is None else timedelta(hours=hours))
            except WaitTimeout:
                return "timeout"
        case ["ask", label, hours]:
            return await _ask(label, hours)
    raise AssertionError(f"unknown operation {operation!r}")


async def _ask(label: str, hours: int | None) -> Any:
    run, engine = current_run(), current_engine()
    assert run is not None
    assert engine is not None
    id_, wait_id = f"{run.run_id} {label}", next_wait_id()
    outcome = await wait_for(
        name=f"ask {label}",
        kind=QUESTION,
        deadline_at=None if hours is None else engine.runtime.clock.now() + timedelta(hours=hours),
        reference=id_,
        arguments=json.dumps({"label": label}),
        wait_id=wait_id,
        attached=[AttachedRows(_ASK, [(id_, wait_id, run.run_id, label, "open")])],
    )
    return "timeout" if outcome.is_expired else json.loads(outcome.payload or "null")


async def answer(engine: Engine, run_id: str, label: str, payload: str) -> bool:
    """A person answers; false if the question was closed or answered before. Answer and row are one transaction."""
    id_ = f"{run_id} {label}"
    async with engine.database.session() as session:
        found = await (await session.connection()).execute(
            text("SELECT wait_id FROM stateful_question WHERE id = :id"), {"id": id_}
        )
        has_won = await resolve_wait(session, wait_id=found.scalar_one(), payload_json=json.dumps(payload))
        if has_won:
            await (await session.connection()).execute(
                text("UPDATE stateful_question SET state = 'answered' WHERE id = :id"), {"id": id_}
            )
    engine.poke()
    return has_won
