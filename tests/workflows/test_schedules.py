"""A schedule starts one run for each of its moments, whoever is up, and whatever happens around it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workflows.conftest import StartEngine, until
from toolkit.errors import Conflict, NotFound
from toolkit.storage import Query, Script, both
from toolkit.testing import Crash, Process, VirtualClock, running_process
from toolkit.workflows import (
    Engine,
    RunFilter,
    RunState,
    RunSummary,
    Schedule,
    continue_as_new,
    wait_for_event,
    workflow,
)

START = datetime(2026, 1, 1, 9, tzinfo=UTC)  # a Thursday
HOUR = timedelta(hours=1)


@workflow()
async def report(at: datetime | None = None, note: str = "") -> str:
    return f"{at} {note}"


@workflow()
async def listen(rounds: int = 0) -> None:
    await wait_for_event("over")
    if rounds:
        continue_as_new(rounds - 1)


def hourly(**options: Any) -> Schedule:
    return Schedule("hourly", report, every=HOUR, arguments=lambda moment: {"at": moment}, **options)


def due_at(*hours: float) -> list[datetime]:
    return [START + timedelta(hours=each) for each in hours]


class World:
    """One database and one clock for all processes of a test."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.clock = VirtualClock(START)
        self._stack = stack

    async def open(self, *schedules: Schedule, crash: Crash | None = None, **options: Any) -> Process:
        def prepare(engine: Engine) -> None:
            for schedule in schedules:
                engine.register_schedule(schedule)

        return await self._stack.enter_async_context(
            running_process(self.url, report, listen, clock=self.clock, prepare=prepare, crash=crash, **options)
        )


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(database_url, stack)


async def runs_of(engine: Engine, name: str = "hourly") -> list[RunSummary]:
    """What a schedule has started, in order."""
    return (await engine.list_runs(RunFilter(started_by=f"schedule:{name}"), limit=1000))[::-1]


async def moments_of(engine: Engine, name: str = "hourly") -> list[datetime]:
    """The moments that its runs were told."""
    inputs = [(await engine.get_run(run.id)).input for run in await runs_of(engine, name)]
    return [datetime.fromisoformat(json.loads(text)["at"]) for text in inputs]


# Moments ------------------------------------------------------------------------------------------------------------


async def test_a_run_is_started_at_each_moment_and_told_which_it_is(world: World) -> None:
    process = await world.open(hourly())

    before = await moments_of(process.engine)
    await process.advance(2.5 * HOUR)

    assert before == []
    assert await moments_of(process.engine) == due_at(1, 2)
    (first, second) = await runs_of(process.engine)
    assert {first.state, second.state} == {RunState.SUCCEEDED}
    assert START + HOUR <= first.created_at < START + HOUR + timedelta(seconds=2)
    shown = await process.engine.schedules.get("hourly")
    assert (shown.due_at, shown.last_due_at, shown.last_run_id) == (START + 3 * HOUR, START + 2 * HOUR, second.id)
    assert (shown.workflow, shown.timing, shown.paused_at, shown.is_registered) == (
        "report",
        "every 3600 s",
        None,
        True,
    )


async def test_the_wall_clock_of_a_time_zone_counts_in_summer_and_winter(world: World) -> None:
    world.clock.turn_to(datetime(2026, 3, 27, 12, tzinfo=UTC))
    told: list[datetime] = []

    def arguments(moment: datetime) -> dict[str, Any]:
        told.append(moment)
        return {"at": moment}

    nightly = Schedule("nightly", report, cron="30 2 * * *", timezone="Europe/Berlin", arguments=arguments)
    process = await world.open(nightly)
    await process.advance(timedelta(days=3))
    world.clock.turn_to(datetime(2026, 10, 23, 12, tzinfo=UTC))
    told.clear()
    await process.engine.schedules.pause("nightly")
    await process.engine.schedules.resume("nightly")
    await process.advance(timedelta(days=3))

    assert [moment.strftime("%m-%d %H:%M %Z") for moment in told] == [
        "10-24 02:30 CEST",
        "10-25 02:30 CEST",
        "10-26 02:30 CET",
    ]
    assert [moment.astimezone(UTC).strftime("%m-%d %H:%M") for moment in await moments_of(process.engine, "nightly")][
        :3
    ] == [
        "03-28 01:30",
        "03-29 01:00",  # the clock shows 03:00: 02:30 is skipped
        "03-30 00:30",
    ]


