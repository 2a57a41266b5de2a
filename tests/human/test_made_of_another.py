"""A retry and a fork are still in the name of whoever began: four eyes hold, and questions go to the right person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.human.office import MORE, Invoice, Office, ask_by_name, person, review, review_soon, until
from toolkit.access import Permission, acting_as
from toolkit.errors import PermissionDenied, RunFailed
from toolkit.human import Task, TaskState, ask
from toolkit.workflows import continue_as_new, gather, step, workflow

down: list[str] = []


@step()
async def read_scan() -> None:
    if down:
        raise RuntimeError("the scanner is down")


@workflow()
async def pay() -> str:
    await read_scan()
    return (await MORE["two_pairs_of_eyes"]()).completed_by or ""


@workflow()
async def pay_by_a_child() -> str:
    return await pay()


@workflow()
async def pay_by_another_run() -> str:
    await read_scan()
    return (await pay.start()).id


@workflow()
async def pay_later(times: int) -> str:
    await read_scan()
    if times:
        await continue_as_new(times - 1)
    return await pay()


@workflow()
async def ask_whoever_began() -> str:
    await read_scan()
    return await ask.text("How far?")


@pytest.fixture
async def scanner(office: Office) -> Office:
    down[:] = ["down"]
    office.workflows = [*office.workflows, pay, pay_by_a_child, pay_by_another_run, pay_later, ask_whoever_began]
    await office.restart()
    await office.staff()
    await office.tasks.directory.put_group("finance", members=["bob", "cleo", "eve", "ops"])
    return office


async def retried(office: Office, name: str, **input: int) -> str:
    """The id of what Ops has made of a run of Eve's that has failed."""
    run = await office.engine.start_json(name, input, started_by="eve")
    with pytest.raises(RunFailed):
        await run.result()
    down.clear()
    return (await office.engine.control.retry(run.id, by="ops")).run_id


async def refused(office: Office, who: str, task_id: str) -> bool:
    with acting_as(person(who)):
        try:
            await office.tasks.complete(task_id, '{"approved": true}')
        except PermissionDenied as error:
            return "four eyes" in str(error)
    return False


@pytest.mark.parametrize("name", ["pay", "pay_by_a_child"])
async def test_who_started_a_run_is_excluded_from_its_retry(scanner: Office, name: str) -> None:
    run_id = await retried(scanner, name)
    (task,) = await everything_open(scanner)

    assert task.created_by == "eve"
    assert [await refused(scanner, who, task.id) for who in ("eve", "ops", "bob")] == [True, True, False]
    assert await scanner.result_of(run_id) == "bob"


async def everything_open(office: Office, *, count: int = 1) -> Sequence[Task]:
    """The open tasks of all runs, as soon as there are ``count``."""

    async def look() -> Sequence[Task] | None:
        tasks = await office.tasks.list(state=TaskState.OPEN)
        return tasks if len(tasks) == count else None

    return await until(look)


async def test_what_a_retry_starts_or_goes_on_as_is_in_the_name_of_whoever_began(scanner: Office) -> None:
    other = await scanner.result_of(await retried(scanner, "pay_by_another_run"))
    down[:] = ["down"]
    await retried(scanner, "pay_later", times=1)
    tasks = [task.id for task in await everything_open(scanner, count=2)]

    assert other in {(await scanner.tasks.get(task)).run_id for task in tasks}
    assert [await refused(scanner, who, task) for task in tasks for who in ("eve", "ops", "bob")] == [
        True, True, False, True, True, False
    ]  # fmt: skip


async def test_who_started_a_run_is_excluded_from_a_fork_of_a_fork(office: Office) -> None:
    await office.staff()
    run = await office.engine.start(ask_by_name, "two_pairs_of_eyes", [], started_by="bob")
    await office.open_task(run.id)
    fork = await office.engine.control.fork(run.id, by="dora")
    again = await office.engine.control.fork(fork.run_id, by="ops")
    task_id = await office.open_task(again.run_id)

    assert [await refused(office, who, task_id) for who in ("bob", "cleo")] == [True, False]


async def test_the_questions_of_a_retry_go_to_whoever_began(scanner: Office) -> None:
    task = await scanner.tasks.get(await scanner.open_task(await retried(scanner, "ask_whoever_began")))

    assert (task.assigned_to, task.created_by) == ("eve", "eve")


async def test_the_task_of_a_retry_is_sent_back_to_whoever_began(scanner: Office) -> None:
    task_id = await scanner.open_task(await retried(scanner, "pay"))

    with acting_as(person("bob")):
        sent = await scanner.tasks.send_back(task_id, reason="which scan?")

    assert sent.sent_back_to == "eve"


@workflow()
async def ask_after_reading() -> str:
    await count_reading()
    return (await review_soon(Invoice(number="1"), assign_to="bob")).completed_by or ""


@workflow()
async def ask_in_branches() -> list[str]:
    await count_reading()
    answers = await gather(
        review_soon(Invoice(number="1"), assign_to="bob"), review(Invoice(number="2"), assign_to="bob")
    )
    return [answer.completed_by or "" for answer in answers]


@workflow()
async def ask_by_a_child_of_its_own() -> str:
    return await ask_after_reading()


@workflow()
async def ask_and_blame() -> str:
    try:
        return await ask_after_reading()
    except RunFailed as error:
        raise LookupError("nobody looked") from error


readings: list[int] = []


@step()
async def count_reading() -> None:
    readings.append(1)


@pytest.fixture
async def asking(office: Office) -> Office:
    readings.clear()
    office.workflows = [*office.workflows, ask_after_reading, ask_in_branches, ask_by_a_child_of_its_own, ask_and_blame]
    await office.restart()
    return office


@pytest.mark.parametrize("name", ["ask_after_reading", "ask_in_branches", "ask_by_a_child_of_its_own", "ask_and_blame"])
@pytest.mark.parametrize("ending", ["withdrawn", "expired"])
async def test_a_retry_asks_again_what_was_withdrawn_or_not_answered_in_time(
    asking: Office, name: str, ending: str
) -> None:
    run = await asking.engine.start_json(name, {}, started_by="eve")
    count = 2 if name == "ask_in_branches" else 1
    first = next(task for task in await everything_open(asking, count=count) if task.name == "review_soon")
    if ending == "withdrawn":
        with acting_as(person("ops", Permission.TASKS_CANCEL)):
            await asking.tasks.cancel(first.id, reason="the wrong form")
    else:
        await asking.turn(timedelta(hours=2))
    with pytest.raises(RunFailed):
        await run.result()

    retry = await asking.engine.control.retry(run.id, by="ops")
    again = await everything_open(asking, count=count)
    assert "review_soon" in {task.name for task in again}
    assert first.id not in {task.id for task in again}
    for task in again:
        with acting_as(person("bob")):
            await asking.tasks.complete(task.id, '{"approved": true}')
    assert "bob" in await asking.result_of(retry.run_id)
    assert len(readings) == 1  # what stands before the question was not done again
