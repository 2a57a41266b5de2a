"""The tasks of one installation: listed, shown, claimed, passed on, answered, withdrawn."""

from __future__ import annotations

import builtins
import json
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_core import from_json
from sqlmodel import col, delete, select

from toolkit.access import current_principal
from toolkit.errors import Conflict, InvalidInput, NotFound
from toolkit.files import File
from toolkit.human.answers import Answer, CastVote
from toolkit.human.changes import TaskChange, too_late
from toolkit.human.decisions import Act
from toolkit.human.directory import Directory, capacity_of
from toolkit.human.evidence import Verification, compare, shown_digest, testify
from toolkit.human.forms import build_form, check_read_only
from toolkit.human.ladders import Group, actor_of, decode_ladder, encode_ladder, moved
from toolkit.human.queries import Filter, Order, count_tasks, find_tasks, task_of
from toolkit.human.quorums import Ballot, Quorum, standing
from toolkit.human.states import ANSWERABLE, TaskState
from toolkit.human.tables import ChangeRow, DraftRow, InboxRow, TaskRow, VoteRow
from toolkit.human.tasks import Change, Counts, Quota, Task, TaskDetail
from toolkit.workflows import resolve_wait

if TYPE_CHECKING:
    from toolkit.human.human import Human
    from toolkit.storage import Database
    from toolkit.workflows import Engine

logger = logging.getLogger(__name__)

_LONGEST_ANCESTRY = 100
_LARGEST_OUTPUT = 4_000_000


