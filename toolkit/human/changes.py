"""Changes: every transaction on a task begins by taking its turn and ends with what happened on record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, update
from sqlmodel import col, delete, select

from toolkit.access import current_principal, record_audit
from toolkit.errors import Conflict, NotFound, PermissionDenied
from toolkit.human.decisions import Act, Capacity, Ruling, Standing, decide
from toolkit.human.directory import capacity_of
from toolkit.human.states import ANSWERABLE, TaskState
from toolkit.human.tables import ChangeRow, InboxRow, NotificationRow, TaskRow
from toolkit.ids import new_id

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.clock import Clock


class TaskChange:
    """One change of one task, by the current principal, in one transaction.

    ``is_told`` says whether the news goes out.
    """

    def __init__(self, session: AsyncSession, *, clock: Clock, is_told: bool) -> None:
        self.session = session
        self.now = clock.now()
        self.principal = current_principal()
        self._clock, self._is_told = clock, is_told
        self.row: TaskRow

    async def take(self, task_id: str, *, is_ending: bool = False, version: int | None = None) -> TaskRow:
        """The task, ours alone until the transaction ends.

        Nobody else changes it meanwhile except the engine, which may end it with its run. A change that ends it meets
        the engine at the wait, which both lock first; any other change keeps the engine out by locking the row.

        Raises:
            NotFound: no task has this id.
            Conflict: it has ended, or is not the ``version`` that the caller saw.
        """
        self.row = await take_turn(self.session, task_id, locks_row=not is_ending)
        if TaskState(self.row.state) not in ANSWERABLE:
            raise too_late(self.row)
        if version is not None and version != self.row.version:
            raise Conflict(
                f"task {task_id!r} has changed since it was shown: it is in version {self.row.version} and the request "
                f"was made for version {version}; look at it again",
                version=self.row.version,
                assigned_to=self.row.assigned_to,
            )
        return self.row

    async def actors_of_principal(self) -> set[str]:
        """Every actor that the current principal may stand for today."""
        return (await self._capacity()).actors(self.principal.id)

    async def _capacity(self) -> Capacity:
        return await capacity_of(self.session, self.principal.id, today=self.now.date())

    async def allow(self, act: Act) -> Ruling:
        """Why the current principal may do ``act``.

        Raises:
            PermissionDenied: with the reason.
        """
        ruling = decide(self.principal, act, self.standing(), await self._capacity())
        if not ruling.allowed:
            raise PermissionDenied(f"task {self.row.id!r}: {ruling.reason}", permission=f"task:{act}")
        return ruling

    def standing(self) -> Standing:
        """What the decision knows of the task."""
        return Standing(
            assigned_to=self.row.assigned_to,
            candidates=json.loads(self.row.candidates),
            assigned_by=self.row.assigned_by,
            excluded=self.excluded(),
            has_quorum=self.row.quorum is not None,
        )

    def excluded(self) -> set[str]:
        """Who must not decide, because two different people must have seen it.

        A child run is started by whoever started its parent, so that asking in a child hides nobody; and neither does
        asking in a retry or a fork, whose task names whoever began and counts the others among the preparers.
        """
        if not self.row.four_eyes:
            return set()
        starters = [self.row.created_by] if self.row.created_by else []
        return {*json.loads(self.row.prepared_by), *starters}

    def refuse_excluded(self, person: str) -> None:
        """Refuse to put the task before somebody who must not decide it.

        Raises:
            PermissionDenied: ``person`` started or prepared it.
        """
        if person in self.excluded():
            raise PermissionDenied(
                f"task {self.row.id!r} cannot go to {person!r}, who started or prepared it (four eyes)",
                permission="task:complete",
            )

    async def place(self, actors: Sequence[str]) -> None:
        """Put the task in front of these actors, and of nobody else."""
        row = self.row
        await self.session.exec(delete(InboxRow).where(col(InboxRow.task_id) == row.id))
        self.session.add_all(
            InboxRow(task_id=row.id, actor=actor, due_order=row.due_order, priority=row.priority)
            for actor in dict.fromkeys(actors)
        )

    def actors(self) -> list[str]:
        """In front of whom the task belongs as it stands."""
        candidates: list[str] = json.loads(self.row.candidates)
        if self.row.sent_back_to is not None:
            return [f"user:{self.row.sent_back_to}"]
        first = [f"user:{self.row.assigned_to}"] if self.row.assigned_to else []
        return first + candidates if self.row.quorum else first or candidates

    async def record(
        self,
        action: str,
        *,
        note: str | None = None,
        details: Mapping[str, Any] | None = None,
        is_news: bool = False,
        raises_version: bool = True,
    ) -> ChangeRow:
        """Write down what happened: in the task's history, in the audit trail, and to be told if it ``is_news``."""
        if raises_version:
            self.row.version += 1
        kept = dict(details or {})
        row = ChangeRow(
            id=new_id(),
            task_id=self.row.id,
            at=self.now,
            actor=self.principal.id,
            action=action,
            note=note,
            details=json.dumps(kept),
        )
        self.session.add(row)
        about = {"name": self.row.name, "run_id": self.row.run_id, **({"reason": note[:1000]} if note else {}), **kept}
        await record_audit(
            self.session,
            action=f"task.{action}",
            object_kind="task",
            object_id=self.row.id,
            details=about,
            clock=self._clock,
        )
        if is_news and self._is_told:
            self.session.add(
                NotificationRow(
                    id=new_id(),
                    task_id=self.row.id,
                    event=f"task.{action}",
                    details=json.dumps({"actor": self.principal.id, "note": note, **kept}),
                    due_at=self.now,
                    created_at=self.now,
                )
            )
        return row


async def take_turn(session: AsyncSession, task_id: str, *, locks_row: bool) -> TaskRow:
    """The task as it is once everybody who changes it in this moment is done.

    Raises:
        NotFound: no task has this id.
    """
    connection = await session.connection()
    query = select(TaskRow).where(col(TaskRow.id) == task_id)
    if connection.dialect.name == "sqlite":
        # There is one writer at a time; a first write makes it us.
        await session.exec(update(TaskRow).where(col(TaskRow.id) == task_id).values(version=col(TaskRow.version)))
    else:
        # Not the row itself: the engine locks a wait and then its task, and so does a change that ends both.
        await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(task_id, 0))))
        query = query.with_for_update() if locks_row else query
    row = (await session.exec(query)).one_or_none()
    if row is None:
        raise NotFound("task", task_id)
    return row


def too_late(row: TaskRow) -> Conflict:
    """Why ``row`` takes no answer any more: who ended it, or what, and when."""
    when = row.ended_at.isoformat(timespec="seconds") if row.ended_at else ""
    match TaskState(row.state):
        case TaskState.COMPLETED:
            said = f"was completed by {row.completed_by!r} at {when}"
        case TaskState.CANCELLED:
            said = f"was cancelled {f'by {row.ended_by!r}' if row.ended_by else 'with its run'} at {when}"
        case TaskState.EXPIRED:
            said = f"expired at {when}"
        case _:
            said = "cannot be answered at this moment: its run is ending"
    return Conflict(
        f"task {row.id!r} {said}",
        state=row.state,
        ended_by=row.ended_by,
        ended_at=row.ended_at.isoformat() if row.ended_at else None,
        reason=row.end_reason,
    )
