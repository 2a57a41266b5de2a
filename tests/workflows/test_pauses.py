"""A paused run begins nothing; what comes for it meanwhile is kept, and it goes on where it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.errors import NotFound, RunStateError
from toolkit.storage import Query, Script, both
from toolkit.workflows import (
    Engine,
    RunFilter,
    RunState,
    Workflow,
    continue_as_new,
    emit_event,
    gather,
    message,
    patched,
    shield,
    step,
    suspend,
    wait_for_event,
    workflow,
)

began: list[str] = []
gates: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def nothing_began() -> None:
    began.clear()
    gates.clear()


@step()
async def pass_gate(name: str) -> str:
    began.append(name)
    await gates.setdefault(name, asyncio.Event()).wait()
    return name


@workflow()
async def two_gates() -> list[str]:
    return [await pass_gate("first"), await pass_gate("second")]


@workflow()
async def hear_news() -> str:
    heard: str = await wait_for_event("news", payload_type=str)
    return heard


@workflow()
async def side_by_side() -> list[str]:
    return list(await gather(two_in_a_row("a"), two_in_a_row("b")))


async def two_in_a_row(name: str) -> str:
    return await pass_gate(f"{name}1") + await pass_gate(f"{name}2")


@workflow()
async def nap() -> str:
    await suspend(interval=0.05)
    return "rested"


async def test_a_running_run_stops_after_the_step_under_way_and_goes_on_after_it(start_engine: StartEngine) -> None:
    engine = await start_engine(two_gates)
    run = await engine.start(two_gates)
    await until(lambda: began == ["first"])

    standing = await engine.control.pause(run.id, by="ada")
    gates["first"].set()
    await until_state(engine, run.id, RunState.SUSPENDED)
    paused = (await engine.get_run(run.id)).summary
    kept = [step.path for step in await engine.list_steps(run.id)]
    began_by_then = list(began)
    gates["second"] = asyncio.Event()
    gates["second"].set()
    await engine.control.resume(run.id)

    assert await asyncio.wait_for(run.result(), 10) == ["first", "second"]
    assert standing.is_changed
    assert (paused.paused_at is not None, paused.paused_by) == (True, "ada")
    assert kept == ["pass_gate/0"]
    assert began_by_then == ["first"]
    assert began == ["first", "second"]


@workflow()
async def gate_then_line() -> None:
    await pass_gate("first")
    await message("through the gate")


@workflow()
async def gate_then_shield() -> None:
    await pass_gate("first")
    async with shield():
        pass


@workflow()
async def gate_then_event() -> None:
    await pass_gate("first")
    await emit_event("passed")


@workflow()
async def gate_then_patch() -> None:
    await pass_gate("first")
    await patched("afterwards")


@pytest.mark.parametrize("paused", [gate_then_line, gate_then_shield, gate_then_event, gate_then_patch])
async def test_a_paused_run_puts_nothing_more_on_record(start_engine: StartEngine, paused: Workflow[[], None]) -> None:
    engine = await start_engine(paused)
    run = await engine.start(paused)
    await until(lambda: began == ["first"])

    await engine.control.pause(run.id)
    gates["first"].set()
    await until_state(engine, run.id, RunState.SUSPENDED)
    by_then = [step.path for step in await engine.list_steps(run.id)]
    await engine.control.resume(run.id)
    await asyncio.wait_for(run.result(), 10)

    assert by_then == ["pass_gate/0"]
    assert len(await engine.list_steps(run.id)) == 2


async def test_another_process_pauses_and_resumes_a_run(start_engine: StartEngine) -> None:
    owner = await start_engine(two_gates, poll_seconds=0.05)
    other = await start_engine(two_gates, is_worker=False)
    run = await owner.start(two_gates)
    await until(lambda: began == ["first"])

    await other.control.pause(run.id)
    await until(lambda: owner.residents.running[run.id].is_pausing)
    gates["first"].set()
    await until_state(owner, run.id, RunState.SUSPENDED)
    gates["second"] = asyncio.Event()
    gates["second"].set()
    await other.control.resume(run.id)

    assert await asyncio.wait_for(run.result(), 10) == ["first", "second"]


async def test_a_paused_run_goes_on_in_a_process_that_replays_it(start_engine: StartEngine) -> None:
    first = await start_engine(two_gates)
    run = await first.start(two_gates)
    await until(lambda: began == ["first"])
    await first.control.pause(run.id)
    gates["first"].set()
    await until_state(first, run.id, RunState.SUSPENDED)
    await first.close()
    second = await start_engine(two_gates)
    await until(lambda: second.is_healthy)

    gates["second"] = asyncio.Event()
    gates["second"].set()
    assert began == ["first"]
    await second.control.resume(run.id)

    assert await asyncio.wait_for(second.wait_for_completion(run.id), 10) == '["first","second"]'
    assert began == ["first", "second"]


@workflow()
async def long_nap() -> str:
    await suspend(interval=3600)
    return "rested"


async def let_an_hour_pass(engine: Engine) -> None:
    """For the timers on record, and nothing else."""
    past = engine.runtime.clock.now() - timedelta(seconds=1)

    def write() -> Script[None]:
        for table, column in (("toolkit_run", "due_at"), ("toolkit_wait", "deadline_at")):
            yield Query(both("turn back", f"UPDATE {table} SET {column} = $1 WHERE {column} IS NOT NULL"), [past])

    await engine.run_script(write())


async def test_every_branch_of_a_paused_run_stops(start_engine: StartEngine) -> None:
    engine = await start_engine(side_by_side)
    run = await engine.start(side_by_side)
    await until(lambda: sorted(began) == ["a1", "b1"])

    await engine.control.pause(run.id)
    gates["a1"].set()
    await until(lambda: engine.list_steps(run.id))
    gates["b1"].set()
    await until_state(engine, run.id, RunState.SUSPENDED)
    began_by_then = sorted(began)
    for name in ("a2", "b2"):
        gates[name] = asyncio.Event()
        gates[name].set()
    await engine.control.resume(run.id)

    assert await asyncio.wait_for(run.result(), 10) == ["a1a2", "b1b2"]
    assert began_by_then == ["a1", "b1"]


async def test_a_pause_that_ends_before_all_branches_have_stopped_lets_them_go_on(start_engine: StartEngine) -> None:
    engine = await start_engine(side_by_side, poll_seconds=0.05)
    run = await engine.start(side_by_side)
    await until(lambda: sorted(began) == ["a1", "b1"])

    await engine.control.pause(run.id)
    gates["a1"].set()
    await until(lambda: engine.residents.running[run.id].wakes_at is not None)  # branch a is held up
    await engine.control.resume(run.id)
    await until(lambda: "a2" in began)
    for name in ("b1", "a2", "b2"):
        gates.setdefault(name, asyncio.Event()).set()

    assert await asyncio.wait_for(run.result(), 10) == ["a1a2", "b1b2"]


async def test_an_event_for_a_paused_run_is_kept_and_delivered_when_it_is_resumed(start_engine: StartEngine) -> None:
    engine = await start_engine(hear_news)
    run = await engine.start(hear_news)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.control.pause(run.id)

    await engine.emit_event("news", "good")
    await until(lambda: engine.list_steps(run.id))
    state = (await engine.get_run(run.id)).summary.state
    await engine.control.resume(run.id)

    assert state is RunState.SUSPENDED
    assert await asyncio.wait_for(run.result(), 10) == "good"


async def test_a_timer_that_falls_due_in_a_pause_goes_off_after_it(start_engine: StartEngine) -> None:
    engine = await start_engine(long_nap, nap, poll_seconds=0.02)
    run = await engine.start(long_nap)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.control.pause(run.id)
    await let_an_hour_pass(engine)
    await (await engine.start(nap)).result()  # whatever is due is claimed before this
    before = (await engine.get_run(run.id)).summary.state

    await engine.control.resume(run.id)

    assert await asyncio.wait_for(run.result(), 10) == "rested"
    assert before is RunState.SUSPENDED


async def test_a_run_that_was_not_begun_yet_waits_for_the_end_of_its_pause(start_engine: StartEngine) -> None:
    outside = await start_engine(nap, is_worker=False)
    run = await outside.start(nap)
    await outside.control.pause(run.id)
    worker = await start_engine(nap, poll_seconds=0.02)
    await until(lambda: worker.is_healthy)
    before = (await outside.get_run(run.id)).summary.state

    await worker.control.resume(run.id)

    assert before is RunState.PENDING
    assert await asyncio.wait_for(worker.wait_for_completion(run.id), 10) == '"rested"'


async def test_a_paused_run_can_be_cancelled(start_engine: StartEngine) -> None:
    engine = await start_engine(two_gates)
    run = await engine.start(two_gates)
    await until(lambda: began == ["first"])
    await engine.control.pause(run.id)
    gates["first"].set()
    await until_state(engine, run.id, RunState.SUSPENDED)

    assert await engine.cancel(run.id) is RunState.CANCELLED
    assert began == ["first"]


async def test_a_cancel_reaches_a_branch_that_a_pause_holds_up(start_engine: StartEngine) -> None:
    engine = await start_engine(side_by_side)
    run = await engine.start(side_by_side)
    await until(lambda: sorted(began) == ["a1", "b1"])
    await engine.control.pause(run.id)
    gates["a1"].set()
    await until(lambda: engine.residents.running[run.id].wakes_at is not None)

    await engine.cancel(run.id)
    gates["b1"].set()

    await until_state(engine, run.id, RunState.CANCELLED)
    assert sorted(began) == ["a1", "b1"]


@workflow()
async def rounds(number: int) -> int:
    await pass_gate(f"round {number}")
    if number < 3:
        continue_as_new(number + 1)
    return number


async def test_a_pause_holds_up_the_run_that_goes_on_in_place_of_a_paused_one(start_engine: StartEngine) -> None:
    engine = await start_engine(rounds, poll_seconds=0.02)
    run = await engine.start_json("rounds", {"number": 1}, tags=["kept"])
    await until(lambda: began == ["round 1"])
    await engine.control.pause(run.id, by="ada")
    gates["round 1"].set()
    await until(lambda: engine.list_runs(RunFilter(is_paused=True, states=[RunState.PENDING])))
    (successor,) = await engine.list_runs(RunFilter(is_paused=True, states=[RunState.PENDING]))
    for name in ("round 2", "round 3"):
        gates[name] = asyncio.Event()
        gates[name].set()

    await engine.control.resume(run.id)  # the one that goes on is meant

    assert await asyncio.wait_for(run.result(), 10) == 3
    assert (successor.paused_by, successor.tags) == ("ada", ("kept",))
    assert began == ["round 1", "round 2", "round 3"]


async def test_pausing_twice_and_resuming_twice_is_as_good_as_once(start_engine: StartEngine) -> None:
    engine = await start_engine(hear_news)
    run = await engine.start(hear_news)

    first, second = await engine.control.pause(run.id, by="ada"), await engine.control.pause(run.id, by="bob")
    summary = (await engine.get_run(run.id)).summary
    third, fourth = await engine.control.resume(run.id), await engine.control.resume(run.id)

    assert [each.is_changed for each in (first, second, third, fourth)] == [True, False, True, False]
    assert summary.paused_by == "ada"


async def test_what_has_ended_or_never_was_is_not_paused(start_engine: StartEngine) -> None:
    engine = await start_engine(nap)
    run = await engine.start(nap)
    await asyncio.wait_for(run.result(), 10)

    with pytest.raises(RunStateError, match="'succeeded' and cannot become 'paused'"):
        await engine.control.pause(run.id)
    with pytest.raises(RunStateError):
        await engine.control.resume(run.id)
    with pytest.raises(NotFound):
        await engine.control.pause("unknown")
