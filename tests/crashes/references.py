"""Three workflows that use what the engine has: branches, children, people, retries, timers, events, sessions.

What they do outside is noted here, so that a test can say how often it was done and under which key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from sqlmodel import Field, SQLModel, col, func, select

from toolkit.access import Principal, acting_as
from toolkit.errors import TaskExpired, WaitTimeout
from toolkit.human import Human, TaskService, TaskState, TaskWatch, Timeout, close_tasks
from toolkit.testing import Process
from toolkit.workflows import (
    Engine,
    RetryPolicy,
    Workflow,
    emit_event,
    gather,
    get_session,
    now,
    patched,
    step,
    step_context,
    suspend,
    uuid4,
    wait_any,
    wait_for_event,
    workflow,
)


class CrashEntry(SQLModel, table=True):
    """What steps write in their own transaction: each cent must be there once."""

    __tablename__ = "crash_entry"

    id: int | None = Field(default=None, primary_key=True)
    run_id: str
    path: str
    amount: int


@dataclass
class Outside:
    """The world outside of the database: every call that a step made, by its idempotency key."""

    calls: list[tuple[str, int]] = field(default_factory=list)
    """(idempotency key, attempt)."""
    on_call: Callable[[str], None] = lambda key: None

    def call(self) -> None:
        context = step_context()
        assert context is not None
        self.on_call(context.idempotency_key)
        self.calls.append((context.idempotency_key, context.attempt))

    @property
    def repeated(self) -> int:
        """How often something was done once more than its attempts account for."""
        return sum(count - 1 for count in Counter(self.calls).values())


outside = Outside()


@step()
async def reserve(item: str) -> str:
    outside.call()
    return f"reserved {item}"


@step()
async def book(amount: int) -> int:
    context = step_context()
    assert context is not None
    get_session().add(CrashEntry(run_id=context.run_id, path=context.path, amount=amount))
    return amount


@step(retry=RetryPolicy(max_retries=3, first_delay=2.0, factor=10.0, longest_delay=3600.0, jitter=0.0))
async def charge(amount: Decimal) -> str:
    """Succeeds at the third attempt: a short pause in memory, then a long one that is a timer on record."""
    outside.call()
    context = step_context()
    assert context is not None
    if context.attempt < 3:
        raise ConnectionError("the bank is away")
    return f"charged {amount}"


@step()
async def refuse(why: str) -> None:
    outside.call()
    raise ValueError(why)


# Branches, children, retries ----------------------------------------------------------------------------------------


@workflow()
async def pack(item: str) -> str:
    done = await reserve(item)
    await book(1)
    return done


@workflow()
async def fulfil_order(items: list[str]) -> list[str]:
    packed = await gather(*(pack(item) for item in items), charge(Decimal("10.00")))
    try:
        await gather(reserve("lorry"), refuse("no driver"))
    except ValueError as error:
        packed = (*packed, str(error))
    await book(10)
    return list(packed)


# People, timers, events ---------------------------------------------------------------------------------------------


class Claim(BaseModel):
    number: str


class Ruling(BaseModel):
    is_granted: bool


examine = Human("examine", title="Examine", input_type=Claim, output_type=Ruling, assign_to="ada")
confirm = Human(
    "confirm",
    title="Confirm",
    input_type=Claim,
    output_type=Ruling,
    timeout=Timeout(timedelta(days=2)),
    assign_to="bob",
)


@workflow()
async def settle_claim(number: str) -> list[str]:
    said = [await reserve(number)]
    ruling = (await examine(Claim(number=number))).output
    said.append(f"granted {ruling.is_granted}")
    await suspend(interval=timedelta(days=30))
    try:
        await confirm(Claim(number=number))
    except TaskExpired:
        said.append("nobody confirmed")
    try:
        await wait_for_event(f"appeal-{number}", max_wait_time=timedelta(hours=1))
    except WaitTimeout:
        said.append("no appeal")
    await book(100)
    return said


# All of it side by side ---------------------------------------------------------------------------------------------


@workflow()
async def answer_back(key: str) -> str:
    began = await now()
    await suspend(interval=10)
    await emit_event(key, "answer")
    assert await now() >= began + timedelta(seconds=10)
    return "answered"


@workflow()
async def run_campaign(name: str) -> list[Any]:
    key = f"{name}-{await uuid4()}"
    answered, heard, _ = await gather(answer_back(key), wait_for_event(key), charge(Decimal(1)))
    first = await wait_any(suspend(interval=timedelta(days=1)), wait_for_event(f"never-{key}"))
    handle = await pack.start(name)
    if await patched("asks-a-person"):
        heard = f"{heard} {(await examine(Claim(number=name))).output.is_granted}"
    return [answered, heard, first.index, await handle.result(), await book(1000)]


@dataclass(frozen=True)
class Reference:
    """One of the workflows, and what it must come to."""

    workflow: Workflow[..., Any]
    argument: Callable[[str], Any]
    result: Callable[[str], Any]
    booked: int
    """The sum of what the run and its children book."""


REFERENCES = {
    "fulfil_order": Reference(
        fulfil_order,
        argument=lambda key: [f"{key}-a", f"{key}-b"],
        result=lambda key: [f"reserved {key}-a", f"reserved {key}-b", "charged 10.00", "no driver"],
        booked=12,
    ),
    "settle_claim": Reference(
        settle_claim,
        argument=lambda key: key,
        result=lambda key: [f"reserved {key}", "granted True", "nobody confirmed", "no appeal"],
        booked=100,
    ),
    "run_campaign": Reference(
        run_campaign,
        argument=lambda key: key,
        result=lambda key: ["answered", "answer True", 0, f"reserved {key}", 1000],
        booked=1001,
    ),
}
WORKFLOWS: list[Workflow[..., Any]] = [fulfil_order, pack, settle_claim, run_campaign, answer_back]


def employ_people(engine: Engine) -> None:
    """Give an engine the room of human tasks."""
    engine.closers["human"] = close_tasks
    humans: dict[str, Human[Any, Any]] = {human.name: human for human in (examine, confirm)}
    engine.resources[TaskService] = TaskService(database=engine.database, humans=humans, engine=engine)


async def do_what_people_do(process: Process) -> bool:
    """Ada answers; Bob never does, and the watch sees to it that his task expires."""
    tasks = process.engine.resources[TaskService]
    assert isinstance(tasks, TaskService)
    if await TaskWatch(tasks, process.engine.database).look():
        return True
    with acting_as(Principal(id="ada", kind="person", permissions="*")):
        found = await tasks.list(state=TaskState.OPEN, name="examine")
        for task in found:
            await tasks.complete(task.id, Ruling(is_granted=True).model_dump_json())
    return bool(found)


async def booked_by(process: Process, run_ids: list[str]) -> list[tuple[str, int]]:
    """(path, amount) of everything that these runs have booked."""
    async with process.engine.database.session() as session:
        rows = await session.exec(
            select(CrashEntry).where(col(CrashEntry.run_id).in_(run_ids)).order_by(CrashEntry.path)
        )
        return [(row.path, row.amount) for row in rows]


async def count_entries(process: Process) -> int:
    """The sum of everything that was ever booked."""
    async with process.engine.database.session() as session:
        return (await session.exec(select(func.coalesce(func.sum(CrashEntry.amount), 0)))).one()