async def test_fixed_arguments_and_none_are_those_of_every_run(world: World) -> None:
    fixed = Schedule("fixed", report, every=HOUR, arguments={"note": "hello"})
    process = await world.open(fixed, Schedule("bare", report, every=HOUR))

    await process.advance(1.5 * HOUR)

    (run,) = await runs_of(process.engine, "fixed")
    assert json.loads((await process.engine.get_run(run.id)).input) == {"note": "hello"}
    (run,) = await runs_of(process.engine, "bare")
    assert json.loads((await process.engine.get_run(run.id)).input) == {}


async def test_processes_side_by_side_start_one_run_for_a_moment(world: World) -> None:
    first, second = await world.open(hourly()), await world.open(hourly())
    await asyncio.gather(first.settle(), second.settle())

    for _ in range(5):
        world.clock.turn(HOUR)
        await asyncio.gather(first.settle(), second.settle())

    assert await moments_of(first.engine) == due_at(1, 2, 3, 4, 5)


async def test_engines_on_the_time_of_the_machine_start_one_run_for_a_moment(start_engine: StartEngine) -> None:
    daily = Schedule("daily", report, cron="0 0 * * *")
    engines = [await start_engine(poll_seconds=0.02) for _ in range(3)]
    for engine in engines:
        engine.register_schedule(daily)
    await until(engines[0].schedules.list)
    long_ago = engines[0].runtime.clock.now() - timedelta(hours=30)

    def write() -> Script[None]:
        yield Query(both("turn back", "UPDATE toolkit_schedule SET due_at = $1"), [long_ago])

    await engines[0].run_script(write())

    async def has_moved() -> bool:
        shown = await engines[0].schedules.get("daily")
        return shown.due_at > engines[0].runtime.clock.now()

    await until(has_moved)
    for engine in engines:
        await engine.settle()
    (run,) = await runs_of(engines[0], "daily")
    assert (await engines[0].schedules.get("daily")).last_run_id == run.id


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_around_any_commit_loses_no_moment_and_starts_none_twice(
    world: World, when: Any, number: int
) -> None:
    first = await world.open(hourly(), crash=Crash(when, number))
    working = asyncio.ensure_future(first.advance(1.5 * HOUR))
    crashing = asyncio.ensure_future(first.has_crashed.wait())
    await asyncio.wait([working, crashing], return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    crashing.cancel()
    await first.kill()
    world.clock.turn_to(START + 1.5 * HOUR)

    second = await world.open(hourly())
    await second.settle()
    await second.advance(HOUR)

    found = await moments_of(second.engine)
    # A process that crashed before the row was there has left nothing to make up for.
    assert found in (due_at(1, 2), due_at(2))
    assert len(found) == 2 or number == 1


# Downtime -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("catch_up", "down", "expected"),
    [
        ("latest", 24.5 * HOUR, due_at(24)),
        ("none", 24.5 * HOUR, []),
        ("none", 24 * HOUR + timedelta(seconds=30), due_at(24)),
        ("all", 24.5 * HOUR, due_at(*range(1, 25))),
        ("latest", timedelta(days=400), due_at(400 * 24)),
        ("none", timedelta(days=400, minutes=2), []),
    ],
)
async def test_what_was_missed_while_everything_was_down_is_made_up_for_as_the_schedule_says(
    world: World, catch_up: Any, down: timedelta, expected: list[datetime]
) -> None:
    first = await world.open(hourly(catch_up=catch_up))
    await first.settle()
    await first.close()
    world.clock.turn_to(START + down)

    second = await world.open(hourly(catch_up=catch_up))
    await second.settle()
    caught_up = await moments_of(second.engine)
    await second.advance(HOUR)

    assert caught_up == expected
    assert len(await moments_of(second.engine)) == len(expected) + 1


async def test_more_moments_than_one_commit_takes_are_made_up_for_in_order(world: World) -> None:
    first = await world.open(hourly(catch_up="all"))
    await first.settle()
    await first.close()
    world.clock.turn(timedelta(days=12))

    second = await world.open(hourly(catch_up="all"))
    await second.settle()

    assert await moments_of(second.engine) == due_at(*range(1, 12 * 24 + 1))


