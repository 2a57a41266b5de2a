"""Programs, the one workflow that plays them, and the steps that they consist of.

A program is a list of operations, plain JSON, and is the input of its run; so the code that replays is always the same.
What each operation is and gives stands in ``_perform``; :mod:`~tests.simulation.authors` writes programs at random,
:mod:`~tests.simulation.outcomes` knows what must come of them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Literal, cast

from sqlalchemy import text

from toolkit.errors import RunFailed, TimeLimitReached, WaitTimeout
from toolkit.storage import insert, update
from toolkit.workflows import (
    AttachedRows,
    CancelledRun,
    Engine,
    RetryPolicy,
    Schedule,
    check_cancellation,
    checkpoint,
    compensation,
    continue_as_new,
    current_engine,
    current_run,
    emit_event,
    gather,
    get_session,
    heartbeat,
    message,
    next_wait_id,
    poll_until,
    resolve_wait,
    set_progress,
    shield,
    step,
    step_context,
    suspend,
    timeout,
    wait_any,
    wait_for,
    wait_for_completion,
    wait_for_event,
    workflow,
)

Operation = list[Any]
Program = list[Operation]

# Set by the history that is played. Told when the body of a step begins and ends: (moment, worker, run and path, attempt).
Observer = Callable[[str, str, str, int], None]
observers: list[Observer] = []
# Told which branch has won a race: (run, label of the race, place of the branch).
RaceObserver = Callable[[str, str, int], None]
race_observers: list[RaceObserver] = []

TICK = timedelta(seconds=1)  # between two moments of the schedule
NEVER = "never"  # an event that nobody emits
QUESTION = "question"  # a kind of step that people answer


@workflow()
async def tick(at: datetime) -> None:
    """What the schedule starts; its input says for which moment it is."""


def ticking() -> Schedule:
    """A schedule that makes up for every moment."""
    return Schedule("tick", tick, every=TICK, catch_up="all", arguments=lambda moment: {"at": moment})


# Steps -------------------------------------------------------------------------------------------------------------


class _observed:
    """Tells the observers that the body of a step begins, and that it ends however it does."""

    def __enter__(self) -> None:
        _observe("begin")

    def __exit__(self, *_: object) -> None:
        _observe("end")


def _observe(moment: str) -> None:
    context, engine = step_context(), current_engine()
    assert context is not None
    assert engine is not None
    for observer in observers:
        observer(moment, engine.worker_id, f"{context.run_id}:{context.path}", context.attempt)


@step()
async def work(label: str, seconds: float = 0.0) -> str:
    with _observed():
        await asyncio.sleep(seconds)
    return f"did {label}"


@step()
async def revert(label: str) -> None:
    with _observed():
        await asyncio.sleep(0.005)


async def _struggle(label: str, failures: int) -> str:
    context = step_context()
    assert context is not None
    with _observed():
        await asyncio.sleep(0.01)
        if context.attempt <= failures:
            raise ConnectionError(f"{label}, attempt {context.attempt}")
    return f"did {label}"


# Its pauses are short: they pass in memory.
hasty = step(name="hasty", retry=RetryPolicy(max_retries=3, first_delay=0.05, jitter=0.0))(_struggle)
# Its pauses are timers on record.
patient = step(name="patient", retry=RetryPolicy(max_retries=3, delays=(1.0, 0.9, 1.5), jitter=0.1))(_struggle)
# Short ones first, then one on record.
growing = step(name="growing", retry=RetryPolicy(max_retries=3, first_delay=0.3, factor=3, jitter=0.0))(_struggle)
STRUGGLING = {"hasty": hasty, "patient": patient, "growing": growing}


@step(heartbeat_timeout=0.3, retry=RetryPolicy(max_retries=3, first_delay=0.05, jitter=0.0))
async def beat(label: str, silent_attempts: int) -> str:
    context = step_context()
    assert context is not None
    with _observed():
        if context.attempt <= silent_attempts:
            await asyncio.Event().wait()
        for page in range(3):
            heartbeat({"page": page})
            await asyncio.sleep(0.1)
    return f"did {label}"


@step()
async def fail(label: str) -> None:
    with _observed():
        await asyncio.sleep(0.005)
    raise ValueError(label)


@step()
async def probe(label: str, number: int) -> int:
    with _observed():
        return number


@step(retry=RetryPolicy(max_retries=3, first_delay=0.05))  # a process held up for seconds loses its session
async def book(label: str, entries: int) -> str:
    """Writes to the database in the transaction of its own checkpoint."""
    context = step_context()
    assert context is not None
    with _observed():
        await asyncio.sleep(0.005)
        session = get_session()
        for _ in range(entries):
            values = {"run_id": context.run_id, "label": label}
            await (await session.connection()).execute(
                text("INSERT INTO ledger (run_id, label) VALUES (:run_id, :label)"), values
            )
    return f"did {label}"


_made = count()


@step()
async def deal(label: str, units: int) -> str:
    """Decides something, then does units of work by it, each with a checkpoint; the first takes the decision along."""
    decision = await checkpoint("decision", kind="compute", body=_decide, is_deferred=True)
    for number in range(units):
        await checkpoint(f"unit:{number}", kind="compute", body=partial(_deal, decision.value))
    return f"did {label}"


async def _decide() -> str:
    """Another decision each time that it is made; of one length, for a copy in memory is weighed."""
    return f'"{next(_made):09}"'


async def _deal(decision: str) -> str:
    with _observed():
        await asyncio.sleep(0.005)
    return decision


# Questions to people -----------------------------------------------------------------------------------------------

_ASK = insert("question", {"id": "text", "wait_id": "text", "run_id": "text", "state": "text"})
_CLOSE = update(
    "question",
    {"id": "text", "state": "text"},
    assign="state = v.state",
    where="t.id = v.id AND t.state = 'open'",
    name="close questions",
)


def close_questions(rows: Any) -> list[AttachedRows]:
    """The closer of :data:`QUESTION`: a question whose wait has ended without its answer is closed with it."""
    return [AttachedRows(_CLOSE, [(id_, state) for id_, state, _ in rows])]


async def _ask(label: str, limit: float) -> str:
    run, engine = current_run(), current_engine()
    assert run is not None
    assert engine is not None
    id_, wait_id = f"{run.run_id} {label}", next_wait_id()
    outcome = await wait_for(
        name=f"ask {label}",
        kind=QUESTION,
        deadline_at=None if limit < 0 else engine.runtime.clock.now() + timedelta(seconds=limit),
        reference=id_,
        arguments=json.dumps({"label": label}),
        wait_id=wait_id,
        attached=[AttachedRows(_ASK, [(id_, wait_id, run.run_id, "open")])],
    )
    return "timeout" if outcome.is_expired else cast("str", json.loads(outcome.payload or "null"))


async def answer(engine: Engine, id_: str, wait_id: str) -> None:
    """A person answers a question, unless it has been closed meanwhile; both are one transaction."""
    label = id_.rsplit(maxsplit=1)[-1]
    async with engine.database.session() as session:
        if await resolve_wait(session, wait_id=wait_id, payload_json=json.dumps(f"answer to {label}")):
            await (await session.connection()).execute(
                text("UPDATE question SET state = 'answered' WHERE id = :id"), {"id": id_}
            )
    engine.poke()


# The workflow ------------------------------------------------------------------------------------------------------


@workflow()
async def tidy(cancelled: CancelledRun) -> str:
    """Runs after every run that was cancelled."""
    return await work(f"tidied {cancelled.run_id}")


@workflow(on_cancel=tidy)
async def play(program: Program) -> list[Any]:
    return [await _perform(operation) for operation in program]


async def _perform(operation: Operation) -> Any:
    """One operation: its kind, then what it is made with. Time is in seconds."""
    match operation:
        case ["work", label, seconds]:
            return await work(label, seconds)
        case [("hasty" | "patient" | "growing") as kind, label, failures]:
            return await STRUGGLING[kind](label, failures)
        case ["beat", label, silent_attempts]:
            return await beat(label, silent_attempts)
        case ["fail", label]:
            return await fail(label)
        case ["book", label, entries]:
            return await book(label, entries)
        case ["deal", label, units]:
            return await deal(label, units)
        case ["poll", label, wanted]:
            numbers = count(1)
            return await poll_until(lambda: probe(label, next(numbers)), until=lambda n: n >= wanted, every=0.05)
        case ["message", label]:
            return await message(label)
        case ["progress", done]:
            return set_progress(done, total=100)
        case ["check"]:
            return check_cancellation()
        case ["emit", key]:
            return await emit_event(key, f"from {key}")
        case [("sleep" | "wait" | "late" | "ask"), *_]:
            return await _wait(operation)
        case [("child" | "policy" | "bound" | "start" | "await" | "linked"), *_]:
            return await _run_another(operation)
    return await _perform_block(operation)


async def _wait(operation: Operation) -> Any:
    match operation:
        case ["sleep", seconds]:
            return await suspend(interval=timedelta(seconds=seconds))
        case ["ask", label, limit]:
            return await _ask(label, limit)
    key, since, limit = (operation[1], "ever", operation[2]) if operation[0] == "wait" else operation[1:]
    try:
        return await wait_for_event(key, since=cast("Literal['ever']", since), max_wait_time=limit)
    except WaitTimeout:
        return "timeout"


async def _run_another(operation: Operation) -> Any:
    match operation:
        case ["child", program]:
            return await play(program)
        case ["policy", policy, program]:
            return await play.with_options(close_policy=policy)(program)
        case ["bound", seconds, program]:  # a child with a deadline
            try:
                return await play.with_options(deadline=seconds)(program)
            except Exception as error:  # noqa: BLE001 - what the program raises, or that it was cancelled
                return f"cut short by {type(error).__name__}"
        case ["start", program]:
            return (await play.start(program)).id
        case ["linked", policy, program]:
            return (await play.with_options(close_policy=policy).start_step(program)).id
        case ["await", program]:
            handle = await play.start_step(program)
            try:
                return await wait_for_completion(handle)
            except RunFailed as error:
                return f"it {error.state}"
    raise AssertionError(f"unknown operation {operation!r}")


async def _perform_block(operation: Operation) -> Any:
    match operation:
        case ["try", program]:
            try:
                return await _sequence(program)
            except Exception as error:  # noqa: BLE001 - whatever the program raises, and nothing of the engine's
                return f"caught {type(error).__name__}"
        case ["gather", branches]:
            return list(await gather(*(_sequence(branch) for branch in branches)))
        case ["each", branches]:
            found = await gather(*(_sequence(branch) for branch in branches), return_exceptions=True)
            return [f"caught {type(one).__name__}" if isinstance(one, Exception) else one for one in found]
        case ["race", label, branches]:
            first = await wait_any(*(_sequence(branch) for branch in branches))
            run = current_run()
            assert run is not None
            for observer in race_observers:
                observer(run.run_id, label, first.index)
            return [first.index, first.result]
        case ["limit", seconds, program]:
            try:
                return await timeout(_sequence(program), seconds)
            except TimeLimitReached:
                return "out of time"
        case ["shield", program]:
            async with shield():
                return await _sequence(program)
        case ["saga", label, steps, program, fails]:
            async with compensation() as undo:
                for at in range(steps):
                    await work(f"{label}-{at}")
                    undo(revert, f"{label}-{at}")
                result = await _sequence(program)
                await (fail(f"{label}-fail") if fails else work(f"{label}-end"))
            return result
        case ["continue", program]:
            continue_as_new(program)
    raise AssertionError(f"unknown operation {operation!r}")


async def _sequence(program: Program) -> list[Any]:
    return [await _perform(operation) for operation in program]
