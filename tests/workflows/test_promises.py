"""The promises of the engine, one test each; what a test proves is its name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import Field, SQLModel, func, select

from tests.workflows.conftest import StartEngine, until, until_state
from tests.workflows.notes import note, notes
from toolkit.access import Principal, acting_as, current_principal
from toolkit.errors import Conflict, RunFailed, WaitTimeout
from toolkit.workflows import (
    Engine,
    RunState,
    Workflow,
    emit_event,
    gather,
    get_session,
    step,
    step_context,
    suspend,
    wait_for_event,
    workflow,
)
from toolkit.workflows.commits import Commits
from toolkit.workflows.operations import OpenWait, Operation, Suspend


@workflow()
async def note_wait_note() -> str:
    first = await note("before")
    payload = await wait_for_event("go", payload_type=str)
    return first + await note(payload)


async def test_a_step_that_succeeded_is_never_run_again_by_whatever_process(start_engine: StartEngine) -> None:
    first = await start_engine(note_wait_note)
    run = await first.start(note_wait_note)
    await until_state(first, run.id, RunState.SUSPENDED)
    await first.close()
    second = await start_engine(note_wait_note)

    await second.emit_event("go", "after")

    assert await asyncio.wait_for(second.wait_for_completion(run.id), 10) == '"beforeafter"'
    assert notes == ["before", "after"]


class Ledger(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    amount: int


@step()
async def write_and_fail_once() -> int:
    session = get_session()
    session.add(Ledger(amount=1))
    notes.append("write")
    if len(notes) == 1:
        await session.flush()
        raise RuntimeError("after the write")
    return len(notes)


@workflow()
async def write_with_a_retry() -> int:
    try:
        return await write_and_fail_once()
    except RuntimeError:
        return await write_and_fail_once()


async def test_what_a_step_writes_and_its_checkpoint_are_one_transaction(start_engine: StartEngine) -> None:
    engine = await start_engine(write_with_a_retry)
    async with engine.database.session() as session:
        connection = await session.connection()
        await connection.run_sync(SQLModel.metadata.tables["ledger"].create)

    run = await engine.start(write_with_a_retry)

    assert await asyncio.wait_for(run.result(), 10) == 2
    async with engine.database.session() as session:
        assert (await session.exec(select(func.count()).select_from(Ledger))).one() == 1


@step(max_retries=2)
async def fail_twice() -> str:
    context = step_context()
    assert context is not None
    notes.append(context.idempotency_key)
    if context.attempt < 3:
        raise RuntimeError("not yet")
    return "done"


@workflow()
async def retry() -> str:
    return await fail_twice()


async def test_the_idempotency_key_is_the_same_in_every_attempt(start_engine: StartEngine) -> None:
    engine = await start_engine(retry)

    run = await engine.start(retry)

    assert await asyncio.wait_for(run.result(), 10) == "done"
    assert len(notes) == 3
    assert set(notes) == {f"{run.id}:fail_twice/0"}


@workflow()
async def wait_twice() -> list[str]:
    return [await wait_for_event("news"), await wait_for_event("news")]


async def test_an_event_that_came_before_the_wait_is_not_lost_and_not_delivered_twice(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(wait_twice)
    await engine.emit_event("news", "one")

    run = await engine.start(wait_twice)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.emit_event("news", "two")

    assert await asyncio.wait_for(run.result(), 10) == ["one", "two"]


@workflow()
async def both_waits() -> list[str]:
    return list(await gather(wait_for_event("news"), wait_for_event("news")))


async def test_waits_of_one_run_side_by_side_get_distinct_events_in_order(start_engine: StartEngine) -> None:
    engine = await start_engine(both_waits)
    run = await engine.start(both_waits)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.emit_event("news", "one")
    await engine.emit_event("news", "two")

    assert await asyncio.wait_for(run.result(), 10) == ["one", "two"]


@workflow()
async def limited_wait() -> str:
    try:
        return await wait_for_event("never", max_wait_time=0.05, payload_type=str)
    except Exception as error:  # noqa: BLE001 - this is the point: it sees the limit, and nothing of the engine's own
        return type(error).__name__


async def test_a_wait_ends_at_its_limit_and_except_exception_swallows_nothing_else(start_engine: StartEngine) -> None:
    engine = await start_engine(limited_wait)

    run = await engine.start(limited_wait)

    assert await asyncio.wait_for(run.result(), 10) == WaitTimeout.__name__


@workflow()
async def catches_everything() -> str:
    try:
        await wait_for_event("never")
    except Exception:  # noqa: BLE001
        return "swallowed"
    return "went on"


async def test_cancel_passes_through_except_exception_and_no_step_starts_after(start_engine: StartEngine) -> None:
    engine = await start_engine(catches_everything)
    run = await engine.start(catches_everything)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.cancel(run.id, reason="not needed", by="ada")

    with pytest.raises(RunFailed) as caught:
        await asyncio.wait_for(run.result(), 10)
    assert caught.value.state == "cancelled"
    detail = await engine.get_run(run.id)
    assert (detail.cancel_reason, detail.cancelled_by) == ("not needed", "ada")


@workflow()
async def two_children() -> int:
    one, two = await gather(child(1), child(2))
    return one + two


@workflow()
async def child(number: int) -> int:
    await suspend(interval=timedelta(milliseconds=10))
    await note(f"child {number}")
    return number * 10


async def test_children_run_side_by_side_and_their_results_come_back(start_engine: StartEngine) -> None:
    engine = await start_engine(two_children, child)

    run = await engine.start(two_children)

    assert await asyncio.wait_for(run.result(), 10) == 30
    assert sorted(notes) == ["child 1", "child 2"]


@workflow()
async def parent_of_a_waiting_child() -> str:
    return await waiting_child()


@workflow()
async def waiting_child() -> str:
    return str(await wait_for_event("never"))


async def test_cancelling_a_run_cancels_the_child_that_it_waits_for(start_engine: StartEngine) -> None:
    engine = await start_engine(parent_of_a_waiting_child, waiting_child)
    run = await engine.start(parent_of_a_waiting_child)
    await until_state(engine, run.id, RunState.SUSPENDED)
    (child_run,) = await engine.list_runs(workflow="waiting_child")
    await until_state(engine, child_run.id, RunState.SUSPENDED)

    await engine.cancel(run.id)

    await until_state(engine, run.id, RunState.CANCELLED)
    await until_state(engine, child_run.id, RunState.CANCELLED)


@workflow()
async def failing_branch() -> str:
    try:
        await gather(wait_for_event("never"), fail())
    except ValueError as error:
        return str(error)
    return "no failure"


@step()
async def fail() -> None:
    raise ValueError("on purpose")


async def test_the_first_failure_of_a_gather_is_raised_and_the_other_waits_are_withdrawn(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(failing_branch)

    run = await engine.start(failing_branch)

    assert await asyncio.wait_for(run.result(), 10) == "on purpose"
    assert (await engine.get_run(run.id)).waits == []


async def test_starting_twice_with_one_key_starts_once_also_side_by_side(start_engine: StartEngine) -> None:
    engine = await start_engine(retry, child)

    runs = await asyncio.gather(*(engine.start(child, 1, idempotency_key="k") for _ in range(50)))

    assert len({run.id for run in runs}) == 1
    assert [run.is_new for run in runs].count(True) == 1
    with pytest.raises(Conflict, match="other arguments"):
        await engine.start(child, 2, idempotency_key="k")


@workflow()
async def ordinary_asyncio() -> str:
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await asyncio.to_thread(lambda: None)
    return "fine"


async def test_ordinary_asyncio_code_may_be_awaited(start_engine: StartEngine) -> None:
    engine = await start_engine(ordinary_asyncio)

    run = await engine.start(ordinary_asyncio)

    assert await asyncio.wait_for(run.result(), 10) == "fine"


@workflow()
async def impatient() -> str:
    try:
        async with asyncio.timeout(0.02):
            await wait_for_event("never")
    except TimeoutError:
        return "took the branch that a replay would not take"
    return "no"


async def test_a_timeout_that_is_not_on_record_parks_the_run_and_names_the_one_that_is(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(impatient)

    run = await engine.start(impatient)

    await until_state(engine, run.id, RunState.PARKED)
    assert "toolkit.workflows.timeout" in str((await engine.get_run(run.id)).error)


@workflow()
async def spawns_by_itself() -> str:
    return "".join(await asyncio.gather(note("a"), note("b")))


async def test_steps_in_tasks_of_the_authors_own_are_refused_with_what_to_use(start_engine: StartEngine) -> None:
    engine = await start_engine(spawns_by_itself)

    run = await engine.start(spawns_by_itself)

    with pytest.raises(RunFailed, match=r"toolkit\.workflows\.gather"):
        await asyncio.wait_for(run.result(), 10)


@workflow()
async def tell() -> None:
    await emit_event("news", {"from": "tell"})


async def test_an_event_emitted_by_a_run_wakes_another(start_engine: StartEngine) -> None:
    engine = await start_engine(tell, limited_listener)
    listener = await engine.start(limited_listener)
    await until_state(engine, listener.id, RunState.SUSPENDED)

    await engine.start(tell)

    assert await asyncio.wait_for(listener.result(), 10) == {"from": "tell"}


@workflow()
async def limited_listener() -> dict[str, str]:
    return await wait_for_event("news", payload_type=dict[str, str])


async def test_an_event_emitted_in_a_session_reaches_the_run_after_the_commit(start_engine: StartEngine) -> None:
    engine = await start_engine(limited_listener)
    listener = await engine.start(limited_listener)
    await until_state(engine, listener.id, RunState.SUSPENDED)

    async with engine.database.session() as session:
        await emit_event("news", {"a": "b"}, session=session)
    engine.poke()

    assert await asyncio.wait_for(listener.result(), 10) == {"a": "b"}


async def test_a_waiting_run_is_woken_by_an_event_that_another_process_emits(start_engine: StartEngine) -> None:
    worker = await start_engine(limited_listener)
    other = await start_engine(limited_listener, is_worker=False)
    run = await worker.start(limited_listener)
    await until_state(worker, run.id, RunState.SUSPENDED)

    await other.emit_event("news", {"from": "elsewhere"})

    assert await asyncio.wait_for(run.result(), 10) == {"from": "elsewhere"}


async def test_a_warm_run_and_an_evicted_one_end_alike(start_engine: StartEngine) -> None:
    warm = await start_engine(note_wait_note)
    run = await warm.start(note_wait_note)
    await until_state(warm, run.id, RunState.SUSPENDED)
    await until(lambda: warm.warm_runs == 1)
    await _evict_all(warm)

    await warm.emit_event("go", "x")

    assert await asyncio.wait_for(run.result(), 10) == "beforex"
    assert notes == ["before", "x"]


async def _evict_all(engine: Engine) -> None:
    for execution in list(engine.residents.warm.values()):
        engine.residents.dismiss(execution)
        await execution.evict()


@step()
async def who_acts() -> str:
    return current_principal().id


@workflow()
async def tells_who_acts() -> str:
    return await who_acts()


async def test_a_run_acts_as_itself_whoever_asked_for_it(start_engine: StartEngine) -> None:
    engine = await start_engine(tells_who_acts)

    with acting_as(Principal(id="ada", kind="person")):
        run = await engine.start(tells_who_acts, started_by="ada")

    assert await asyncio.wait_for(run.result(), 10) == f"run:{run.id}"


@pytest.mark.parametrize("waits", [wait_twice, both_waits])
async def test_closing_takes_what_is_about_to_wait_along(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch, waits: Workflow[[], list[str]]
) -> None:
    """A copy that asks for its suspension just when all are given up once asked again and again, for ever."""
    closing: list[asyncio.Task[None]] = []
    commit = Commits._commit_group

    async def close_and_commit(self: Commits, operations: Sequence[Operation]) -> Sequence[Any]:
        about = OpenWait if waits is wait_twice else Suspend  # one wait takes its run along, of two none does
        if not closing and any(isinstance(operation, about) for operation in operations):
            closing.append(asyncio.create_task(engine.close()))
            await asyncio.sleep(0)  # in which it gives up all copies
        return await commit(self, operations)

    monkeypatch.setattr(Commits, "_commit_group", close_and_commit)
    engine = await start_engine(waits)
    run = await engine.start(waits)
    await until(lambda: closing)
    await asyncio.wait_for(closing[0], 10)

    other = await start_engine(waits)
    await other.emit_event("news", "one")
    await other.emit_event("news", "two")
    assert await asyncio.wait_for(other.wait_for_completion(run.id), 10) == '["one","two"]'
