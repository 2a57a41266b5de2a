"""The tasks of one installation: listed, shown, claimed, passed on, answered, withdrawn."""

from __future__ import annotations

import builtins
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from sqlmodel import col, select

from toolkit.access import current_principal
from toolkit.errors import Conflict, NotFound
from toolkit.files import File
from toolkit.human import amendments, endings, handovers
from toolkit.human.catalogue import Catalogue
from toolkit.human.changes import TaskChange, too_late
from toolkit.human.cursors import Order
from toolkit.human.decisions import Act
from toolkit.human.directory import Directory, capacity_of
from toolkit.human.evidence import Verification, compare, verify_files
from toolkit.human.feeds import change_of, changes_after, last_number, number_changes
from toolkit.human.ladders import Group
from toolkit.human.queries import Filter, count_tasks, find_changes, find_tasks, read_task
from toolkit.human.states import ANSWERABLE, TaskState
from toolkit.human.tables import DraftRow, VoteRow
from toolkit.human.tasks import Change, Counts, Task, TaskDetail

if TYPE_CHECKING:
    from toolkit.files import FileStore
    from toolkit.human.human import Human
    from toolkit.human.tables import TaskRow
    from toolkit.storage import Database
    from toolkit.workflows import Engine

logger = logging.getLogger(__name__)


