"""What a run does about its own cancel: shields, looks, clean-up, undoing, deadlines."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from tests.workflows.notes import note, notes
from toolkit.errors import CompensationFailed, RunFailed
from toolkit.workflows import (
    CancelledRun,
    RunState,
    check_cancellation,
    compensation,
    gather,
    shield,
    step,
    suspend,
    wait_for_event,
    workflow,
)


@workflow()
async def finishes_what_it_began() -> None:
    async with shield():
        await note("paid")
        await wait_for_event("receipt")
        await note("receipt filed")
    await note("never")


async def test_a_shielded_section_runs_to_its_end_though_it_waits_when_the_cancel_comes(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(finishes_what_it_began)
    run = await engine.start(finishes_what_it_began)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.cancel(run.id, reason="changed our mind", by="ada")
    await engine.emit_event("receipt")

    await until_state(engine, run.id, RunState.CANCELLED)
    assert notes == ["paid", "receipt filed"]


async def test_a_shielded_section_holds_in_another_process(start_engine: StartEngine) -> None:
    engine = await start_engine(finishes_what_it_began)
    run = await engine.start(finishes_what_it_began)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.close()
    second = await start_engine(finishes_what_it_began)

    await second.cancel(run.id)
    await second.emit_event("receipt")

    await until_state(second, run.id, RunState.CANCELLED)
    assert notes == ["paid", "receipt filed"]


@workflow()
async def shields_one_branch() -> None:
    await gather(wait_for_event("never"), shielded())


async def shielded() -> None:
    async with shield():
        await note("begun")
        await wait_for_event("go")
        await note("ended")


async def test_a_shield_holds_for_its_own_branch_alone(start_engine: StartEngine) -> None:
    engine = await start_engine(shields_one_branch)
    run = await engine.start(shields_one_branch)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.cancel(run.id)
    await engine.emit_event("go")

    await until_state(engine, run.id, RunState.CANCELLED)
    assert notes == ["begun", "ended"]


began = threading.Event()


@step()
def crunch() -> None:
    began.set()
    while True:
        check_cancellation()
        threading.Event().wait(0.005)


@workflow()
async def crunches() -> None:
    await crunch()


async def test_a_long_step_may_look_for_a_cancel(start_engine: StartEngine) -> None:
    began.clear()
    engine = await start_engine(crunches)
    run = await engine.start(crunches)
    await until(began.is_set)

    await engine.cancel(run.id)

    await until_state(engine, run.id, RunState.CANCELLED)


@step()
async def book(what: str) -> str:
    notes.append(f"book {what}")
    return what


@step(max_retries=0)
async def unbook(what: str) -> None:
    notes.append(f"unbook {what}")
    if what == "stubborn":
        raise OSError("does not answer")


@workflow()
async def books_a_trip(last: str) -> str:
    async with compensation() as undo:
        flight = await book("flight")
        undo(unbook, flight)
        hotel = await book(last)
        undo(unbook, hotel)
        await wait_for_event("paid")
        if last == "stubborn":
            raise ValueError("no money")
    return "booked"


async def test_a_block_that_ends_well_undoes_nothing(start_engine: StartEngine) -> None:
    engine = await start_engine(books_a_trip)
    run = await engine.start(books_a_trip, "hotel")

    await engine.emit_event("paid")

    assert await asyncio.wait_for(run.result(), 10) == "booked"
    assert notes == ["book flight", "book hotel"]


async def test_a_cancelled_run_that_waits_is_woken_to_undo_what_it_did(start_engine: StartEngine) -> None:
    engine = await start_engine(books_a_trip)
    run = await engine.start(books_a_trip, "hotel")
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.close()
    second = await start_engine(books_a_trip)

    await second.cancel(run.id)

    await until_state(second, run.id, RunState.CANCELLED)
    assert notes == ["book flight", "book hotel", "unbook hotel", "unbook flight"]


async def test_every_undo_is_tried_and_those_that_fail_are_named(start_engine: StartEngine) -> None:
    engine = await start_engine(books_a_trip)
    run = await engine.start(books_a_trip, "stubborn")
    await engine.emit_event("paid")

    with pytest.raises(RunFailed) as failed:
        await asyncio.wait_for(run.result(), 10)

    assert isinstance(failed.value.__cause__, CompensationFailed)
    assert failed.value.__cause__.failed == ["unbook: OSError: does not answer"]
    assert notes == ["book flight", "book stubborn", "unbook stubborn", "unbook flight"]


@workflow()
async def tidies_up(cancelled: CancelledRun) -> str:
    return await note(f"{cancelled.arguments['number']} {cancelled.reason} {cancelled.cancelled_by}")


@workflow(on_cancel=tidies_up)
async def may_be_cancelled(number: int) -> None:
    await wait_for_event("never")


async def test_a_clean_up_is_started_with_the_cancel_and_knows_what_was_cancelled(start_engine: StartEngine) -> None:
    engine = await start_engine(may_be_cancelled)
    run = await engine.start(may_be_cancelled, 7)
    await until_state(engine, run.id, RunState.SUSPENDED)

    await engine.cancel(run.id, reason="a duplicate", by="ada")

    await until(lambda: notes == ["7 a duplicate ada"])


def test_a_clean_up_takes_the_cancelled_run() -> None:
    with pytest.raises(TypeError, match="cancelled: CancelledRun"):

        @workflow(on_cancel=crunches)
        async def another() -> None: ...


@workflow(deadline=timedelta(seconds=0.2))
async def has_little_time() -> None:
    await suspend(interval=3600)


async def test_a_run_whose_deadline_has_passed_is_cancelled_and_says_why(start_engine: StartEngine) -> None:
    engine = await start_engine(has_little_time)

    run = await engine.start(has_little_time)

    await until_state(engine, run.id, RunState.CANCELLED)
    assert "deadline" in str((await engine.get_run(run.id)).cancel_reason)
