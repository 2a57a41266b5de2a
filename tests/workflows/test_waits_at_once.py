"""On PostgreSQL a lone wait and the lone event that ends it are one statement each: the outcome is that of a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.workflows.test_batches import NOW, rows, run_batch, start, worker, write
from tests.workflows.test_batches_at_once import asked_by
from toolkit.storage import CompressedPayloads, Database, Deferred, OutcomeUnknown, Request, Script
from toolkit.workflows import statements as sql
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.operations import (
    CancelRun,
    DeliverEvents,
    EmitEvent,
    NewEvent,
    OpenWait,
    Operation,
    Suspend,
    WaitRecord,
)
from toolkit.workflows.outcomes import Effects, Emitted, Fate, WaitOpened
from toolkit.workflows.states import CancelMode, StepKind

TABLES = {"toolkit_run": "id", "toolkit_wait": "id", "toolkit_event": "id", "toolkit_step": "run_id, path"}


@pytest.fixture
async def server(postgresql_url: str) -> AsyncIterator[Database]:
    database = Database(postgresql_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def other(postgresql_url: str, server: Database) -> AsyncIterator[Database]:
    """The same database, as another process has it."""
    database = Database(postgresql_url)
    await database.open()
    yield database
    await database.close()


def waits(name: str = "one", *, run_id: str = "run", epoch: int = 1, after: int = 0, **more: Any) -> OpenWait:
    """A wait for which its run goes to wait."""
    record = WaitRecord(
        f"wait-{run_id}-{name}", run_id, f"{name}/0", "news", StepKind.WAIT, event_key="news", after_seq=after
    )
    going = Suspend(run_id, epoch, more.pop("due_at", None), more.pop("cancel_mode", None))
    return OpenWait(run_id, epoch, record, suspension=going, **more)


def timer(due_at: Any) -> OpenWait:
    record = WaitRecord("timer", "run", "suspend/0", "suspend", StepKind.TIMER, deadline_at=due_at, created_at=NOW)
    return OpenWait("run", 1, record, suspension=Suspend("run", 1, due_at))


def tells(payload: str | None, *, run_id: str | None = None, key: str = "news", **more: Any) -> EmitEvent:
    return EmitEvent(NewEvent(f"event-{payload}", key, payload, run_id, **more))


async def content(database: Database) -> dict[str, list[Any]]:
    await write(database, "UPDATE toolkit_run SET is_watched = FALSE WHERE is_watched IS NULL")  # it means the same
    return {table: list(await rows(database, f"SELECT * FROM {table} ORDER BY {by}")) for table, by in TABLES.items()}


async def played(
    database: Database, before: tuple[Operation | str, ...], operation: Operation, *, own: Worker
) -> tuple[list[Any], Effects, list[Request], dict[str, list[Any]]]:
    """Outcomes, effects and requests of ``operation`` after what is on record ``before``, and what is on record then."""
    for table in reversed(["toolkit_run", "toolkit_step", "toolkit_wait", "toolkit_event"]):
        await write(database, f"DELETE FROM {table}")
    for done in before:
        if isinstance(done, str):
            await write(database, done)
        else:
            await run_batch(database, done)
    outcomes, effects, asked = await asked_by(database, operation, own=own)
    return outcomes, effects, asked, await content(database)


NUMBERED = "INSERT INTO toolkit_event (id, key, seq, run_id, payload, created_at) VALUES ('old', 'news', 1, {}, '0', '2026-01-01T00:00:00+00:00')"
PLAIN = [
    pytest.param((start(),), waits(), 2, id="wait"),
    pytest.param((start(),), waits(due_at=NOW + timedelta(days=1)), 2, id="wait with a limit"),
    pytest.param((start(),), waits(cancel_mode=CancelMode.UNWIND), 2, id="wait of who unwinds"),
    pytest.param((start(),), timer(NOW + timedelta(hours=1)), 1, id="timer"),
    pytest.param((start(), NUMBERED.format("'another'")), waits(), 2, id="wait beside the event of another"),
    pytest.param((start(), NUMBERED.format("NULL")), waits(after=1), 2, id="wait that has had the event"),
    pytest.param((start(), waits()), tells("1"), 2, id="event for all"),
    pytest.param((start(), waits()), tells("1", run_id="run"), 1, id="event for one"),
    pytest.param((start(), waits()), tells(None, run_id="run"), 1, id="event without payload"),
    pytest.param((start(), NUMBERED.format("NULL"), waits(after=1)), tells("2"), 2, id="next event"),
    pytest.param(
        (start(), NUMBERED.format("'another'"), waits()), tells("1", run_id="run"), 1, id="event beside that of another"
    ),
    pytest.param(
        (start(), start("other"), waits(), waits(run_id="other")), tells("1", run_id="run"), 1, id="one of two runs"
    ),
    pytest.param((start(), waits(due_at=NOW + timedelta(days=1))), tells("1"), 2, id="event for a wait with a limit"),
]
DECIDED = [
    pytest.param((start(), NUMBERED.format("NULL")), waits(), id="wait whose event is there"),
    pytest.param((start(), NUMBERED.format("'run'")), waits(), id="wait whose own event is there"),
    pytest.param((start(), CancelRun("run", None, None)), waits(), id="wait of a cancelled run"),
    pytest.param((start(), CancelRun("run", None, None)), waits(is_shielded=True), id="wait in a shield"),
    pytest.param((start(),), waits(epoch=7), id="wait of a run that is lost"),
    pytest.param(
        (start(), "UPDATE toolkit_run SET due_at = '2026-01-01T00:00:00+00:00'"),
        waits(),
        id="wait of a run that was told",
    ),
    pytest.param((start(), NUMBERED.format("NULL")), waits(is_from_now=True), id="wait for what comes from now"),
    pytest.param((start(), NUMBERED.format("NULL")), waits(since=NOW + timedelta(days=9)), id="wait since a moment"),
    pytest.param((), tells("1"), id="event for nobody"),
    pytest.param((start(),), tells("1", run_id="run"), id="event for a run that does not wait"),
    pytest.param((start(), start("other"), waits(), waits(run_id="other")), tells("1"), id="event for two"),
    pytest.param(
        (start(), replace(waits("first"), suspension=None), waits("second")),
        tells("1", run_id="run"),
        id="two waits of a run",
    ),
    pytest.param((start(), replace(waits(), suspension=None)), tells("1"), id="event for a run under way"),
    pytest.param(
        (start(), waits(), "UPDATE toolkit_run SET paused_at = '2026-01-01T00:00:00+00:00'"),
        tells("1"),
        id="run is paused",
    ),
    pytest.param((start(), waits(), "UPDATE toolkit_run SET losses = 2"), tells("1"), id="run is under suspicion"),
    pytest.param(
        (start(), waits(), "UPDATE toolkit_run SET due_at = '2026-01-01T00:00:00+00:00'"),
        tells("1"),
        id="run is due already",
    ),
    pytest.param(
        (start(), waits(), "UPDATE toolkit_run SET warm_worker = 'another'"), tells("1"), id="run is warm elsewhere"
    ),
    pytest.param((start(), waits(), NUMBERED.format("NULL")), tells("2"), id="an event before it was missed"),
    pytest.param((start(), waits(after=5)), tells("1"), id="wait for a later event"),
    pytest.param((start(), waits()), tells("1", idempotency_key="k"), id="event with a key"),
]


@pytest.mark.parametrize(("before", "operation", "journeys"), PLAIN)
async def test_what_needs_no_decision_is_a_statement_and_a_look(
    server: Database, before: tuple[Operation | str, ...], operation: Operation, journeys: int
) -> None:
    far = worker(server)
    outcomes, effects, asked, kept = await played(server, before, operation, own=far)

    assert len(asked) == journeys
    assert (outcomes, kept) == (await usual_way(server, before, operation))[::2]
    usual_effects = (await usual_way(server, before, operation))[1]
    assert (effects.woken, effects.delivered) == (usual_effects.woken, usual_effects.delivered)
    assert not effects.unmatched


@pytest.mark.parametrize(("before", "operation"), DECIDED)
async def test_what_needs_a_decision_goes_the_usual_way(
    server: Database, before: tuple[Operation | str, ...], operation: Operation
) -> None:
    outcomes, effects, _, kept = await played(server, before, operation, own=worker(server))

    assert (outcomes, effects, kept) == await usual_way(server, before, operation)


async def usual_way(
    server: Database, before: tuple[Operation | str, ...], operation: Operation
) -> tuple[list[Any], Effects, dict[str, list[Any]]]:
    outcomes, effects, _, kept = await played(server, before, operation, own=replace(worker(server), is_far=False))
    return outcomes, effects, kept


async def test_who_has_no_room_leaves_the_run_to_others(server: Database) -> None:
    full = replace(worker(server), room=0)

    (_,), effects, _, _ = await played(server, (start(), waits()), tells("1"), own=full)

    assert effects.has_due_runs
    assert await rows(server, "SELECT state FROM toolkit_run") == [("suspended",)]


async def test_what_an_event_brings_is_kept_encoded(postgresql_url: str) -> None:
    database = Database(postgresql_url, payload_codec=CompressedPayloads())
    await database.open()
    await run_batch(database, start())
    await run_batch(database, waits())

    _, effects = await run_batch(database, tells('"word"'))

    kept = await rows(
        database, "SELECT payload, result, 'x' || payload, 'x' || result FROM toolkit_event, toolkit_step"
    )
    await database.close()
    assert [record.result for record in effects.delivered] == ['"word"']
    ((payload, result, *stored),) = kept
    assert (payload, result) == ('"word"', '"word"')
    assert not any("word" in each for each in stored)


# What comes in between -----------------------------------------------------------------------------------------------


async def test_an_event_that_came_before_the_wait_had_the_key_is_looked_for(server: Database) -> None:
    await run_batch(server, start())
    script = commit([waits()], worker=worker(server), own_now=NOW)

    opening = next(script)
    opened = await server.writer.run(only(opening))
    await write(server, NUMBERED.format("NULL"))
    look = script.send(opened)
    with pytest.raises(StopIteration) as end:
        script.send(await server.writer.run(only(look)))

    (outcome,), effects = end.value.value
    assert isinstance(outcome, WaitOpened)
    assert outcome.is_suspended
    assert effects.unmatched == {"news"}
    _, effects = await run_batch(server, DeliverEvents(["news"]))
    assert [record.result for record in effects.delivered] == ["0"]


async def test_a_wait_that_began_before_an_event_for_all_had_the_key_is_looked_for(server: Database) -> None:
    await run_batch(server, start(), start("other"))
    await run_batch(server, waits())
    script = commit([tells("1")], worker=worker(server), own_now=NOW)

    kept = await server.writer.run(only(next(script)))
    await write(
        server,
        "INSERT INTO toolkit_wait (id, run_id, path, name, kind, state, event_key, after_seq, created_at) "
        "VALUES ('late', 'other', 'news/0', 'news', 'wait', 'open', 'news', 0, '2026-01-01T00:00:00+00:00')",
    )
    look = script.send(kept)
    with pytest.raises(StopIteration) as end:
        script.send(await server.writer.run(only(look)))

    _, effects = end.value.value
    assert effects.unmatched == {"news"}
    _, effects = await run_batch(server, DeliverEvents(["news"]))
    assert [(record.run_id, record.result) for record in effects.delivered] == [("other", "1")]


async def test_a_look_that_is_refused_leaves_the_outcome_unknown(
    server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again as a whole, the event would be kept twice, or refused although it was kept."""
    refused = replace(sql.IS_AWAITED, postgresql="SELECT $2::bigint / 0 WHERE $1::text IS NOT NULL")
    monkeypatch.setattr(sql, "IS_AWAITED", refused)
    await run_batch(server, start())
    await run_batch(server, waits())

    with pytest.raises(OutcomeUnknown):
        await run_batch(server, tells("1"))

    assert await rows(server, "SELECT state, epoch FROM toolkit_run") == [("running", 2)]
    assert await rows(server, "SELECT id, seq FROM toolkit_event") == [("event-1", 1)]
    assert await rows(server, "SELECT 1") == [(1,)]


