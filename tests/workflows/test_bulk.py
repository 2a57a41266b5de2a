"""One action on many runs: counted first, done in the background by whatever process is there, seen while it goes on."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.access import list_audit
from toolkit.errors import Conflict
from toolkit.serialization import codec_for
from toolkit.workflows import BulkOutcome, Engine, RunFilter, RunState, bulk, step, wait_for_event, workflow

broken: set[str] = set()
calls: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def nothing_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    broken.clear()
    calls.clear()
    monkeypatch.setattr(bulk, "_RUNS_PER_PAGE", 4)


@step()
async def pay(name: str) -> str:
    calls[name] += 1
    if "bank" in broken:
        raise ConnectionError("the bank is down")
    return f"paid {name}"


@workflow()
async def bill(name: str) -> str:
    return await pay(name)


@workflow()
async def wait_for_letter(name: str) -> str:
    return f"{name} {await wait_for_event('letter')}"


async def outcome_of(engine: Engine, run_id: str) -> BulkOutcome:
    text = await asyncio.wait_for(engine.wait_for_completion(run_id), 20)
    outcome: BulkOutcome = codec_for(BulkOutcome).decode(text)
    return outcome


async def waiting(engine: Engine, count: int) -> list[str]:
    runs = [await engine.start(wait_for_letter, f"{at}") for at in range(count)]
    for run in runs:
        await until_state(engine, run.id, RunState.SUSPENDED)
    return [run.id for run in runs]


async def states(engine: Engine, ids: list[str]) -> set[RunState]:
    return {run.state for run in await engine.list_runs(RunFilter(ids=ids), limit=100)}


async def test_counting_changes_nothing(start_engine: StartEngine) -> None:
    engine = await start_engine(wait_for_letter)
    ids = await waiting(engine, 3)

    assert await engine.control.count("cancel", RunFilter(workflows=["wait_for_letter"])) == 3
    assert await engine.control.count("retry", RunFilter()) == 0
    assert await engine.control.count("retry", RunFilter(states=[RunState.SUSPENDED])) == 0
    assert await engine.control.count("resume", RunFilter()) == 0
    assert await states(engine, ids) == {RunState.SUSPENDED}


async def test_every_run_that_is_meant_is_cancelled_and_no_other(start_engine: StartEngine) -> None:
    engine = await start_engine(wait_for_letter, bill)
    meant, other = await waiting(engine, 10), await engine.start(bill, "x")
    await other.result()

    job = await engine.control.change_many("cancel", RunFilter(), by="ada", reason="closed")

    assert job.count == 10
    assert await outcome_of(engine, job.run_id) == BulkOutcome(changed=10)
    assert await states(engine, meant) == {RunState.CANCELLED}
    detail = await engine.get_run(job.run_id)
    assert detail.progress == {"done": 10, "total": 10, "note": None}
    assert (await engine.get_run(meant[0])).cancelled_by == "ada"
    entries = await list_audit(engine.database, action="run.cancelled", limit=100)
    assert {entry.object_id for entry in entries} == set(meant)
    assert {(entry.actor, entry.details["job"], entry.details["reason"]) for entry in entries} == {
        ("ada", job.run_id, "closed")
    }


async def test_runs_are_paused_and_resumed_together(start_engine: StartEngine) -> None:
    engine = await start_engine(wait_for_letter)
    ids = await waiting(engine, 5)

    paused = await engine.control.change_many("pause", RunFilter(), by="ada")
    assert (await outcome_of(engine, paused.run_id)).changed == 5
    assert await engine.count_runs(RunFilter(is_paused=True)) == 5
    await engine.emit_event("letter", "came")
    resumed = await engine.control.change_many("resume", RunFilter(ids=ids[:3]))
    assert (await outcome_of(engine, resumed.run_id)).changed == 3

    for run_id in ids[:3]:
        await asyncio.wait_for(engine.wait_for_completion(run_id), 10)
    assert await states(engine, ids[3:]) == {RunState.SUSPENDED}


async def test_failed_runs_are_retried_and_their_retries_are_not(start_engine: StartEngine) -> None:
    engine = await start_engine(bill)
    broken.add("bank")
    for at in range(6):
        run = await engine.start(bill, f"{at}")
        await until_state(engine, run.id, RunState.FAILED)

    job = await engine.control.change_many("retry", RunFilter(error="bank is down"), by="ada")

    assert (await outcome_of(engine, job.run_id)).changed == 6, "the retries fail as well, and are not met again"
    await until(lambda: sum(calls.values()) == 12)
    assert await engine.count_runs(RunFilter(workflows=["bill"])) == 12


async def test_forks_are_made_with_other_input(start_engine: StartEngine) -> None:
    engine = await start_engine(bill)
    for at in range(3):
        await (await engine.start(bill, f"{at}")).result()

    job = await engine.control.change_many("fork", RunFilter(workflows=["bill"]), input={"name": "again"})

    assert (await outcome_of(engine, job.run_id)).changed == 3
    await until(lambda: calls["again"] == 3)


async def test_what_refuses_is_told_with_its_reason(start_engine: StartEngine) -> None:
    engine = await start_engine(bill)
    run = await engine.start(bill, "x")
    await run.result()

    job = await engine.control.change_many("fork", RunFilter(workflows=["bill"]), from_step="nowhere/0")
    outcome = await outcome_of(engine, job.run_id)

    assert (outcome.changed, outcome.refused) == (0, 1)
    assert outcome.refusals[0].run_id == run.id
    assert "nowhere/0" in outcome.refusals[0].reason


async def test_a_job_goes_on_in_another_process_and_does_nothing_twice(start_engine: StartEngine) -> None:
    first = await start_engine(wait_for_letter)
    meant = await waiting(first, 10)
    job = await first.control.change_many("cancel", RunFilter(), by="ada")
    await until(lambda: first.list_steps(job.run_id))
    await first.close()
    second = await start_engine(wait_for_letter)

    outcome = await outcome_of(second, job.run_id)

    assert outcome.total == 10
    assert await states(second, meant) == {RunState.CANCELLED}
    entries = await list_audit(second.database, action="run.cancelled", limit=100)
    assert Counter(entry.object_id for entry in entries) == Counter(meant)


async def test_more_runs_than_were_agreed_to_are_left_alone(start_engine: StartEngine) -> None:
    engine = await start_engine(wait_for_letter)
    ids = await waiting(engine, 3)

    with pytest.raises(Conflict, match="3 runs are meant, and you agreed to 2"):
        await engine.control.change_many("cancel", RunFilter(), at_most=2)

    assert await states(engine, ids) == {RunState.SUSPENDED}


async def test_a_job_never_means_a_job(start_engine: StartEngine) -> None:
    engine = await start_engine(bill)
    await (await engine.start(bill, "x")).result()
    first = await engine.control.change_many("cancel", RunFilter())
    await outcome_of(engine, first.run_id)

    assert await engine.control.count("fork", RunFilter()) == 1
