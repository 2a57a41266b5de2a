"""The code changes while runs are under way: what they notice, and what their authors can say about it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel

from tests.workflows.conftest import StartEngine, deploy, finished, until, until_state
from tests.workflows.editions import branches_1, pay_1, pay_2, ship_1, ship_2
from tests.workflows.notes import note, notes
from toolkit.workflows import (
    RunHandle,
    RunState,
    Upcaster,
    Workflow,
    check_live_runs,
    race,
    read_run,
    replay,
    step,
    wait_for_event,
    workflow,
)


@step(name="note")
async def note_twice(text: str, times: int) -> str:
    notes.append(text * times)
    return text * times


# race ----------------------------------------------------------------------------------------------------------------


async def answer(name: str) -> str:
    await wait_for_event(name)
    return name


@workflow(name="ask")
async def ask_three() -> str:
    first = await race(answer("a"), answer("b"), answer("c"))
    await wait_for_event("go")
    return first


@workflow(name="ask")
async def ask_two() -> str:
    first = await race(answer("a"), answer("b"))
    await wait_for_event("go")
    return first


async def test_a_race_that_lost_its_winner_parks_the_run_until_the_code_has_it_again(
    start_engine: StartEngine,
) -> None:
    old = await start_engine(ask_three)
    run = await old.start(ask_three)
    await old.emit_event("c")
    await until_state(old, run.id, RunState.SUSPENDED)

    async def is_over() -> bool:
        return any(step.name == "race" for step in await old.list_steps(run.id))

    await until(is_over)
    new = await deploy(start_engine, old, ask_two)
    await new.emit_event("go")
    await until_state(new, run.id, RunState.PARKED)
    error = (await new.get_run(run.id)).error or ""
    assert "the code no longer matches the journal of this run" in error
    assert "3 or more" in error

    mended = await deploy(start_engine, new, ask_three)
    await mended.control.release(run.id)
    assert await finished(mended, run.id) == '"c"'


# Mismatches ----------------------------------------------------------------------------------------------------------


class Order(BaseModel):
    number: int
    lines: list[str]


@step()
async def book(order: Order) -> int:
    return order.number


def booking(*lines: str) -> Workflow[[], int]:
    @workflow(name="booking")
    async def booking() -> int:
        number = await book(Order(number=1, lines=list(lines)))
        await wait_for_event("go")
        return number

    return booking


async def test_a_mismatch_parks_the_run_and_shows_what_differs(start_engine: StartEngine) -> None:
    before, after = booking("a", "b"), booking("a", "c", "d")
    old = await start_engine(before)
    run = await old.start(before)
    await until_state(old, run.id, RunState.SUSPENDED)

    new = await deploy(start_engine, old, after)
    await new.emit_event("go")
    await until_state(new, run.id, RunState.PARKED)

    error = str((await new.get_run(run.id)).error)
    for line in (
        "the code no longer matches the journal of this run",
        "at:       book/0",
        'order.lines[1]: recorded \\"b\\", now \\"c\\"',
        'order.lines[2]: recorded nothing, now \\"d\\"',
        "guard the change with patched",
    ):
        assert line in error
    assert "lines[0]" not in error


@workflow(name="turn")
async def turn_1() -> None:
    await wait_for_event("decision")


@step(name="decision")
async def decision() -> str:
    notes.append("decided")
    return "yes"


@workflow(name="turn")
async def turn_2() -> str:
    return await decision()


async def test_a_step_where_a_wait_is_open_parks_the_run_and_is_not_performed(start_engine: StartEngine) -> None:
    old = await start_engine(turn_1)
    run = await old.start(turn_1)
    await until_state(old, run.id, RunState.SUSPENDED)

    new = await deploy(start_engine, old, turn_2)
    await new.emit_event("decision")
    await until_state(new, run.id, RunState.PARKED)

    assert "recorded: wait 'decision'" in str((await new.get_run(run.id)).error)
    assert notes == []


@workflow(name="pay")
async def pay_3() -> list[str]:
    return [str(await wait_for_event("go"))]


async def test_a_run_that_ends_without_asking_for_a_recorded_step_is_a_warning(
    start_engine: StartEngine, caplog: pytest.LogCaptureFixture
) -> None:
    old = await start_engine(pay_1)
    run = await old.start(pay_1)
    await until_state(old, run.id, RunState.SUSPENDED)
    new = await deploy(start_engine, old, pay_3)

    with caplog.at_level(logging.WARNING, "toolkit.workflows"):
        await new.emit_event("go", "b", run_id=run.id)
        assert await finished(new, run.id) == '["b"]'
        await until(lambda: caplog.records)

    assert [record.__dict__["paths"] for record in caplog.records if "paths" in record.__dict__] == [["note/0"]]


# Upcasters -----------------------------------------------------------------------------------------------------------


class Price(BaseModel):
    amount: int
    currency: str


class Bare(BaseModel):
    amount: int


@step(name="price")
async def price_1(item: str) -> Bare:
    return Bare(amount=7)


@step(name="price")
async def price_2(item: str, shop: str) -> Price:
    return Price(amount=8, currency="EUR")


@workflow(name="buy", version="1")
async def buy_1(item: str) -> Bare:
    price = await price_1(item)
    await wait_for_event("go")
    return price


def with_currency(old: dict[str, Any]) -> dict[str, Any]:
    return {"currency": "GBP", **old}


def buy_now(*upcasters: Upcaster) -> Workflow[..., Price]:
    @workflow(name="buy", version="1", upcasters=upcasters)
    async def buy(item: str, shop: str) -> Price:
        price = await price_2(item, shop)
        await wait_for_event("go")
        return price

    return buy


_UPCASTERS = (
    Upcaster(function=lambda old: {"shop": "corner", **old}, input=True, arguments_of=["price"], versions=["1"]),
    Upcaster(function=with_currency, results_of=["price"], output=True),
    Upcaster(function=lambda old: {"never": "used"}, results_of=["price"], versions=["2"]),
)


async def test_payloads_of_older_code_are_brought_up_to_date_before_they_are_read(start_engine: StartEngine) -> None:
    old = await start_engine(buy_1)
    run = await old.start(buy_1, "apple")
    await until_state(old, run.id, RunState.SUSPENDED)

    buy = buy_now(*_UPCASTERS)
    new = await deploy(start_engine, old, buy)
    await new.emit_event("go", run_id=run.id)

    assert await finished(new, run.id) == '{"amount":7,"currency":"GBP"}'


async def test_the_result_of_a_run_of_older_code_is_read_in_todays_type(start_engine: StartEngine) -> None:
    old = await start_engine(buy_1)
    run = await old.start(buy_1, "apple", idempotency_key="k")
    await old.emit_event("go", run_id=run.id)
    await finished(old, run.id)
    buy = buy_now(*_UPCASTERS)
    new = await deploy(start_engine, old, buy)

    again = await new.start_json("buy", {"item": "apple", "shop": "x"}, idempotency_key="other")
    await new.cancel(again.id)

    handle = type(again)(new, run.id, buy)
    assert await handle.result() == Price(amount=7, currency="GBP")


@pytest.mark.parametrize(
    ("upcasters", "words"),
    [
        (_UPCASTERS[:1], "the result of the step at price/0 cannot be read any more"),
        (_UPCASTERS[1:], "the input of the run cannot be read any more"),
        (
            (_UPCASTERS[0], Upcaster(function=lambda old: old["missing"], results_of=["price"])),
            "error:    KeyError: 'missing'",
        ),
    ],
    ids=["result", "input", "upcaster"],
)
async def test_what_cannot_be_read_parks_the_run_and_says_what_to_do(
    start_engine: StartEngine, upcasters: tuple[Upcaster, ...], words: str
) -> None:
    old = await start_engine(buy_1)
    run = await old.start(buy_1, "apple")
    await until_state(old, run.id, RunState.SUSPENDED)

    new = await deploy(start_engine, old, buy_now(*upcasters))
    await new.emit_event("go", run_id=run.id)
    await until_state(new, run.id, RunState.PARKED)

    assert words in str((await new.get_run(run.id)).error)


# Replays -------------------------------------------------------------------------------------------------------------

tosses: list[None] = []


def is_heads() -> bool:
    """What a workflow may not ask for: it differs from call to call."""
    tosses.append(None)
    return len(tosses) % 2 == 1


@workflow()
async def toss() -> str:
    return await note("heads" if is_heads() else "tails")


@step()
async def tails() -> str:
    return "tails"


@workflow()
async def toss_names() -> str:
    return await note("heads") if is_heads() else await tails()


@pytest.mark.parametrize(
    ("which", "words"),
    [(toss, 'recorded "heads", now "tails"'), (toss_names, "asked for, not on record:     tails/0")],
)
async def test_a_finished_run_is_replayed_at_once_and_hidden_nondeterminism_shows(
    start_engine: StartEngine, caplog: pytest.LogCaptureFixture, which: Workflow[[], str], words: str
) -> None:
    tosses.clear()
    engine = await start_engine(which, pay_2, replays_finished=True)

    with caplog.at_level(logging.ERROR, "toolkit.workflows"):
        sound = await engine.start(pay_2)
        await engine.emit_event("go", run_id=sound.id)
        await finished(engine, sound.id)
        run = await engine.start(which)
        await finished(engine, run.id)
        await until(lambda: caplog.records)

    (record,) = caplog.records
    assert record.__dict__["run_id"] == run.id
    assert words in record.getMessage()
    assert notes == ["a", "check", "late check", "again", "b", "heads"]  # nothing was done again


async def test_a_replay_of_a_live_run_says_where_it_stands(start_engine: StartEngine) -> None:
    engine = await start_engine(branches_1)
    run = await engine.start(branches_1)
    await until_state(engine, run.id, RunState.SUSPENDED)

    found = await replay(await read_run(engine, run.id), branches_1, engine=engine)

    assert found.verdict == "goes on"
    assert sorted(found.waiting) == ["gather.0/0/x/0", "gather.0/1/y/0"]
    assert not found.beyond
    assert notes == ["x", "y"]


async def test_live_runs_that_new_code_would_break_are_found_without_touching_them(start_engine: StartEngine) -> None:
    before, after = booking("a"), booking("b")
    old = await start_engine(before, pay_1, ship_1, turn_1)
    runs: dict[str, RunHandle[Any]] = {
        "broken": await old.start(before),
        "patched": await old.start(pay_1),
        "unknown": await old.start(ship_1),
        "moved": await old.start(turn_1),
    }
    for run in runs.values():
        await until_state(old, run.id, RunState.SUSPENDED)

    @workflow(name="turn")
    async def turn_without_a_question() -> None: ...

    new = await deploy(start_engine, old, after, pay_2, ship_2, turn_without_a_question, is_worker=False)
    before_check = [await new.get_run(run.id) for run in runs.values()]
    found = {replay.run_id: replay async for replay in check_live_runs(new)}

    verdicts = {name: found[run.id].verdict for name, run in runs.items()}
    assert verdicts == {"broken": "breaks", "patched": "goes on", "unknown": "breaks", "moved": "doubtful"}
    assert "there is no workflow 'ship 1'" in str(found[runs["unknown"].id].fault)
    assert list(found[runs["moved"].id].unread) == ["decision/0"]
    assert [await new.get_run(run.id) for run in runs.values()] == before_check