async def test_a_number_that_was_given_meanwhile_is_not_given_again(server: Database, other: Database) -> None:
    """Another process numbers an event between the moment that the statement sees and the one at which it has the key."""
    await run_batch(server, start())
    await run_batch(server, waits())
    async with other.session() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(NUMBERED.format("'another'"))
        emitting = asyncio.create_task(run_batch(server, tells("1", run_id="run")))
        while not await rows(other, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0)
        await session.commit()

    (outcome,), effects = await asyncio.wait_for(emitting, 10)

    assert outcome == Emitted(is_new=True, is_same=True)
    assert [(record.run_id, record.event_seq) for record in effects.delivered] == [("run", 2)]
    assert await rows(server, "SELECT id, seq FROM toolkit_event ORDER BY seq") == [("old", 1), ("event-1", 2)]


@pytest.mark.parametrize("operation", [waits("two", epoch=1), tells("1", run_id="waiting")])
@pytest.mark.parametrize(
    "lock",
    ["SELECT 1 FROM toolkit_run FOR UPDATE", "SELECT pg_advisory_xact_lock(hashtextextended('toolkit:event:news', 0))"],
    ids=["run", "key"],
)
async def test_what_is_locked_elsewhere_is_put_off(
    server: Database, other: Database, operation: Operation, lock: str
) -> None:
    await run_batch(server, start(), start("waiting"))
    await run_batch(server, waits(run_id="waiting"))
    before = await content(server)
    async with other.session() as session:
        await (await session.connection()).exec_driver_sql(lock)

        (outcome,), _ = await run_batch(server, operation)

        assert outcome is Deferred.DEFERRED
    assert await content(server) == before


