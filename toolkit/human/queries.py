"""Statements that only read tasks: lists, pages of an inbox, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlmodel
from sqlalchemy import Select, and_, func, or_, select, union_all
from sqlalchemy.orm import defer
from sqlmodel import col

from toolkit.errors import NotFound
from toolkit.human.cursors import Order, Place, due_place, newest_place
from toolkit.human.feeds import change_of
from toolkit.human.states import ANSWERABLE, TaskState
from toolkit.human.tables import ChangeRow, InboxRow, TaskRow
from toolkit.human.tasks import Change, Counts, Task

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

# What a list leaves in the database; a detail reads it.
_PAYLOADS = (
    TaskRow.description,
    TaskRow.input,
    TaskRow.suggested_data,
    TaskRow.confidence,
    TaskRow.files,
    TaskRow.output,
    TaskRow.evidence,
    TaskRow.ladder,
    TaskRow.candidates,
)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which tasks are asked for; ``None`` is any. ``actors`` are those in front of whom a task stands."""

    state: TaskState | None = None
    assigned_to: str | None = None
    name: str | None = None
    workflow: str | None = None
    run_id: str | None = None
    due_before: datetime | None = None
    text: str | None = None
    actors: Sequence[str] | None = None

    def applied(self, query: Any) -> Any:
        """``query``, narrowed to these tasks; who they stand before is not looked at."""
        wanted = {
            TaskRow.state: self.state,
            TaskRow.assigned_to: self.assigned_to,
            TaskRow.name: self.name,
            TaskRow.workflow: self.workflow,
            TaskRow.run_id: self.run_id,
        }
        for column, value in wanted.items():
            if value is not None:
                query = query.where(col(column) == value)
        if self.due_before is not None:
            query = query.where(col(TaskRow.due_order) < self.due_before)
        if self.text is not None:
            pattern = f"%{self.text.replace('/', '//').replace('%', '/%').replace('_', '/_')}%"
            said = func.lower(col(TaskRow.title) + " " + func.coalesce(col(TaskRow.message), ""))
            query = query.where(said.like(func.lower(pattern), escape="/"))  # SQLite's own lower() knows A to Z
        return query


async def find_tasks(
    session: AsyncSession, wanted: Filter, *, order: Order, after: str | None, limit: int
) -> Sequence[Task]:
    """At most ``limit`` tasks in ``order`` that come after this cursor.

    Raises:
        InvalidInput: the cursor is not one of this list in this order.
    """
    query = sqlmodel.select(TaskRow).options(*(defer(column) for column in _PAYLOADS))  # type: ignore[arg-type]
    if wanted.actors is not None:
        ids = await _inbox_page(session, wanted, after=after, limit=limit)
        rows = (await session.exec(query.where(col(TaskRow.id).in_(ids)))).all()
        place = {task_id: at for at, task_id in enumerate(ids)}
        return [task_of(row) for row in sorted(rows, key=lambda row: place[row.id])]
    query = wanted.applied(query)
    if order == "newest":
        if after is not None:
            query = query.where(col(TaskRow.id) < newest_place(after))
        query = query.order_by(col(TaskRow.id).desc())
    else:
        if after is not None:
            query = query.where(_beyond(due_place(after), TaskRow.due_order, TaskRow.priority, TaskRow.id))
        query = query.order_by(col(TaskRow.due_order), col(TaskRow.priority).desc(), col(TaskRow.id))
    return [task_of(row) for row in (await session.exec(query.limit(limit))).all()]


def inbox_query(actor: str, wanted: Filter, *, after: Place | None, limit: int) -> Select[Any]:
    """A page of what stands in front of one actor, due soonest first."""
    shown = (col(InboxRow.due_order), col(InboxRow.priority), col(InboxRow.task_id))
    query: Any = select(*shown).where(col(InboxRow.actor) == actor)
    if wanted.applied(select(TaskRow)).whereclause is not None:
        query = wanted.applied(query.join(TaskRow, col(TaskRow.id) == col(InboxRow.task_id)))
    if after is not None:
        query = query.where(_beyond(after, InboxRow.due_order, InboxRow.priority, InboxRow.task_id))
    order = (col(InboxRow.due_order), col(InboxRow.priority).desc(), col(InboxRow.task_id))
    found: Select[Any] = query.order_by(*order).limit(limit)
    return found


def _beyond(place: Place, due_order: Any, priority: Any, task_id: Any) -> Any:
    """What comes after ``place``; the first condition is for the index."""
    due, urgency, id_ = place
    same_moment = or_(col(priority) < urgency, and_(col(priority) == urgency, col(task_id) > id_))
    return and_(col(due_order) >= due, or_(col(due_order) > due, same_moment))


async def _inbox_page(session: AsyncSession, wanted: Filter, *, after: str | None, limit: int) -> list[str]:
    """The ids of a page of an inbox: a page of each actor, merged, so that no actor's whole pile is sorted."""
    assert wanted.actors is not None
    place = None if after is None else due_place(after)
    if not wanted.actors:
        return []
    pages = [
        select(inbox_query(actor, wanted, after=place, limit=limit).subquery()) for actor in sorted(set(wanted.actors))
    ]
    connection = await session.connection()
    rows = (await connection.execute(union_all(*pages))).all()
    found = {(due, -priority, task_id) for due, priority, task_id in rows}
    return [task_id for _, _, task_id in sorted(found)][:limit]


async def read_task(session: AsyncSession, task_id: str) -> TaskRow:
    """One task as it is on record.

    Raises:
        NotFound: no task has this id.
    """
    row = await session.get(TaskRow, task_id)
    if row is None:
        raise NotFound("task", task_id)
    return row


async def find_changes(session: AsyncSession, *, task_id: str) -> list[Change]:
    """What happened to a task, in order."""
    query = sqlmodel.select(ChangeRow).where(col(ChangeRow.task_id) == task_id).order_by(col(ChangeRow.id))
    return [change_of(row) for row in (await session.exec(query)).all()]


async def count_tasks(session: AsyncSession, *, actors: Sequence[str], now: datetime) -> Counts:
    """How many tasks wait, how many of them are late, and how many stand in front of these actors."""
    connection = await session.connection()

    async def count(query: Any) -> int:
        return int((await connection.execute(query)).scalar_one())

    tasks = select(func.count()).select_from(TaskRow)
    mine = select(func.count(col(InboxRow.task_id).distinct())).where(col(InboxRow.actor).in_(actors))
    return Counts(
        open=await count(tasks.where(col(TaskRow.state) == TaskState.OPEN)),
        claimed=await count(tasks.where(col(TaskRow.state) == TaskState.CLAIMED)),
        overdue=await count(tasks.where(col(TaskRow.state).in_(ANSWERABLE), col(TaskRow.due_order) < now)),
        mine=await count(mine),
    )


def task_of(row: TaskRow) -> Task:
    return Task(**{field: getattr(row, field) for field in Task.model_fields})
