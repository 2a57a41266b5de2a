"""What simulated histories have found, each in its smallest form; see ``tests/simulation``."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from tests.workflows.notes import note, notes
from toolkit.clock import SystemClock
from toolkit.errors import StorageError
from toolkit.storage import Database, OutcomeUnknown, Query, Row, Script, both, sqlite
from toolkit.testing import VirtualClock
from toolkit.workflows import (
    Engine,
    RunState,
    Workflow,
    check_cancellation,
    compensation,
    continue_as_new,
    gather,
    race,
    set_progress,
    statements,
    step,
    suspend,
    wait_for_event,
    workflow,
)
from toolkit.workflows.heart import beat
from toolkit.workflows.outcomes import ClaimedRun
from toolkit.workflows.residents import Residents

# A cancelled run that is read in again comes to where it stood before it hears of the cancel --------------------------


async def books() -> None:
    async with compensation() as undo:
        undo(note, f"undo {await note('book')}")
        await wait_for_event("never")


@workflow()
async def books_after_branches() -> None:
    await gather(note("left"), note("right"))
    check_cancellation()
    await books()


@workflow()
async def books_in_a_branch() -> None:
    await gather(note("left"), race(books(), wait_for_event("never")))


@pytest.mark.parametrize("books_and_waits", [books_after_branches, books_in_a_branch], ids=["after", "in a branch"])
async def test_a_run_cancelled_while_it_was_in_nobodys_memory_undoes_what_it_did(
    start_engine: StartEngine, books_and_waits: Workflow[[], None]
) -> None:
    first = await start_engine(books_and_waits)
    run = await first.start(books_and_waits)
    await until_state(first, run.id, RunState.SUSPENDED)
    await first.close()
    notes.clear()
    second = await start_engine(books_and_waits)

    await second.cancel(run.id)

    await until_state(second, run.id, RunState.CANCELLED)
    assert notes == ["undo book"]


# Families ------------------------------------------------------------------------------------------------------------


@workflow()
async def goes_on_for_ever(round_number: int) -> None:
    if round_number == 1:
        continue_as_new(2)
    await wait_for_event("never")


@workflow()
async def has_an_heir() -> None:
    await goes_on_for_ever.with_options(close_policy="abandon").start_step(1)
    await wait_for_event("never")


async def test_what_an_abandoned_child_went_on_as_is_abandoned_too(start_engine: StartEngine) -> None:
    engine = await start_engine(has_an_heir, goes_on_for_ever)
    run = await engine.start(has_an_heir)

    async def heir_waits() -> bool:
        return [one.state for one in await engine.list_runs(workflow="goes_on_for_ever")][:1] == [RunState.SUSPENDED]

    await until(heir_waits)
    await engine.cancel(run.id)
    await until_state(engine, run.id, RunState.CANCELLED)

    assert await heir_waits()


@workflow()
async def waits_for_ever() -> None:
    await wait_for_event("never")


async def starts_a_run_and_loses() -> None:
    await waits_for_ever.with_options(close_policy="cancel").start_step()
    await wait_for_event("never")


@workflow()
async def races_against_a_start() -> str:
    await race(starts_a_run_and_loses(), wait_for_event("win"))
    return str(await wait_for_event("end"))


async def test_a_run_that_a_losing_branch_has_started_ends_with_its_parent(start_engine: StartEngine) -> None:
    first = await start_engine(races_against_a_start, waits_for_ever)
    run = await first.start(races_against_a_start)
    await until_state(first, run.id, RunState.SUSPENDED)
    await first.emit_event("win")
    await until(lambda: first.active_runs == 0)
    await first.close()
    second = await start_engine(races_against_a_start, waits_for_ever)

    await second.emit_event("end", "over")

    assert await asyncio.wait_for(second.wait_for_completion(run.id), 10) == '"over"'
    (linked,) = await second.list_runs(workflow="waits_for_ever")
    await until_state(second, linked.id, RunState.CANCELLED)


# Events and progress -------------------------------------------------------------------------------------------------


@workflow()
async def hears_first_and_last(stage: int, heard: list[str]) -> list[str]:
    if stage != 1:
        heard = [*heard, await wait_for_event("tick", payload_type=str)]
    if stage < 2:
        continue_as_new(stage + 1, heard)
    return heard


async def test_a_run_that_heard_nothing_hands_on_what_those_before_it_have_heard(start_engine: StartEngine) -> None:
    engine = await start_engine(hears_first_and_last)
    run = await engine.start(hears_first_and_last, 0, [])

    await engine.emit_event("tick", "one")
    await engine.emit_event("tick", "two")

    assert await asyncio.wait_for(run.result(), 10) == ["one", "two"]


@workflow()
async def ends_with_a_word() -> None:
    set_progress(0.5)
    set_progress(1.0, note="done")


async def test_a_last_word_on_progress_just_before_the_end_is_kept(start_engine: StartEngine) -> None:
    engine = await start_engine(ends_with_a_word)
    run = await engine.start(ends_with_a_word)
    await asyncio.wait_for(run.result(), 10)

    assert (await engine.get_run(run.id)).progress == {"done": 1.0, "total": None, "note": "done"}


# Commits with an unknown outcome --------------------------------------------------------------------------------------


doors: list[asyncio.Event] = []


@workflow()
async def has_a_word() -> str:
    return "a word"


@step()
async def waits_at_the_door() -> str:
    await doors[-1].wait()
    return "in"


@workflow()
async def hears_while_it_works() -> tuple[str, str]:
    return await gather(has_a_word(), waits_at_the_door())


def breaking_at_a_delivery(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The next commit that delivers something is kept, and nobody hears of that; set when it has been."""
    run_script, is_broken = engine.database.run, asyncio.Event()

    async def keep_and_break(script: Script[Any], *, in_own_task: bool = True) -> Any:
        value = await run_script(script, in_own_task=in_own_task)
        if not is_broken.is_set() and isinstance(value, tuple) and value[1].delivered:
            is_broken.set()
            raise OutcomeUnknown("the connection broke during the commit")
        return value

    monkeypatch.setattr(engine.database, "run", keep_and_break)
    return is_broken


