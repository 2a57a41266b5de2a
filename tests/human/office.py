"""An engine, its human tasks, and a clock that can be turned: what the tests of this room work with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from toolkit.access import Permission, Principal
from toolkit.clock import SystemClock
from toolkit.files import File
from toolkit.human import (
    Calendar,
    Escalate,
    Group,
    Human,
    Quorum,
    Task,
    TaskCancelled,
    TaskDetail,
    TaskExpired,
    TaskService,
    TaskState,
    TaskWatch,
    Timeout,
    Value,
    WorkingTime,
    close_tasks,
)
from toolkit.storage import Database
from toolkit.workflows import Engine, RunHandle, Workflow, gather, workflow

Found = TypeVar("Found")


class Invoice(BaseModel):
    number: str
    total: Decimal = Decimal(0)


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    approved: bool
    amount: Decimal = Decimal(0)


review = Human("review", title="Review invoice", input_type=Invoice, output_type=Verdict)
review_soon = Human(
    "review_soon", title="Review now", input_type=Invoice, output_type=Verdict, timeout=timedelta(hours=1)
)
review_or_reject = Human(
    "review_or_reject",
    title="Review now, or it is rejected",
    output_type=Verdict,
    timeout=Timeout(timedelta(hours=1), on_timeout=Value(Verdict(approved=False))),
)


@workflow()
async def approve(invoice: Invoice) -> str:
    try:
        answer = await review(
            invoice, f"Is {invoice.number} right?", suggested_data={"approved": True}, assign_to="finance"
        )
    except TaskCancelled as error:
        return f"{error.task_id} cancelled by {error.cancelled_by}: {error.reason}"
    said = f"{answer.output.approved} {answer.output.amount}"
    return f"{answer.task_id} {answer.outcome} by {answer.completed_by} at {answer.completed_at}: {said}"


@workflow()
async def ask_twice() -> str:
    first = await review(Invoice(number="1"))
    second = await review(Invoice(number="2"))
    return f"{first.output.approved} {second.output.approved}"


@workflow()
async def review_all(numbers: list[str]) -> list[bool]:
    answers = await gather(*(review(Invoice(number=number)) for number in numbers))
    return [answer.output.approved for answer in answers]


@workflow()
async def take_first() -> None:
    await gather(review(Invoice(number="1")), review(Invoice(number="2")))


@workflow()
async def ask_for_an_hour() -> str:
    try:
        await review_soon(Invoice(number="1"))
    except TaskExpired as error:
        return f"expired: {error.task_id}"
    return "answered"


@workflow()
async def go_on_after_an_hour() -> str:
    answer = await review_or_reject()
    return f"{answer.task_id} {answer.outcome} {answer.completed_by} {answer.output.approved}"


@workflow()
async def upload_note() -> None:
    note = File(
        id="01900000-0000-7000-8000-000000000001",
        filename="note.txt",
        content_type="text/plain",
        size=5,
        sha256="0" * 64,
    )
    await review(Invoice(number="1"), files=[note])


# One question each way of asking.
claimable = Human("claimable", title="Take it", output_type=Verdict, candidates=["ada", Group("finance")])
mine = Human("mine", title="For Ada", output_type=Verdict, assign_to="ada")
nobodys = Human("nobodys", title="For nobody", output_type=Verdict)
two_pairs_of_eyes = Human(
    "two_pairs_of_eyes", title="Four eyes", output_type=Verdict, candidates=["ada", Group("finance")], four_eyes=True
)
two_of_three = Human(
    "two_of_three",
    title="Two of three",
    output_type=Verdict,
    candidates=["ada", "bob", "cleo"],
    quorum=Quorum(needed=2, of=3),
)
legal_and_finance = Human(
    "legal_and_finance",
    title="Legal and finance",
    output_type=Verdict,
    candidates=[Group("legal"), Group("finance")],
    quorum=Quorum(one_of_each=("legal", "finance")),
    four_eyes=True,
)
# Berlin: summer time ends on 2027-10-31; 2027-11-01 is a holiday in Bavaria.
BAVARIA = Calendar("Europe/Berlin", holidays="DE-BY")
climbing = Human(
    "climbing",
    title="Answer me",
    output_type=Verdict,
    assign_to="ada",
    calendar=BAVARIA,
    reminders=[WorkingTime(hours=4), WorkingTime(days=1)],
    escalation=[Escalate("bob", after=WorkingTime(days=2)), Escalate(Group("finance"))],
    timeout=Timeout(WorkingTime(days=3), on_timeout="escalate"),
)
MORE = {
    human.name: human
    for human in (
        claimable, mine, nobodys, two_pairs_of_eyes, two_of_three, legal_and_finance, climbing
    )
}  # fmt: skip


@workflow()
async def ask_by_name(name: str, prepared_by: list[str]) -> str:
    try:
        answer = await MORE[name](None, prepared_by=prepared_by)
    except TaskExpired:
        return "expired"
    voters = ",".join(vote.by for vote in answer.votes)
    return f"{answer.outcome} by {answer.completed_by} {answer.output.approved} [{voters}]"


@workflow()
async def ask_in_a_child(name: str) -> str:
    return await ask_by_name(name, [])


@workflow()
async def ask_in_a_loop_and_side_by_side(names: list[str]) -> list[str]:
    said = []
    for name in names:
        first, second = await gather(ask_by_name(name, []), MORE[name]())
        said += [first, second.completed_by or ""]
    return said


WORKFLOWS: tuple[Workflow[..., Any], ...] = (
    approve,
    ask_by_name,
    ask_for_an_hour,
    ask_in_a_child,
    ask_in_a_loop_and_side_by_side,
    ask_twice,
    go_on_after_an_hour,
    review_all,
    take_first,
    upload_note,
)


class TurnedClock:
    """The machine's clock, set forward by hand; the database takes its time from it too."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._machine = SystemClock()

    def now(self) -> datetime:
        return self._machine.now() + self.ahead

    def monotonic(self) -> float:
        return self._machine.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._machine.sleep(seconds)