# Overlap ------------------------------------------------------------------------------------------------------------


async def test_a_moment_gets_no_run_while_the_last_one_is_not_over(world: World) -> None:
    watch = Schedule("watch", listen, every=HOUR, overlap="skip")
    process = await world.open(watch, Schedule("watches", listen, every=HOUR))

    await process.advance(3.5 * HOUR)
    held_up = await runs_of(process.engine, "watch")
    await process.engine.emit_event("over")
    await process.settle()
    await process.advance(HOUR)

    assert len(held_up) == 1
    assert len(await runs_of(process.engine, "watch")) == 2
    assert len(await runs_of(process.engine, "watches")) == 4


async def test_a_run_that_went_on_as_another_is_over_when_that_one_is(world: World) -> None:
    process = await world.open(Schedule("watch", listen, every=HOUR, overlap="skip", arguments={"rounds": 2}))
    counts = []

    await process.advance(1.5 * HOUR)
    (run,) = await runs_of(process.engine, "watch")
    for _ in range(3):
        await process.engine.emit_event("over")
        await process.settle()
        await process.advance(HOUR)
        ids = {each.id for each in await runs_of(process.engine, "watch")}
        continued = [each for each in ids if (await process.engine.get_run(each)).continued_from is not None]
        counts.append(len(ids) - len(continued))

    assert (await process.engine.get_run(run.id)).continued_as is not None
    assert counts == [1, 1, 2]


# What operators do --------------------------------------------------------------------------------------------------


async def test_a_paused_schedule_starts_nothing_and_makes_up_for_nothing(world: World) -> None:
    process = await world.open(hourly(catch_up="all"))
    schedules = process.engine.schedules
    await process.advance(1.5 * HOUR)

    paused = await schedules.pause("hourly", by="ada")
    again = await schedules.pause("hourly", by="grace")
    await process.advance(3 * HOUR)
    shown = await schedules.get("hourly")
    while_paused = await moments_of(process.engine)
    resumed = await schedules.resume("hourly")
    once_more = await schedules.resume("hourly")
    await process.advance(HOUR)

    assert (paused, again, resumed, once_more) == (True, False, True, False)
    assert (shown.paused_by, shown.paused_at is not None) == ("ada", True)
    assert while_paused == due_at(1)
    assert await moments_of(process.engine) == due_at(1, 5)
    assert (await schedules.get("hourly")).paused_at is None


async def test_a_triggered_run_is_one_more_and_leaves_the_schedule_as_it_is(world: World) -> None:
    process = await world.open(hourly())
    schedules = process.engine.schedules
    await process.advance(1.5 * HOUR)
    before = await schedules.get("hourly")

    by_ada = await schedules.trigger("hourly", by="ada", idempotency_key="once")
    by_nobody = await schedules.trigger("hourly")
    await process.settle()

    assert await schedules.get("hourly") == before
    run = (await process.engine.get_run(by_ada.id)).summary
    assert (run.started_by, run.state) == ("ada", RunState.SUCCEEDED)
    assert (await process.engine.get_run(by_nobody.id)).summary.started_by == "schedule:hourly"
    told = datetime.fromisoformat(json.loads((await process.engine.get_run(by_ada.id)).input)["at"])
    assert START + 1.5 * HOUR <= told < START + 1.6 * HOUR


async def test_a_key_triggers_one_run_whenever_it_is_sent(world: World) -> None:
    process = await world.open(hourly(), Schedule("other", report, every=HOUR))
    await process.settle()

    first, again = [await process.engine.schedules.trigger("hourly", idempotency_key="once") for _ in range(2)]
    other = await process.engine.schedules.trigger("other", idempotency_key="once")

    assert (again.id, first.is_new, again.is_new) == (first.id, True, False)
    assert (other.id != first.id, other.is_new) == (True, True)


async def test_a_schedule_whose_arguments_cannot_be_made_is_not_triggered(world: World) -> None:
    process = await world.open(Schedule("broken", report, every=HOUR, arguments=lambda moment: {"at": "secret"}))
    await process.settle()

    with pytest.raises(Conflict, match=r"schedule 'broken' could not be made \(InvalidInput: at\)"):
        await process.engine.schedules.trigger("broken")


