"""A branch that is given up by a ``gather``, ``race`` or ``timeout``: what it shields is ended, what it did is undone."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.workflows.conftest import until
from tests.workflows.notes import note, notes
from toolkit.testing import Process, crash_everywhere, running_process
from toolkit.workflows import (
    RunFilter,
    RunState,
    Workflow,
    check_cancellation,
    compensation,
    gather,
    race,
    shield,
    step,
    suspend,
    timeout,
    wait_for_event,
    workflow,
)
from toolkit.workflows.replays import read_run


@step()
async def book(what: str) -> str:
    notes.append(f"book {what}")
    return what


@step()
async def unbook(what: str) -> None:
    notes.append(f"unbook {what}")


@step()
async def fail() -> None:
    raise ValueError("on purpose")


async def trip() -> str:
    async with compensation() as undo:
        undo(unbook, await book("flight"))
        undo(unbook, await book("hotel"))
        await wait_for_event("confirmed")
    return "booked"


async def nap() -> str:
    await suspend(interval=60)
    return "rested"


async def fail_later() -> None:
    await suspend(interval=60)
    await fail()


@workflow()
async def limited() -> str:
    try:
        return await timeout(trip(), timedelta(minutes=1))
    except TimeoutError:
        return await note("too late")


@workflow()
async def raced() -> str:
    return await note(await race(trip(), nap()))


@workflow()
async def gathered() -> str:
    try:
        await gather(trip(), fail_later())
    except ValueError:
        return await note("failed")
    return "all went well"


@workflow()
async def deep() -> str:
    """The branch that is given up has branches of its own."""
    return await note(await race(side_by_side(), nap()))


async def side_by_side() -> str:
    await gather(trip(), wait_for_event("never"))
    return "all went well"


@pytest.mark.parametrize(
    ("given_up", "result"),
    [(limited, "too late"), (raced, "rested"), (gathered, "failed"), (deep, "rested")],
    ids=["limited", "raced", "gathered", "deep"],
)
async def test_what_a_branch_did_is_undone_when_it_is_given_up(
    database_url: str, given_up: Workflow[[], str], result: str
) -> None:
    async with running_process(database_url, given_up) as process:
        run = await process.start(given_up)

        assert await process.result(run) == result
        assert notes == ["book flight", "book hotel", "unbook hotel", "unbook flight", result]
        await process.check_replay(run)


async def test_a_block_that_ended_well_before_its_branch_was_given_up_is_not_undone(database_url: str) -> None:
    async def trip_and_wait() -> str:
        booking = await trip()
        await wait_for_event("never")
        return booking

    @workflow()
    async def raced_after_the_block() -> str:
        return await race(trip_and_wait(), nap())

    async with running_process(database_url, raced_after_the_block) as process:
        run = await process.start(raced_after_the_block)
        await process.engine.emit_event("confirmed")

        assert await process.result(run) == "rested"
        assert notes == ["book flight", "book hotel"]
        await process.check_replay(run)


# A step under way ----------------------------------------------------------------------------------------------------


async def test_a_step_under_way_ends_and_is_undone_when_its_branch_is_given_up(database_url: str) -> None:
    began, may_end = asyncio.Event(), asyncio.Event()

    @step()
    async def book_slowly(what: str) -> str:
        began.set()
        await may_end.wait()
        notes.append(f"book {what}")
        return what

    async def slow_trip() -> str:
        async with compensation() as undo:
            undo(unbook, await book_slowly("flight"))
        return "booked"

    @workflow()
    async def overtaken() -> str:
        return await race(slow_trip(), wait_for_event("enough", payload_type=str))

    async with running_process(database_url, overtaken) as process:
        run = await process.start(overtaken)
        await asyncio.wait_for(began.wait(), 20)
        await process.engine.emit_event("enough", "that took too long")

        async def is_decided() -> bool:
            return any(step.name == "race" for step in (await read_run(process.engine, run.id)).steps)

        await until(is_decided)
        may_end.set()

        assert await process.result(run) == "that took too long"
        assert notes == ["book flight", "unbook flight"]
        await process.check_replay(run)


# Shields -------------------------------------------------------------------------------------------------------------


async def pay() -> str:
    async with shield():
        await note("charged")
        await suspend(interval=3600)
        await note("told everybody")
    return await note("never")


@workflow()
async def limits_a_payment() -> str:
    try:
        return await timeout(pay(), 1)
    except TimeoutError:
        return await note("too late")


async def test_a_shielded_section_of_a_branch_that_is_given_up_runs_to_its_end(database_url: str) -> None:
    async with running_process(database_url, limits_a_payment) as process:
        run = await process.start(limits_a_payment)

        assert await process.result(run) == "too late"
        assert notes == ["charged", "told everybody", "too late"]
        await process.check_replay(run)


@workflow()
async def races_in_a_shield() -> str:
    async with shield():
        return await race(wait_for_event("never", payload_type=str), nap())


async def test_a_shield_around_a_race_keeps_none_of_its_branches(database_url: str) -> None:
    async with running_process(database_url, races_in_a_shield) as process:
        run = await process.start(races_in_a_shield)

        assert await process.result(run) == "rested"


# While it is undone --------------------------------------------------------------------------------------------------


@workflow()
async def refund(what: str) -> None:
    await suspend(interval=3600)
    await unbook(what)


async def refunded_trip() -> str:
    async with compensation() as undo:
        undo(refund, await book("flight"))
        undo(unbook, await book("hotel"))
        await wait_for_event("confirmed")
    return "booked"


@workflow()
async def thorough() -> list[Any]:
    """Races, limits and gathers that give up what takes long to undo; a wait beside it hears the event of another."""
    raced = await race(gather(refunded_trip(), pay()), nap(), wait_for_event("news", payload_type=str))
    try:
        limited: Any = await timeout(refunded_trip(), 5)
    except TimeoutError:
        limited = "too late"
    try:
        await gather(trip(), fail_later())
    except ValueError:
        limited = [limited, "failed"]
    return [raced, limited]


async def test_what_was_awaited_beside_it_takes_no_event_while_a_branch_is_undone(database_url: str) -> None:
    @workflow()
    async def hears_it_later() -> list[str]:
        first = await race(refunded_trip(), nap(), wait_for_event("news", payload_type=str))
        return [first, await wait_for_event("news", payload_type=str)]

    async with running_process(database_url, hears_it_later, refund) as process:
        run = await process.start(hears_it_later)
        await process.advance(120)
        assert notes == ["book flight", "book hotel", "unbook hotel"]
        assert (await process.engine.get_run(run.id)).summary.state is RunState.SUSPENDED
        await process.engine.emit_event("news", "for the second")

        assert await process.result(run) == ["rested", "for the second"]


async def test_a_cancel_does_not_cut_the_undoing_short(database_url: str) -> None:
    @workflow()
    async def is_cancelled_then() -> str:
        return await race(refunded_trip(), nap())

    async with running_process(database_url, is_cancelled_then, refund) as process:
        run = await process.start(is_cancelled_then)
        await process.advance(120)
        await process.engine.cancel(run.id)

        assert (await process.finish(run)).summary.state is RunState.CANCELLED
        assert notes == ["book flight", "book hotel", "unbook hotel", "unbook flight"]


async def test_a_crash_at_any_commit_goes_on_with_the_undoing(database_url: str) -> None:
    done: Counter[str] = Counter()
    done.update(["book", "book", "unbook", "unbook"] * 3)

    async def play(process: Process, key: str) -> str:
        run = await process.start(thorough, idempotency_key=key)
        result = await process.result(run)
        assert result == ["rested", ["too late", "failed"]], key
        await process.check_replay(run)
        steps = [step for step in (await read_run(process.engine, run.id)).steps if step.name in done]
        children = await process.engine.list_runs(RunFilter(parent_id=run.id))
        names = Counter([*(step.name for step in steps), *("unbook" for _ in children)])
        assert names == done, key
        return key

    played = await crash_everywhere(play, database_url, thorough, refund, every=3)

    assert len(played) > 20


async def test_a_fork_from_a_step_beside_it_does_not_keep_what_was_undone(database_url: str) -> None:
    @step()
    async def confirm() -> str:
        notes.append("confirm")
        if notes.count("confirm") == 1:
            raise ValueError("busy")
        return "confirmed"

    async def confirm_later() -> str:
        await suspend(interval=60)
        return await confirm()

    async def short_trip() -> str:
        async with compensation() as undo:
            undo(unbook, await book("flight"))
            await suspend(interval=120)
            await fail()
        return "booked"

    @workflow()
    async def forked() -> str:
        try:
            await gather(short_trip(), confirm_later())
        except ValueError as error:
            return str(error)
        return "all went well"

    async with running_process(database_url, forked) as process:
        run = await process.start(forked)
        assert await process.result(run) == "busy"

        fork = await process.engine.control.fork(run.id, from_step="gather.0/1/confirm/0")
        await process.finish(fork.run_id)

        assert (await process.engine.get_run(fork.run_id)).result == '"on purpose"'
        assert notes == ["book flight", "confirm", "unbook flight", "confirm", "unbook flight"]


async def pay_slowly() -> str:
    async with shield():
        await note("charged")
        await suspend(interval=3600)
        await note("told everybody")
    return "paid"


async def test_a_look_for_a_cancel_on_the_way_back_to_a_shield_is_not_the_end_of_its_branch(database_url: str) -> None:
    async def look() -> None:
        await note("looked")
        check_cancellation()

    async def look_and_pay() -> str:
        await gather(look(), suspend(interval=1))
        return await pay_slowly()

    @workflow()
    async def looks_before_it_pays() -> str:
        return await race(look_and_pay(), nap())

    async with running_process(database_url, looks_before_it_pays) as first:
        run = await first.start(looks_before_it_pays)
        await first.advance(120)
        await first.kill()
        async with running_process(database_url, looks_before_it_pays, clock=first.clock) as second:
            assert (await second.finish(run.id)).result == '"rested"'
    assert notes == ["looked", "charged", "told everybody"]


async def test_a_branch_is_undone_although_the_winner_hears_of_a_cancel_on_a_replay(database_url: str) -> None:
    async def looks() -> str:
        await wait_for_event("go")
        check_cancellation()
        return "looked"

    @workflow()
    async def won_by_one_that_looks() -> str:
        return await race(pay_slowly(), looks())

    async with running_process(database_url, won_by_one_that_looks) as first:
        run = await first.start(won_by_one_that_looks)
        await first.engine.emit_event("go")
        await first.settle()
        await first.engine.cancel(run.id)
        await first.settle()
        await first.kill()
        async with running_process(database_url, won_by_one_that_looks, clock=first.clock) as second:
            assert (await second.finish(run.id)).summary.state is RunState.CANCELLED
    assert notes == ["charged", "told everybody"]