@pytest.mark.parametrize("is_seen_at_once", [True, False], ids=["kept at once", "kept a moment later"])
async def test_what_a_commit_delivered_is_heard_of_though_its_outcome_was_unknown(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch, is_seen_at_once: bool
) -> None:
    door = asyncio.Event()
    doors.append(door)
    engine = await start_engine(has_a_word, hears_while_it_works)
    read, is_broken = engine.read, breaking_at_a_delivery(engine, monkeypatch)

    async def see_later(query: Query) -> Sequence[Row]:
        return [] if query.statement is statements.STEPS_AT and not door.is_set() else await read(query)

    if not is_seen_at_once:  # the server was not done with the commit when the process looked
        monkeypatch.setattr(engine, "read", see_later)
    run = await engine.start(hears_while_it_works)
    await asyncio.wait_for(is_broken.wait(), 15)
    await until(lambda: engine.active_runs == 1)
    door.set()

    assert await asyncio.wait_for(run.result(), 15) == ("a word", "in")


@workflow()
async def hears_two() -> tuple[str, str]:
    return await gather(wait_for_event("a", payload_type=str), wait_for_event("b", payload_type=str))


async def test_so_is_what_it_delivered_to_a_run_that_was_being_read_in(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await start_engine(hears_two, warm_bytes=0)
    run = await engine.start(hears_two)
    await until_state(engine, run.id, RunState.SUSPENDED)
    read, was_read, door = engine.read, asyncio.Event(), asyncio.Event()

    async def read_slowly(query: Query) -> Sequence[Row]:
        rows = await read(query)
        if query.statement is statements.STEPS_OF_RUNS and not door.is_set():
            was_read.set()
            await door.wait()
        return rows

    monkeypatch.setattr(engine, "read", read_slowly)
    await engine.emit_event("a", "first")
    await asyncio.wait_for(was_read.wait(), 15)
    breaking_at_a_delivery(engine, monkeypatch)
    with pytest.raises(StorageError, match="unknown whether"):
        await engine.emit_event("b", "second")
    door.set()

    assert await asyncio.wait_for(run.result(), 15) == ("first", "second")


# Closing -------------------------------------------------------------------------------------------------------------


async def test_a_copy_that_is_given_up_just_before_its_process_closes_ends(start_engine: StartEngine) -> None:
    engine = await start_engine(waits_for_ever)
    run = await engine.start(waits_for_ever)
    await until(lambda: run.id in engine.residents.warm)
    copy = engine.residents.warm[run.id]

    engine.residents._evict_warm(run.id)
    await engine.close()
    await asyncio.sleep(0)

    assert copy.task is not None
    assert copy.task.done()


# Heartbeats ----------------------------------------------------------------------------------------------------------


async def test_a_heartbeat_that_was_held_up_on_its_way_proves_nothing_of_the_time_before(database_url: str) -> None:
    clock = VirtualClock()
    database = Database(database_url, clock=clock)
    await database.open()
    await database.writer.run(beat("worker", database))

    on_its_way = beat("worker", database)
    clock.turn(timedelta(seconds=100))
    age = await database.writer.run(on_its_way)
    age_after = await database.writer.run(beat("worker", database))

    assert age is not None
    assert age > 99
    assert age_after is not None
    assert age_after < 1
    await database.close()


def test_a_heartbeat_that_was_held_up_between_its_statements_says_how_long_it_was_silent(database_url: str) -> None:
    last = datetime(2026, 1, 1, tzinfo=UTC)  # by the server's clock, which goes on while our process stands still

    held_up = beat("worker", Database(database_url))
    next(held_up)
    held_up.send([(last,)])
    with pytest.raises(StopIteration) as ended:
        held_up.send([(last + timedelta(seconds=100),)])

    assert ended.value.value == 100.0


async def test_a_heartbeat_whose_answer_was_lost_does_not_hide_how_long_the_process_was_away(
    start_engine: StartEngine,
) -> None:
    """The next one finds it on record, a moment old: only our own clock knows of the time before."""
    engine = await start_engine(goes_on_for_ever)
    heard, lease = engine._orchestrator._last_beat, engine.options.lease_seconds
    await until(lambda: engine.is_leased)

    engine._orchestrator._note_beat(age=lease / 3, began=heard + lease * 4 / 3)

    assert not engine.is_leased
    await until(lambda: engine.is_leased)  # it has looked for what is still its own


# Moments -------------------------------------------------------------------------------------------------------------


class _TurnedClock(SystemClock):
    """Set forward by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


async def test_what_waited_for_the_commit_of_another_process_is_dated_after_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("on a server the moments are the server's")
    clock = _TurnedClock()
    database = Database(database_url, clock=clock)
    await database.open()
    engine = Engine(database, workflows=[has_a_word])
    await engine.open()
    assert database.path is not None
    other = sqlite3.connect(database.path, isolation_level=None, check_same_thread=False)
    transact = sqlite.transact

    def let_an_hour_pass(*arguments: Any) -> Any:
        if other.in_transaction:
            clock.ahead = timedelta(hours=1)
            other.execute("COMMIT")
        return transact(*arguments)

    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite, "transact", let_an_hour_pass)
    began = clock.now()

    run = await engine.start(has_a_word)

    assert (await engine.get_run(run.id)).summary.created_at >= began + timedelta(hours=1)
    await engine.close()
    await database.close()
    other.close()


# Pauses --------------------------------------------------------------------------------------------------------------


@workflow()
async def naps_and_listens() -> str:
    _, heard = await gather(suspend(interval=1.5), wait_for_event("tick", payload_type=str))
    return heard


async def test_a_wait_that_ends_while_a_pause_holds_up_its_replay_is_not_opened_again(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start_engine(naps_and_listens)
    run = await first.start(naps_and_listens)
    await until_state(first, run.id, RunState.SUSPENDED)
    await first.close()
    second = await start_engine(naps_and_listens, poll_seconds=0.02)
    load, loaded = Residents._load, list[str]()

    async def load_and_pause(self: Residents, runs: Sequence[ClaimedRun]) -> None:
        await second.control.pause(run.id)
        await load(self, runs)
        loaded.append(run.id)

    monkeypatch.setattr(Residents, "_load", load_and_pause)
    await second.emit_event("tick", "tock")
    await until(lambda: loaded)
    await until_state(second, run.id, RunState.SUSPENDED)
    (nap,) = (await second.get_run(run.id)).waits
    await until(lambda: nap.deadline_at is not None and second.runtime.clock.now() > nap.deadline_at)

    await second.control.resume(run.id)

    assert await asyncio.wait_for(second.wait_for_completion(run.id), 10) == '"tock"'
    opened = both("test", "SELECT path FROM toolkit_wait WHERE kind = 'timer'")
    assert len(await second.read(Query(opened))) == 1