async def test_a_schedule_without_its_code_is_shown_and_never_fires(world: World) -> None:
    first = await world.open(hourly())
    await first.settle()
    await first.close()
    second = await world.open(Schedule("other", report, every=HOUR))
    schedules = second.engine.schedules
    await second.advance(2.5 * HOUR)

    assert [(each.name, each.is_registered) for each in await schedules.list()] == [("hourly", False), ("other", True)]
    assert await runs_of(second.engine) == []
    assert await schedules.pause("hourly")
    with pytest.raises(Conflict, match="not registered here"):
        await schedules.resume("hourly")
    with pytest.raises(NotFound, match="other"):
        await schedules.trigger("hourly")
    for ask in (schedules.get, schedules.pause, schedules.resume):
        with pytest.raises(NotFound, match=r"nightly.*known: hourly, other"):
            await ask("nightly")


# Changes of the code ------------------------------------------------------------------------------------------------


async def test_another_timing_begins_with_its_next_moment(world: World) -> None:
    first = await world.open(hourly(catch_up="all"))
    await first.advance(1.5 * HOUR)
    await first.close()
    world.clock.turn(5 * HOUR)
    rarer = Schedule("hourly", report, every=4 * HOUR, arguments=lambda moment: {"at": moment}, catch_up="all")

    second = await world.open(rarer)
    await second.settle()
    shown = await second.engine.schedules.get("hourly")
    await second.advance(6 * HOUR)

    assert (shown.timing, shown.due_at) == ("every 14400 s", START.replace(hour=16))
    assert await moments_of(second.engine) == [START.replace(hour=10), START.replace(hour=16), START.replace(hour=20)]


async def test_a_process_with_older_code_leaves_a_changed_schedule_alone(world: World) -> None:
    older = await world.open(hourly())
    await older.settle()
    rarer = Schedule("hourly", report, every=4 * HOUR, arguments=lambda moment: {"at": moment})
    newer = await world.open(rarer)

    for _ in range(8):
        world.clock.turn(HOUR / 2)
        await newer.settle()

    assert await moments_of(newer.engine) == [START.replace(hour=12)]


async def test_an_unchanged_schedule_keeps_its_moment_when_it_is_deployed_again(world: World) -> None:
    first = await world.open(hourly())
    await first.advance(HOUR / 2)
    before = await first.engine.schedules.get("hourly")
    await first.close()
    world.clock.turn(HOUR / 4)

    second = await world.open(hourly())
    await second.settle()

    shown = await second.engine.schedules.get("hourly")
    assert (shown.due_at, shown.created_at) == (before.due_at, before.created_at)


# Failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda moment: 1 // 0, id="raises"),
        pytest.param(lambda moment: {"at": "secret"}, id="does not fit"),
        pytest.param(lambda moment: ["secret"], id="is no mapping"),
        pytest.param(lambda moment: {"at": None, "note": object()}, id="cannot be encoded"),
    ],
)
async def test_arguments_that_cannot_be_made_hold_up_that_schedule_alone(
    world: World, caplog: pytest.LogCaptureFixture, bad: Callable[[datetime], Any]
) -> None:
    is_mended = False

    def arguments(moment: datetime) -> Any:
        return {"at": moment} if is_mended else bad(moment)

    process = await world.open(Schedule("broken", report, every=HOUR, arguments=arguments), hourly())
    with caplog.at_level(logging.ERROR, logger="toolkit"):
        await process.advance(2 * HOUR)
        for _ in range(30):
            await process.advance(timedelta(minutes=1))
    failures = [record for record in caplog.records if getattr(record, "event", "") == "schedule.failed"]
    is_mended = True
    before = await process.engine.schedules.get("broken")
    await process.advance(HOUR / 4)

    assert await moments_of(process.engine) == due_at(1, 2)
    assert before.due_at == START + HOUR
    assert await moments_of(process.engine, "broken") == due_at(2)
    assert 5 < len(failures) < 20  # less and less often
    assert {(record.levelname, getattr(record, "schedule", None)) for record in failures} == {("ERROR", "broken")}
    assert "secret" not in caplog.text + str([vars(record) for record in failures])
