"""The process that asks: one question a run, and a note of the answer with which the run went on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy import text

from toolkit.human import Human, TaskService, close_tasks
from toolkit.storage import Database
from toolkit.workflows import Engine, EngineOptions, get_session, step, workflow


class Bid(BaseModel):
    amount: int


contested = Human("contested", title="Who is first?", input_type=int, output_type=Bid)


@step()
async def note_resumption(number: int, by: str, amount: int) -> None:
    """Without a key: a run that went on twice would be seen here twice."""
    connection = await get_session().connection()
    await connection.execute(
        text("INSERT INTO resumption (number, winner, amount) VALUES (:number, :by, :amount)"),
        {"number": number, "by": by, "amount": amount},
    )


@workflow()
async def contest(number: int) -> str:
    answer = await contested(number)
    await note_resumption(number, answer.completed_by or "", answer.output.amount)
    return f"{answer.completed_by} {answer.output.amount}"


@dataclass(frozen=True, slots=True)
class Arena:
    """One process's share of the installation."""

    database: Database
    engine: Engine
    tasks: TaskService


@asynccontextmanager
async def entered(url: str, *, is_worker: bool) -> AsyncIterator[Arena]:
    """The installation as one process sees it."""
    database = Database(url)
    await database.open()
    options = EngineOptions(lease_seconds=2.0, poll_seconds=0.1, is_worker=is_worker)
    engine = Engine(database, workflows=[contest], options=options)
    engine.closers["human"] = close_tasks
    tasks = TaskService(database=database, humans={contested.name: contested}, engine=engine)
    await engine.open()
    try:
        yield Arena(database, engine, tasks)
    finally:
        await engine.close()
        await database.close()