def person(id: str, *permissions: Permission) -> Principal:
    """Somebody who may answer tasks, and no more than that."""
    return Principal(id=id, kind="person", permissions=frozenset({Permission.TASKS_COMPLETE, *permissions}))


class Office:
    """One installation of the engine with its tasks; it can be closed and opened again on the same database."""

    def __init__(self, url: str) -> None:
        self.clock = TurnedClock()
        self.humans: dict[str, Human[Any, Any]] = {
            human.name: human for human in (review, review_soon, review_or_reject, *MORE.values())
        }
        self.workflows: Sequence[Workflow[..., Any]] = WORKFLOWS
        self._url = url

    async def open(self) -> None:
        self.database = Database(self._url, clock=self.clock)
        await self.database.open()
        self.engine = Engine(self.database, workflows=self.workflows)
        self.engine.closers["human"] = close_tasks
        self.tasks = TaskService(database=self.database, humans=self.humans, engine=self.engine)
        self.watch = TaskWatch(self.tasks, self.database, poll_seconds=0.05)
        await self.engine.open()
        await self.watch.open()

    async def close(self) -> None:
        await self.watch.close()
        await self.engine.close()
        await self.database.close()

    async def deploy(self, *workflows: Workflow[..., Any], humans: Sequence[Human[Any, Any]] = ()) -> None:
        """Open again with these workflows and tasks in place of those of their names."""
        replaced = {workflow.name for workflow in workflows}
        self.workflows = [*(one for one in self.workflows if one.name not in replaced), *workflows]
        self.humans |= {human.name: human for human in humans}
        await self.restart()

    async def restart(self, *, later_by: timedelta = timedelta(0)) -> None:
        """Close everything, let time pass, and open it again in what might be another process."""
        await self.close()
        self.clock.ahead += later_by
        await self.open()

    async def turn(self, forward: timedelta) -> None:
        """Let ``forward`` pass at once."""
        self.clock.ahead += forward
        self.engine.poke()

    async def asked(self, name: str, *, started_by: str | None = None, prepared_by: Sequence[str] = ()) -> str:
        """The id of a new task of this name."""
        run = await self.engine.start(ask_by_name, name, list(prepared_by), started_by=started_by)
        return await self.open_task(run.id)

    async def staff(self) -> None:
        """Ada leads; Bob and Cleo are finance, Dora and Cleo are legal."""
        for person in ("ada", "bob", "cleo", "dora"):
            await self.tasks.directory.put_user(person, email=f"{person}@example.com")
        await self.tasks.directory.put_group("finance", members=["bob", "cleo"])
        await self.tasks.directory.put_group("legal", members=["dora", "cleo"])

    async def open_task(self, run_id: str) -> str:
        """The id of the one task that the run has open, as soon as it has."""
        (task,) = await self.open_tasks(run_id)
        return task.id

    async def open_tasks(self, run_id: str, *, count: int = 1) -> Sequence[Task]:
        """The run's open tasks, as soon as there are ``count``."""

        async def look() -> Sequence[Task] | None:
            tasks = await self.tasks.list(run_id=run_id, state=TaskState.OPEN)
            return tasks if len(tasks) == count else None

        return await until(look)

    async def ended_task(self, task_id: str) -> TaskDetail:
        """The task, as soon as it has ended."""

        async def look() -> TaskDetail | None:
            task = await self.tasks.get(task_id)
            return task if task.ended_at is not None else None

        return await until(look)

    async def result_of(self, run_id: str) -> Any:
        """The result of a run that an earlier process has started."""
        run = await self.engine.get_run(run_id)
        return await RunHandle(self.engine, run_id, self.engine.workflows[run.summary.workflow]).result()


async def until(look: Callable[[], Awaitable[Found | None]], *, seconds: float = 20) -> Found:
    """What ``look`` finds as soon as it finds something."""
    async with asyncio.timeout(seconds):
        while True:
            if (found := await look()) is not None:
                return found
            await asyncio.sleep(0.005)