class TaskService:
    """What people do with tasks, whoever brings it: REST, links, console and command line all come through here.

    Each verb is one transaction, and every one of them may raise ``NotFound`` (no task has this id), ``Conflict`` (it
    has ended, ``details`` say by whom and when, or is not the ``version`` that was looked at) and ``PermissionDenied``
    (with the reason).

    ``humans`` are the definitions of this installation by name; they say what an answer must fit. ``is_telling`` says
    whether changes are news for notification channels. Where ``managers_explain``, whoever answers by the right to
    manage tasks alone must say why.
    """

    def __init__(
        self,
        *,
        database: Database,
        humans: Mapping[str, Human[Any, Any]],
        engine: Engine,
        is_telling: bool = False,
        managers_explain: bool = False,
    ) -> None:
        self.directory = Directory(database)
        self.catalogue = Catalogue(humans)
        self.is_telling = is_telling
        self.managers_explain = managers_explain
        self._database = database
        self._engine = engine

    # Looking ----------------------------------------------------------------------------------------------------------

    async def list(
        self,
        *,
        state: TaskState | None = None,
        assigned_to: str | None = None,
        name: str | None = None,
        workflow: str | None = None,
        run_id: str | None = None,
        candidate: str | None = None,
        mine: bool = False,
        due_before: datetime | None = None,
        text: str | None = None,
        order: Order = "newest",
        after: str | None = None,
        limit: int = 50,
    ) -> Sequence[Task]:
        """At most ``limit`` tasks, newest or due soonest first, ``after`` a cursor (see :func:`cursor_after`).

        ``mine`` are those in front of the current principal, in person, as a member of a group or as a substitute;
        ``candidate`` those in front of one actor, such as ``user:ada`` or ``group:finance``; both come due soonest
        first.

        Raises:
            InvalidInput: the cursor is not one of this list in this order.
        """
        async with self._database.session() as session:
            actors: builtins.list[str] | None = None if candidate is None else [candidate]
            if mine:
                today = self._database.clock.now().date()
                person = current_principal().id
                own = (await capacity_of(session, person, today=today)).actors(person)
                actors = [actor for actor in own if actors is None or actor in actors]
            wanted = Filter(
                state=state,
                assigned_to=assigned_to,
                name=name,
                workflow=workflow,
                run_id=run_id,
                due_before=due_before,
                text=text,
                actors=actors,
            )
            return await find_tasks(session, wanted, order=order, after=after, limit=limit)

    async def counts(self) -> Counts:
        """How many tasks wait, are late, and stand in front of the current principal."""
        now, person = self._database.clock.now(), current_principal().id
        async with self._database.session() as session:
            capacity = await capacity_of(session, person, today=now.date())
            return await count_tasks(session, actors=sorted(capacity.actors(person)), now=now)

    async def get(self, task_id: str) -> TaskDetail:
        """One task with its payloads, its files and the form of its answer."""
        async with self._database.session() as session:
            row = await read_task(session, task_id)
            query = select(VoteRow.is_rejection).where(col(VoteRow.task_id) == task_id)
            votes = [] if row.quorum is None else builtins.list((await session.exec(query)).all())
        return self.catalogue.detail(row, rejections=votes)

    async def history(self, task_id: str) -> builtins.list[Change]:
        """Everything that happened to a task, in order: who, when, what and why."""
        async with self._database.session() as session:
            await read_task(session, task_id)
            return await find_changes(session, task_id=task_id)

    async def changes_since(self, number: int, *, limit: int = 200) -> builtins.list[tuple[int, Change]]:
        """What happened to any task after the change of this number, each with its own, in the order of commits."""
        return await changes_after(self._database, number, limit=limit)

    async def last_change(self) -> int:
        """The number of the last change to any task, 0 if there is none."""
        return await last_number(self._database)

    async def number_changes(self) -> None:
        """Number what has happened, so that nobody who asks for changes finds a pile of it."""
        await number_changes(self._database)

    async def verify(self, task_id: str, *, store: FileStore | None = None) -> Verification:
        """Whether what was answered is what is on record today; with a ``store``, the bytes of its files are read too.

        Raises:
            Conflict: it has no answer.
        """
        async with self._database.session() as session:
            row = await read_task(session, task_id)
            votes = (await session.exec(select(VoteRow).where(col(VoteRow.task_id) == task_id))).all()
        if row.evidence is None or row.output is None:
            raise Conflict(f"task {task_id!r} is {row.state!r} and has no answer to verify", state=row.state)
        given = [(vote.evidence, vote.output) for vote in votes] or [(row.evidence, row.output)]
        changed = set().union(*(compare(evidence, row, output) for evidence, output in given))
        files = [] if store is None else await verify_files(row, store)
        if any(not file.is_unchanged for file in files):
            changed.add("files")
        return Verification(
            task_id=task_id, is_unchanged=not changed, changed=sorted(changed), answers=len(given), files=files
        )

    # Answering --------------------------------------------------------------------------------------------------------

    async def complete(
        self,
        task_id: str,
        output_json: str | bytes,
        *,
        version: int | None = None,
        seen: str | None = None,
        reason: str | None = None,
    ) -> TaskDetail:
        """Answer a task as the current principal; the first answer wins, and its run goes on.

        ``version`` and ``seen`` (the digest in a :class:`TaskDetail`) bind the answer to what was looked at. Where
        there is a quorum this is a vote, and the run goes on when the votes suffice.

        Raises:
            InvalidInput: the answer does not fit the output type; the task stays open.
        """
        row = await self._read(task_id)
        if TaskState(row.state) not in ANSWERABLE:
            raise too_late(row)
        output = self.catalogue.valid_output(row, output_json)
        async with self.changing() as change:
            await self.answer(change, task_id, output, version=version, seen=seen, reason=reason)
        self.announce(change)
        return await self.get(task_id)

    async def answer(
        self,
        change: TaskChange,
        task_id: str,
        output: str,
        *,
        version: int | None = None,
        seen: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Answer within a transaction of the caller; ``output`` is valid. Announce it after the commit."""
        row = await change.take(task_id, is_ending=True, version=version)
        human = self.catalogue.definition_of(row)
        await endings.answer(change, output, human=human, seen=seen, reason=reason, must_explain=self.managers_explain)

    async def validated(self, task_id: str, output_json: str | bytes) -> str:
        """The answer as it would be stored.

        Raises:
            InvalidInput: as for :meth:`complete`.
        """
        return self.catalogue.valid_output(await self._read(task_id), output_json)

    async def cancel(self, task_id: str, *, reason: str | None = None) -> TaskDetail:
        """Withdraw a task as the current principal; its run gets :class:`~toolkit.errors.TaskCancelled`."""
        async with self.changing() as change:
            await change.take(task_id, is_ending=True)
            await change.allow(Act.CANCEL)
            await endings.settle(change, "cancelled", reason=reason)
        self.announce(change)
        return await self.get(task_id)

    # Passing on -------------------------------------------------------------------------------------------------------

    async def claim(self, task_id: str, *, version: int | None = None) -> TaskDetail:
        """Take a task on; others can then no longer answer it, and whoever has it already keeps it."""
        async with self.changing(task_id, version=version) as change:
            await handovers.claim(change)
        return await self.get(task_id)

    async def unclaim(self, task_id: str, *, reason: str | None = None) -> TaskDetail:
        """Give a claimed task back to whoever may take it."""
        async with self.changing(task_id) as change:
            await handovers.unclaim(change, reason=reason)
        return await self.get(task_id)

    async def assign(
        self, task_id: str, to: str | Group, *, reason: str | None = None, version: int | None = None
    ) -> TaskDetail:
        """Put a task before another person, or before a group, whose members may then claim it."""
        async with self.changing(task_id, version=version) as change:
            await handovers.assign(change, to, reason=reason)
        return await self.get(task_id)

    async def delegate(
        self, task_id: str, to: str, *, reason: str | None = None, version: int | None = None
    ) -> TaskDetail:
        """Hand a task of one's own to another person; whose it was stays on record as its ``owner``."""
        async with self.changing(task_id, version=version) as change:
            await handovers.delegate(change, to, reason=reason)
        return await self.get(task_id)

    async def send_back(self, task_id: str, *, reason: str, to: str | None = None) -> TaskDetail:
        """Ask somebody (the one who started the run, unless ``to`` is given) to rework what the task shows.

        It stays open and takes no answer until it is returned.
        """
        async with self.changing(task_id) as change:
            await handovers.send_back(change, to=to, reason=reason)
        return await self.get(task_id)

    async def return_reworked(
        self, task_id: str, *, note: str | None = None, suggested_json: str | None = None
    ) -> TaskDetail:
        """Hand a task that was sent back to whoever sent it; ``suggested_json`` replaces what fills the form."""
        async with self.changing(task_id) as change:
            await handovers.take_back(change, note=note, suggested_json=suggested_json)
        return await self.get(task_id)

    # Around the answer ------------------------------------------------------------------------------------------------

    async def edit(
        self,
        task_id: str,
        *,
        due_at: datetime | None = None,
        priority: int | None = None,
        reason: str | None = None,
        version: int | None = None,
    ) -> TaskDetail:
        """Change when an answer is wanted, or how urgently. What is left of the ladder moves with the due date."""
        async with self.changing(task_id, version=version) as change:
            await amendments.edit(change, due_at=due_at, priority=priority, reason=reason)
        return await self.get(task_id)

    async def comment(self, task_id: str, text: str) -> Change:
        """Say something about a task; it stays with it, also after its end."""
        async with self.changing(task_id) as change:
            row = await amendments.comment(change, text)
        return change_of(row)

    async def attach(self, task_id: str, files: Iterable[File]) -> TaskDetail:
        """Add files to what the task shows."""
        async with self.changing(task_id) as change:
            await amendments.attach(change, files)
        return await self.get(task_id)

    async def save_draft(self, task_id: str, output_json: str) -> None:
        """Keep what the current principal has filled in so far; it need not fit yet."""
        async with self.changing(task_id) as change:
            await amendments.save_draft(change, output_json)

    async def draft(self, task_id: str) -> Any:
        """The current principal's draft as parsed JSON.

        Raises:
            NotFound: there is none.
        """
        async with self._database.session() as session:
            row = await session.get(DraftRow, (task_id, current_principal().id))
        if row is None:
            raise NotFound("draft of task", task_id)
        return from_json(row.output)

    # Transactions -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def changing(self, task_id: str | None = None, *, version: int | None = None) -> AsyncIterator[TaskChange]:
        """A change in a transaction of its own, which has taken the task of this id if one is given."""
        async with self._database.session() as session:
            change = TaskChange(session, clock=self._database.clock, is_told=self.is_telling)
            if task_id is not None:
                await change.take(task_id, version=version)
            yield change

    def announce(self, change: TaskChange) -> None:
        """After the commit, so that nobody hears of what did not happen."""
        self._engine.poke()
        row = change.row
        logger.info(
            "A task was answered or ended",
            extra={"event": f"task.{row.state}", "task_id": row.id, "run_id": row.run_id, "by": change.principal.id},
        )

    async def _read(self, task_id: str) -> TaskRow:
        async with self._database.session() as session:
            return await read_task(session, task_id)