@pytest.mark.parametrize("target", ["run", None], ids=["for one", "for all"])
async def test_no_wake_up_is_lost_when_the_wait_and_its_event_meet(
    server: Database, other: Database, target: str | None
) -> None:
    await run_batch(server, start())
    epoch, fates = 1, set()
    for number in range(1, 301):
        opening = waits(str(number), epoch=epoch, after=number - 1)
        ((opened,), one), ((emitted,), two) = await asyncio.gather(
            until_committed(server, opening), until_committed(other, tells(str(number), run_id=target))
        )
        assert emitted == Emitted(is_new=True, is_same=True)
        keys = sorted(one.unmatched | two.unmatched)
        if keys:
            await until_committed(server, DeliverEvents(keys))
        ends = await rows(
            server, "SELECT w.state, s.result FROM toolkit_wait AS w JOIN toolkit_step AS s "
            "ON s.run_id = w.run_id AND s.path = w.path WHERE w.path = $1", f"{number}/0",
        )  # fmt: skip
        fates.add((opened.is_suspended, bool(keys)))
        assert opened.fate is Fate.KEPT
        assert ends == [("delivered", str(number))]
        ((state, epoch, warm),) = await rows(server, "SELECT state, epoch, warm_worker FROM toolkit_run")
        if state != "running":  # it is due: whoever claims it goes on with it
            epoch += 1
            await write(
                server,
                f"UPDATE toolkit_run SET state = 'running', epoch = {epoch}, worker_id = 'worker', due_at = NULL",
            )
        assert warm in {None, "worker"}
    assert len(fates) > 1, "they met in one order only"


def only(request: Request) -> Script[Any]:
    return (yield request)


async def until_committed(database: Database, operation: Operation) -> tuple[list[Any], Effects]:
    """What is locked elsewhere is tried again, as a group would be."""
    while True:
        outcomes, effects = await run_batch(database, operation)
        if outcomes != [Deferred.DEFERRED]:
            return outcomes, effects