class TaskService:
    """What people do with tasks, whoever brings it: REST, links, console and command line all come through here.

    ``humans`` are the definitions of this installation by name; they say what an answer must fit. ``is_telling`` says
    whether changes are news for notification channels.
    """

    def __init__(
        self,
        *,
        database: Database,
        humans: Mapping[str, Human[Any, Any]],
        engine: Engine,
        is_telling: bool = False,
    ) -> None:
        self.directory = Directory(database)
        self.is_telling = is_telling
        self._database = database
        self._humans = humans
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
        """At most ``limit`` tasks that come ``after`` the task of this id, newest or due soonest first.

        ``mine`` are those in front of the current principal, in person, as a member of a group or as a substitute;
        ``candidate`` those in front of one actor, such as ``user:ada`` or ``group:finance``; both come due soonest
        first.
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
        """One task with its payloads, its files and the form of its answer.

        Raises:
            NotFound: no task has this id.
        """
        async with self._database.session() as session:
            row = await session.get(TaskRow, task_id)
            if row is None:
                raise NotFound("task", task_id)
            query = select(VoteRow.is_rejection).where(col(VoteRow.task_id) == task_id)
            votes = [] if row.quorum is None else list((await session.exec(query)).all())
        return self._detail(row, votes)

    async def history(self, task_id: str) -> builtins.list[Change]:
        """Everything that happened to a task, in order: who, when, what and why.

        Raises:
            NotFound: no task has this id.
        """
        await self._read(task_id)
        query = select(ChangeRow).where(col(ChangeRow.task_id) == task_id).order_by(col(ChangeRow.id))
        async with self._database.session() as session:
            return [
                Change(**{**row.model_dump(), "details": json.loads(row.details)})
                for row in (await session.exec(query)).all()
            ]

    async def changes_since(self, change_id: str, *, limit: int = 200) -> builtins.list[Change]:
        """What happened to any task after the change of this id, in order."""
        query = select(ChangeRow).where(col(ChangeRow.id) > change_id).order_by(col(ChangeRow.id)).limit(limit)
        async with self._database.session() as session:
            return [
                Change(**{**row.model_dump(), "details": json.loads(row.details)})
                for row in (await session.exec(query)).all()
            ]

    async def verify(self, task_id: str) -> Verification:
        """Whether what was answered is what is on record today.

        Raises:
            NotFound: no task has this id.
            Conflict: it has no answer.
        """
        row = await self._read(task_id)
        if row.evidence is None or row.output is None:
            raise Conflict(f"task {task_id!r} is {row.state!r} and has no answer to verify", state=row.state)
        async with self._database.session() as session:
            votes = (await session.exec(select(VoteRow).where(col(VoteRow.task_id) == task_id))).all()
        given = [(vote.evidence, vote.output) for vote in votes] or [(row.evidence, row.output)]
        changed = set().union(*(compare(evidence, row, output) for evidence, output in given))
        return Verification(task_id=task_id, is_unchanged=not changed, changed=sorted(changed), answers=len(given))

    # Answering --------------------------------------------------------------------------------------------------------

    async def complete(
        self, task_id: str, output_json: str | bytes, *, version: int | None = None, seen: str | None = None
    ) -> TaskDetail:
        """Answer a task as the current principal; the first answer wins, and its run goes on.

        ``version`` and ``seen`` (the digest in a :class:`TaskDetail`) bind the answer to what was looked at. Where
        there is a quorum this is a vote, and the run goes on when the votes suffice.

        Raises:
            NotFound: no task has this id.
            InvalidInput: the answer does not fit the output type; the task stays open.
            Conflict: the task is not open any more (``details`` say who ended it and when), or is not what was seen.
            PermissionDenied: the task is not for this principal to answer.
        """
        row = await self._read(task_id)
        if TaskState(row.state) not in ANSWERABLE:
            raise too_late(row)
        output = self._valid_output(row, output_json)
        async with self.changing() as change:
            await self.answer(change, task_id, output, version=version, seen=seen)
        self.announce(change)
        return await self.get(task_id)

    async def answer(
        self, change: TaskChange, task_id: str, output: str, *, version: int | None = None, seen: str | None = None
    ) -> None:
        """Answer within a transaction of the caller; ``output`` is valid. Poke the engine after the commit."""
        row = await change.take(task_id, is_ending=True, version=version)
        await change.allow(Act.COMPLETE)
        form_digest = self._human(row).output_schema_digest
        if seen is not None and seen != shown_digest(row, form_digest=form_digest):
            raise Conflict(f"task {task_id!r} does not show what the answer was given to; look at it again", seen=seen)
        if row.sent_back_to is not None:
            raise Conflict(
                f"task {task_id!r} was sent back to {row.sent_back_to!r}, who has not returned it yet",
                sent_back_to=row.sent_back_to,
            )
        evidence = testify(row, output, form_digest=form_digest)
        if row.quorum is None:
            return await self._settle(change, "completed", output=output, evidence=evidence)
        await self._vote(change, output, evidence)
        return None

    async def cancel(self, task_id: str, *, reason: str | None = None) -> TaskDetail:
        """Withdraw a task as the current principal; its run gets :class:`~toolkit.errors.TaskCancelled`.

        Raises:
            NotFound, Conflict: as for :meth:`complete`.
        """
        async with self.changing() as change:
            await change.take(task_id, is_ending=True)
            await self._settle(change, "cancelled", reason=reason)
        self.announce(change)
        return await self.get(task_id)

    async def expire(self, change: TaskChange) -> None:
        """End a task whose time is up, within the transaction of whoever watches the time."""
        await self._settle(change, "expired")

    # Passing on -------------------------------------------------------------------------------------------------------

    async def claim(self, task_id: str, *, version: int | None = None) -> TaskDetail:
        """Take a task on; others can then no longer answer it.

        Raises:
            Conflict: somebody else has it, or everybody is to answer it.
            NotFound, PermissionDenied: as for :meth:`complete`.
        """
        async with self.changing() as change:
            row = await change.take(task_id, version=version)
            if row.quorum is not None:
                raise Conflict(f"task {task_id!r} asks several people; nobody can take it alone", state=row.state)
            if row.state == TaskState.CLAIMED and row.assigned_to != change.principal.id:
                raise Conflict(f"task {task_id!r} has been claimed by {row.assigned_to!r}", assigned_to=row.assigned_to)
            await change.allow(Act.CLAIM)
            row.owner = row.owner or (row.assigned_to if row.assigned_to != change.principal.id else None)
            row.state, row.assigned_to = TaskState.CLAIMED.value, change.principal.id
            await change.place(change.actors())
            await change.record("claimed")
        return await self.get(task_id)

    async def unclaim(self, task_id: str, *, reason: str | None = None) -> TaskDetail:
        """Give a claimed task back to whoever may take it.

        Raises:
            Conflict: it is not claimed.
            NotFound, PermissionDenied: as for :meth:`complete`.
        """
        async with self.changing() as change:
            row = await change.take(task_id)
            if row.state != TaskState.CLAIMED:
                raise Conflict(f"task {task_id!r} is not claimed", state=row.state)
            await change.allow(Act.RETURN)
            released, row.state = row.assigned_to, TaskState.OPEN.value
            # Without candidates it stays with whom it was for first.
            row.assigned_to = row.owner if row.owner or json.loads(row.candidates) else released
            row.owner = None
            await change.place(change.actors())
            await change.record("unclaimed", note=reason, details={"from": released})
        return await self.get(task_id)

    async def assign(
        self, task_id: str, to: str | Group, *, reason: str | None = None, version: int | None = None
    ) -> TaskDetail:
        """Put a task before another person, or before a group, whose members may then claim it.

        Raises:
            PermissionDenied: the principal may not manage tasks, or ``to`` must not decide this one.
            NotFound, Conflict: as for :meth:`complete`.
        """
        async with self.changing() as change:
            await change.take(task_id, version=version)
            await change.allow(Act.MANAGE)
            await self.move(change, to, action="assigned", note=reason)
        return await self.get(task_id)

    async def delegate(
        self, task_id: str, to: str, *, reason: str | None = None, version: int | None = None
    ) -> TaskDetail:
        """Hand a task of one's own to another person; whose it was stays on record as its ``owner``.

        Raises:
            PermissionDenied: it is not the principal's, or ``to`` must not decide it.
            NotFound, Conflict: as for :meth:`complete`.
        """
        async with self.changing() as change:
            row = await change.take(task_id, version=version)
            if row.quorum is not None:
                raise Conflict(f"task {task_id!r} asks several people; a vote cannot be handed on", state=row.state)
            await change.allow(Act.DELEGATE)
            await change.refuse_excluded(to)
            details = {"from": row.assigned_to or change.principal.id, "to": to}
            row.owner = row.owner or row.assigned_to or change.principal.id
            row.state, row.assigned_to = TaskState.OPEN.value, to
            await change.place(change.actors())
            await change.record("delegated", note=reason, details=details, is_news=True)
        return await self.get(task_id)

    async def move(self, change: TaskChange, to: str | Group, *, action: str, note: str | None = None) -> None:
        """Put a task that is taken already before ``to``."""
        row = change.row
        details: dict[str, Any] = {"from": row.assigned_to, "to": actor_of(to)}
        if isinstance(to, Group):
            row.assigned_to, row.candidates = None, json.dumps([actor_of(to)])
        else:
            await change.refuse_excluded(to)
            row.assigned_to = to
        row.state, row.owner, row.sent_back_to, row.sent_back_by = TaskState.OPEN.value, None, None, None
        await change.place(change.actors())
        await change.record(action, note=note, details=details, is_news=True)

    async def send_back(self, task_id: str, *, reason: str, to: str | None = None) -> TaskDetail:
        """Ask somebody (the one who started the run, unless ``to`` is given) to rework what the task shows.

        It stays open and takes no answer until it is returned.

        Raises:
            Conflict: nobody is known to send it to, or it is sent back already.
            NotFound, PermissionDenied: as for :meth:`complete`.
        """
        async with self.changing() as change:
            row = await change.take(task_id)
            await change.allow(Act.COMPLETE)
            recipient = to or row.created_by
            if recipient is None or row.sent_back_to is not None:
                said = "nobody is known to have started it" if recipient is None else "it is sent back already"
                raise Conflict(f"task {task_id!r} cannot be sent back: {said}", sent_back_to=row.sent_back_to)
            row.sent_back_to, row.sent_back_by = recipient, change.principal.id
            await change.place(change.actors())
            await change.record("sent_back", note=reason, details={"to": recipient}, is_news=True)
        return await self.get(task_id)

    async def return_reworked(
        self, task_id: str, *, note: str | None = None, suggested_json: str | None = None
    ) -> TaskDetail:
        """Hand a task that was sent back to whoever sent it, with other suggested data if ``suggested_json`` is given.

        Raises:
            Conflict: it was not sent back, or to somebody else.
            NotFound: as for :meth:`complete`.
        """
        async with self.changing() as change:
            row = await change.take(task_id)
            if row.sent_back_to is None or change.principal.id not in {row.sent_back_to, row.sent_back_by}:
                raise Conflict(
                    f"task {task_id!r} was not sent back to {change.principal.id!r}", sent_back_to=row.sent_back_to
                )
            if suggested_json is not None:
                row.suggested_data = suggested_json
            row.sent_back_to, row.sent_back_by = None, None
            await change.place(change.actors())
            await change.record(
                "returned", note=note, details={"has_new_data": suggested_json is not None}, is_news=True
            )
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
        """Change when an answer is wanted, or how urgently. What is left of the ladder moves with the due date.

        Raises:
            NotFound, Conflict, PermissionDenied: as for :meth:`assign`.
        """
        async with self.changing() as change:
            row = await change.take(task_id, version=version)
            await change.allow(Act.MANAGE)
            details: dict[str, Any] = {}
            if due_at is not None:
                details["due_at"] = [row.due_at and row.due_at.isoformat(), due_at.isoformat()]
                rungs = decode_ladder(row.ladder)
                if row.due_at is not None and rungs:
                    rungs = moved(rungs, due_at - row.due_at)
                    row.ladder, row.next_at = encode_ladder(rungs), rungs[0].at
                row.due_at = row.due_order = due_at
                await change.place(change.actors())
            if priority is not None:
                details["priority"] = [row.priority, priority]
                row.priority = priority
            await change.record("edited", note=reason, details=details)
        return await self.get(task_id)

    async def comment(self, task_id: str, text: str) -> Change:
        """Say something about a task; it stays with it, also after its end.

        Raises:
            NotFound, Conflict, PermissionDenied: as for :meth:`complete`.
        """
        async with self.changing() as change:
            await self._annotate(change, task_id)
            await change.record("commented", note=text, is_news=True, raises_version=False)
        return (await self.history(task_id))[-1]

    async def attach(self, task_id: str, files: Iterable[File]) -> TaskDetail:
        """Add files to what the task shows.

        Raises:
            NotFound, Conflict, PermissionDenied: as for :meth:`complete`.
        """
        async with self.changing() as change:
            row = await self._annotate(change, task_id)
            added = [file.model_dump(mode="json", include=set(File.model_fields)) for file in files]
            row.files = json.dumps([*json.loads(row.files), *added])
            await change.record("file_attached", details={"files": [file["id"] for file in added]})
        return await self.get(task_id)

    async def save_draft(self, task_id: str, output_json: str) -> None:
        """Keep what the current principal has filled in so far; it need not fit yet.

        Raises:
            NotFound, Conflict, PermissionDenied: as for :meth:`complete`.
        """
        async with self.changing() as change:
            await change.take(task_id)
            await change.allow(Act.ANNOTATE)
            await change.session.merge(
                DraftRow(task_id=task_id, person=change.principal.id, output=output_json, saved_at=change.now)
            )

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

    async def _annotate(self, change: TaskChange, task_id: str) -> TaskRow:
        """Whoever started the task or reworks it may add to it, as may everybody who could answer it."""
        row = await change.take(task_id)
        if change.principal.id not in {row.created_by, row.sent_back_to, row.owner}:
            await change.allow(Act.ANNOTATE)
        return row

    # Within a transaction ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[TaskChange]:
        async with self._database.session() as session:
            yield TaskChange(session, clock=self._database.clock, is_told=self.is_telling, starters=self._starters)

    async def _starters(self, row: TaskRow) -> set[str]:
        """Who started the run that asks, or any run that this one is a child of."""
        found, run_id = {row.created_by} if row.created_by else set(), row.run_id
        for _ in range(_LONGEST_ANCESTRY):
            run = (await self._engine.get_run(run_id)).summary
            if run.started_by is not None:
                found.add(run.started_by)
            if run.parent_id is None:
                break
            run_id = run.parent_id
        return found

    async def _vote(self, change: TaskChange, output: str, evidence: str) -> None:
        """Count a vote; the one that decides ends the task."""
        row, session, voter = change.row, change.session, change.principal.id
        if await session.get(VoteRow, (row.id, voter)) is not None:
            raise Conflict(f"task {row.id!r} has the vote of {voter!r} already", voter=voter)
        human = self._human(row)
        quorum = human.quorum or Quorum(needed=1)  # whatever the code says now, the task's own numbers count
        capacity = await capacity_of(session, voter, today=change.now.date())
        vote = VoteRow(
            task_id=row.id,
            voter=voter,
            at=change.now,
            output=output,
            is_rejection=int(quorum.is_rejection(human.output_codec.decode(output))),
            groups=json.dumps(sorted(capacity.groups)),
            evidence=evidence,
        )
        query = select(VoteRow).where(col(VoteRow.task_id) == row.id).order_by(col(VoteRow.at))
        votes = [*(await session.exec(query)).all(), vote]
        session.add(vote)
        rule = json.loads(row.quorum or "{}")
        outcome = standing([Ballot(bool(one.is_rejection), frozenset(json.loads(one.groups))) for one in votes], **rule)
        if outcome == "open":
            details = {"is_rejection": bool(vote.is_rejection), "votes": len(votes)}
            await change.record("voted", details=details, raises_version=False)
            return
        cast = [
            CastVote(
                by=one.voter,
                at=one.at,
                is_rejection=bool(one.is_rejection),
                output=msgspec.Raw(one.output.encode()),
            )
            for one in votes
        ]
        await self._settle(
            change, "completed" if outcome == "accepted" else "rejected", output=output, evidence=evidence, votes=cast
        )

    async def _settle(
        self,
        change: TaskChange,
        outcome: Any,
        *,
        output: str | None = None,
        evidence: str | None = None,
        reason: str | None = None,
        votes: Sequence[CastVote] = (),
    ) -> None:
        """Answer the wait, end the task and write it down."""
        row, by, at = change.row, change.principal.id, change.now
        answer = Answer(
            task_id=row.id,
            outcome=outcome,
            by=by,
            at=at,
            output=msgspec.Raw((output or "null").encode()),
            reason=reason or "",
            votes=list(votes),
        )
        if not await resolve_wait(change.session, wait_id=row.id, payload_json=answer.encode()):
            raise too_late(row)
        is_answer = outcome in {"completed", "rejected"}
        action = "completed" if is_answer else outcome
        row.state = TaskState(action).value
        row.output, row.evidence = output, evidence
        row.completed_at, row.completed_by = (at, by) if is_answer else (None, None)
        row.ended_at, row.ended_by, row.end_reason = at, None if outcome == "expired" else by, reason
        row.next_at = None
        await change.session.exec(delete(InboxRow).where(col(InboxRow.task_id) == row.id))
        await change.session.exec(delete(DraftRow).where(col(DraftRow.task_id) == row.id))
        details: dict[str, Any] = {"outcome": outcome, "votes": len(votes)} if votes else {}
        if is_answer and row.assigned_to not in {None, by}:
            details["in_stead_of"] = row.assigned_to
        await change.record(action, note=reason, details=details, is_news=True)

    def announce(self, change: TaskChange) -> None:
        """After the commit, so that nobody hears of what did not happen."""
        self._engine.poke()
        row = change.row
        logger.info(
            "A task was answered or ended",
            extra={"event": f"task.{row.state}", "task_id": row.id, "run_id": row.run_id, "by": change.principal.id},
        )

    # What the definitions know ----------------------------------------------------------------------------------------

    def _human(self, row: TaskRow) -> Human[Any, Any]:
        human = self._humans.get(row.name)
        if human is None:
            raise Conflict(
                f"task {row.id!r} was opened by {row.name!r}, which this installation does not define (any more); "
                "register it again to answer the task, or cancel the task",
                state=row.state,
                name=row.name,
            )
        return human

    def _valid_output(self, row: TaskRow, output_json: str | bytes) -> str:
        human = self._human(row)
        output = human.output_codec.encode(human.output_codec.parse_json(output_json))
        if len(output) > _LARGEST_OUTPUT:
            message = f"the answer has {len(output):,} characters, at most {_LARGEST_OUTPUT:,} are kept"
            raise InvalidInput(message, errors=[{"loc": "", "msg": message, "type": "too_long"}])
        suggested = None if row.suggested_data is None else from_json(row.suggested_data)
        check_read_only(human.output_schema(), from_json(output), suggested)
        return output

    async def validated(self, task_id: str, output_json: str | bytes) -> str:
        """The answer as it would be stored.

        Raises:
            NotFound, InvalidInput, Conflict: as for :meth:`complete`.
        """
        return self._valid_output(await self._read(task_id), output_json)

    async def _read(self, task_id: str) -> TaskRow:
        async with self._database.session() as session:
            row = await session.get(TaskRow, task_id)
        if row is None:
            raise NotFound("task", task_id)
        return row

    def _detail(self, row: TaskRow, rejections: Sequence[int] = ()) -> TaskDetail:
        human = self._humans.get(row.name)
        schema = None if human is None else human.output_schema()
        quorum = None
        if row.quorum is not None:
            rejected = sum(rejections)
            quorum = Quota(**json.loads(row.quorum), accepted=len(rejections) - rejected, rejected=rejected)
        return TaskDetail(
            **task_of(row).model_dump(),
            description=row.description,
            input=from_json(row.input),
            suggested_data=None if row.suggested_data is None else from_json(row.suggested_data),
            files=[File.model_validate(each) for each in from_json(row.files)],
            output=None if row.output is None else from_json(row.output),
            output_schema=schema,
            form=None if schema is None else build_form(schema),
            is_form_changed=human is None or human.output_schema_digest != row.output_schema_digest,
            candidates=json.loads(row.candidates),
            four_eyes=bool(row.four_eyes),
            quorum=quorum,
            next_at=row.next_at,
            seen=shown_digest(row, form_digest=human.output_schema_digest if human else None),
        )
