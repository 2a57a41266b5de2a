"""A retry goes on from the step that failed, a fork from any step; the old run stays as it ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.errors import Conflict, InvalidInput, NotFound, RunFailed, WaitTimeout
from toolkit.workflows import (
    Engine,
    RunState,
    StepState,
    compensation,
    gather,
    step,
    step_context,
    wait_for_event,
    workflow,
)

calls: Counter[str] = Counter()
keys: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_broken() -> None:
    calls.clear()
    keys.clear()
    broken.clear()


class BankDown(Exception):
    pass


@step()
async def do(what: str) -> str:
    calls[what] += 1
    if what in broken:
        raise BankDown(what)
    return f"{what} {calls[what]}"


@step()
async def pay(amount: int) -> str:
    context = step_context()
    assert context is not None
    keys.append(context.idempotency_key)
    calls["pay"] += 1
    if "pay" in broken:
        raise BankDown("pay")
    return f"paid {amount}"


@workflow()
async def invoice(amount: int, note: str = "") -> list[str]:
    return [await do("read"), await pay(amount), await do("book"), note]


@workflow()
async def careful(amount: int) -> str:
    try:
        await do("optional")
    except BankDown:
        await do("without it")
    await do("prepare")
    try:
        return await pay(amount)
    except BankDown as error:
        await do("complain")
        raise RuntimeError("the payment failed") from error


@workflow()
async def own_code(amount: int) -> str:
    first = await do("read")
    if "code" in broken:
        raise ValueError("a bug")
    return first + await do("book")


@workflow()
async def branches() -> list[str]:
    return list(await gather(do("left"), do("right"), pay(7)))


@workflow()
async def parent() -> str:
    before = await do("before")
    inside = await invoice(3)
    return f"{before}, {inside[1]}"


@workflow()
async def two_letters() -> list[Any]:
    return [await wait_for_event("letter"), await do("between"), await wait_for_event("letter")]


@workflow()
async def impatient() -> str:
    await do("ask")
    return str(await wait_for_event("answer", max_wait_time=0.01))


@workflow()
async def undone() -> None:
    async with compensation() as undo:
        await do("reserve")
        undo(do, "give back")
        await pay(1)


async def failed(engine: Engine, run_id: str) -> None:
    with pytest.raises(RunFailed):
        await asyncio.wait_for(engine.wait_for_completion(run_id), 10)


async def result_of(engine: Engine, run_id: str) -> str:
    return await asyncio.wait_for(engine.wait_for_completion(run_id), 10)


async def test_a_retry_runs_the_failed_step_again_and_no_step_before_it(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    broken.add("pay")
    run = await engine.start(invoice, 5, started_by="ada")
    await failed(engine, run.id)
    before = await engine.get_run(run.id), await engine.list_steps(run.id)
    broken.clear()

    retried = await engine.control.retry(run.id, by="bob")

    assert await result_of(engine, retried.run_id) == '["read 1","paid 5","book 1",""]'
    assert calls == {"read": 1, "pay": 2, "book": 1}
    assert keys == [f"{run.id}:pay/0"] * 2, "outside, both attempts are the same payment"
    assert (await engine.get_run(run.id), await engine.list_steps(run.id)) == before
    summary = (await engine.get_run(retried.run_id)).summary
    assert (summary.forked_from, summary.forked_at_step, summary.started_by) == (run.id, "pay/0", "bob")


async def test_a_retry_of_a_retry_still_has_the_first_idempotency_keys(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    broken.add("pay")
    run = await engine.start(invoice, 5)
    await failed(engine, run.id)
    second = await engine.control.retry(run.id)
    await failed(engine, second.run_id)
    broken.clear()

    third = await engine.control.retry(second.run_id)
    await result_of(engine, third.run_id)

    assert keys == [f"{run.id}:pay/0"] * 3


async def test_however_often_a_run_is_retried_there_is_one_new_run(start_engine: StartEngine) -> None:
    first, second = await start_engine(invoice), await start_engine(invoice)
    broken.add("pay")
    run = await first.start(invoice, 5)
    await failed(first, run.id)
    broken.clear()

    made = await asyncio.gather(*(engine.control.retry(run.id) for engine in (first, second) * 5))

    assert len({one.run_id for one in made}) == 1
    assert [one.is_new for one in made].count(True) == 1
    await result_of(first, made[0].run_id)
    assert calls["pay"] == 2


async def test_a_failure_that_the_code_dealt_with_is_not_done_again(start_engine: StartEngine) -> None:
    engine = await start_engine(careful)
    broken.update({"optional", "pay"})
    run = await engine.start(careful, 5)
    await failed(engine, run.id)
    broken.clear()

    retried = await engine.control.retry(run.id)

    assert await result_of(engine, retried.run_id) == '"paid 5"'
    assert calls == {"optional": 1, "without it": 1, "prepare": 1, "pay": 2, "complain": 1}


async def test_a_retry_after_a_fault_in_the_code_keeps_every_step(start_engine: StartEngine) -> None:
    engine = await start_engine(own_code)
    broken.add("code")
    run = await engine.start(own_code, 5)
    await failed(engine, run.id)
    broken.clear()

    retried = await engine.control.retry(run.id)

    assert await result_of(engine, retried.run_id) == '"read 1book 1"'
    assert calls == {"read": 1, "book": 1}


async def test_a_retry_keeps_what_the_other_branches_have_done(start_engine: StartEngine) -> None:
    engine = await start_engine(branches)
    broken.add("pay")
    run = await engine.start(branches)
    await failed(engine, run.id)
    done = {step.path for step in await engine.list_steps(run.id) if step.state is StepState.SUCCEEDED}
    broken.clear()

    retried = await engine.control.retry(run.id)

    assert await result_of(engine, retried.run_id)
    repeated = {path for path in done if calls[{"0": "left", "1": "right"}[path.split("/")[1]]] > 1}
    assert repeated == set()
    assert calls["pay"] == 2


async def test_a_retry_of_a_parent_retries_the_child_from_its_failed_step(start_engine: StartEngine) -> None:
    engine = await start_engine(parent, invoice)
    broken.add("pay")
    run = await engine.start(parent)
    await failed(engine, run.id)
    broken.clear()

    retried = await engine.control.retry(run.id)

    assert await result_of(engine, retried.run_id) == '"before 1, paid 3"'
    assert calls == {"before": 1, "read": 1, "pay": 2, "book": 1}
    assert len(set(keys)) == 1
    children = await engine.list_runs(workflow="invoice")
    assert [(child.state, child.parent_id) for child in children] == [
        (RunState.SUCCEEDED, retried.run_id),
        (RunState.FAILED, run.id),
    ]


async def test_a_wait_that_timed_out_is_begun_anew_by_a_retry(start_engine: StartEngine) -> None:
    engine = await start_engine(impatient, poll_seconds=0.02)
    run = await engine.start(impatient)
    with pytest.raises(RunFailed) as caught:
        await asyncio.wait_for(run.result(), 10)
    assert isinstance(caught.value.__cause__, WaitTimeout)
    await engine.emit_event("answer", "yes")

    retried = await engine.control.retry(run.id)

    assert await result_of(engine, retried.run_id) == '"yes"'
    assert calls == {"ask": 1}


async def test_a_cancelled_run_is_retried_from_where_it_stopped(start_engine: StartEngine) -> None:
    engine = await start_engine(two_letters)
    run = await engine.start(two_letters)
    await engine.emit_event("letter", 1)
    await until(lambda: calls["between"] == 1)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.cancel(run.id)

    retried = await engine.control.retry(run.id)
    await engine.emit_event("letter", 2)

    assert await result_of(engine, retried.run_id) == '[1,"between 1",2]'
    assert calls == {"between": 1}


async def test_what_has_not_failed_is_not_retried(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice, two_letters)
    done, waiting = await engine.start(invoice, 5), await engine.start(two_letters)
    await done.result()

    with pytest.raises(Conflict, match=r"'succeeded'.*fork it"):
        await engine.control.retry(done.id)
    with pytest.raises(Conflict, match="has not ended"):
        await engine.control.retry(waiting.id)
    with pytest.raises(NotFound):
        await engine.control.retry("unknown")


async def test_a_retry_does_not_build_on_work_that_was_undone(start_engine: StartEngine) -> None:
    engine = await start_engine(undone)
    broken.add("pay")
    run = await engine.start(undone)
    await failed(engine, run.id)
    broken.clear()

    with pytest.raises(Conflict, match="fork it from 'compensation/0'"):
        await engine.control.retry(run.id)
    forked = await engine.control.fork(run.id, from_step="compensation/0")

    await result_of(engine, forked.run_id)
    assert calls == {"reserve": 2, "give back": 1, "pay": 2}


async def test_a_fork_goes_its_own_way_from_a_step_with_other_input(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    run = await engine.start(invoice, 5, note="first")
    await run.result()

    forked = await engine.control.fork(run.id, from_step="pay/0", input={"amount": 8}, by="bob")

    assert await result_of(engine, forked.run_id) == '["read 1","paid 8","book 2","first"]'
    assert calls == {"read": 1, "pay": 2, "book": 2}
    assert keys == [f"{run.id}:pay/0", f"{forked.run_id}:pay/0"], "outside, it is another payment"
    assert (await engine.get_run(forked.run_id)).summary.forked_from == run.id


async def test_a_fork_keeps_the_results_before_its_step_whatever_the_input_is(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    run = await engine.start(invoice, 5)
    await run.result()

    forked = await engine.control.fork(run.id, from_step="do/1", input={"amount": 99})

    assert await result_of(engine, forked.run_id) == '["read 1","paid 5","book 2",""]'


async def test_a_fork_from_the_beginning_does_everything_again(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    run = await engine.start(invoice, 5)
    await run.result()

    forked = await engine.control.fork(run.id, input={"note": "again"})

    assert await result_of(engine, forked.run_id) == '["read 2","paid 5","book 2","again"]'


async def test_a_step_whose_result_is_given_is_not_run(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    broken.add("pay")
    run = await engine.start(invoice, 5)
    await failed(engine, run.id)

    forked = await engine.control.fork(run.id, from_step="pay/0", results={"pay/0": "paid by hand"}, by="bob")

    assert await result_of(engine, forked.run_id) == '["read 1","paid by hand","book 1",""]'
    assert calls["pay"] == 1
    steps = {step.path: step for step in await engine.list_steps(forked.run_id)}
    assert steps["pay/0"].details == '{"given_by": "bob"}'


async def test_a_fork_hears_the_events_that_its_copied_steps_had_not_heard(start_engine: StartEngine) -> None:
    engine = await start_engine(two_letters)
    run = await engine.start(two_letters)
    await engine.emit_event("letter", 1)
    await engine.emit_event("letter", 2)
    await run.result()

    forked = await engine.control.fork(run.id, from_step="letter/1")

    assert await result_of(engine, forked.run_id) == '[1,"between 1",2]'
    assert calls == {"between": 1}


async def test_a_fork_of_a_live_run_leaves_it_alone(start_engine: StartEngine) -> None:
    engine = await start_engine(two_letters)
    run = await engine.start(two_letters)
    await engine.emit_event("letter", 1)
    await until_state(engine, run.id, RunState.SUSPENDED)
    await until(lambda: calls["between"] == 1)

    forked = await engine.control.fork(run.id, from_step="do/0")
    await engine.emit_event("letter", 2)

    assert await result_of(engine, forked.run_id) == '[1,"between 2",2]'
    assert await result_of(engine, run.id) == '[1,"between 1",2]'


async def test_a_fork_with_a_key_is_made_once(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    run = await engine.start(invoice, 5)
    await run.result()

    made = [await engine.control.fork(run.id, idempotency_key="again") for _ in range(3)]

    assert [one.is_new for one in made] == [True, False, False]
    assert len({one.run_id for one in made}) == 1


async def test_the_key_of_a_fork_stands_for_its_source_its_step_its_input_and_its_results(
    start_engine: StartEngine,
) -> None:
    engine = await start_engine(invoice)
    run, other = await engine.start(invoice, 5), await engine.start(invoice, 5)
    await asyncio.gather(run.result(), other.result())
    fork = partial(engine.control.fork, idempotency_key="again")
    asked: dict[str, Any] = {"from_step": "pay/0", "input": {"amount": 7}, "results": {"pay/0": "in cash"}}
    made = await fork(run.id, **asked)

    same = await fork(run.id, **asked)

    assert (same.run_id, same.is_new) == (made.run_id, False)
    others: list[tuple[str, dict[str, Any]]] = [
        (other.id, {}),
        (run.id, {"from_step": "do/0"}),
        (run.id, {"input": {"amount": 8}}),
        (run.id, {"input": None}),
        (run.id, {"results": {"pay/0": "by card"}}),
        (run.id, {"results": {"do/0": "in cash"}}),
        (run.id, {"results": None}),
    ]
    for run_id, difference in others:
        with pytest.raises(Conflict, match="is not this fork") as caught:
            await fork(run_id, **asked | difference)
        assert caught.value.details == {"run_id": made.run_id, "idempotency_key": "again"}
    with pytest.raises(Conflict, match="other arguments"):
        await engine.start(invoice, 5, idempotency_key="again")
    assert len(await engine.list_runs(workflow="invoice")) == 3


async def test_the_key_of_a_start_is_not_the_key_of_a_fork(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    run = await engine.start(invoice, 5, idempotency_key="again")
    await run.result()

    with pytest.raises(Conflict, match="is not this fork"):
        await engine.control.fork(run.id, idempotency_key="again")


async def test_nobody_takes_the_key_that_a_retry_will_have(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    broken.add("pay")
    run = await engine.start(invoice, 5)
    await failed(engine, run.id)
    broken.clear()

    for key in (f"retry:{run.id}", f"move:{run.id}", f"bulk:{run.id}:{run.id}", "schedule:daily:1"):
        with pytest.raises(InvalidInput, match="the toolkit's own"):
            await engine.start(invoice, 6, idempotency_key=key)
        with pytest.raises(InvalidInput, match="the toolkit's own"):
            await engine.control.fork(run.id, idempotency_key=key)
    retried = await engine.control.retry(run.id)

    assert retried.is_new
    assert (await engine.get_run(retried.run_id)).summary.idempotency_key == f"retry:{run.id}"


async def test_a_fork_from_a_step_that_is_not_on_record_is_refused(start_engine: StartEngine) -> None:
    engine = await start_engine(invoice)
    run = await engine.start(invoice, 5)
    await run.result()

    with pytest.raises(NotFound, match="do/0"):
        await engine.control.fork(run.id, from_step="pay/7")
