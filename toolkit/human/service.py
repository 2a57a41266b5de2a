"""The tasks of one installation: listed, shown, answered, withdrawn."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_core import from_json
from sqlalchemy import update
from sqlalchemy.orm import defer
from sqlmodel import col, select

from toolkit.access import current_principal, record_audit
from toolkit.errors import Conflict, NotFound
from toolkit.files import File
from toolkit.human.answers import Answer
from toolkit.human.states import ANSWERABLE, TaskState
from toolkit.human.tables import TaskRow
from toolkit.human.tasks import Task, TaskDetail
from toolkit.workflows import resolve_wait

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.human.human import Human
    from toolkit.storage import Database
    from toolkit.workflows import Engine

logger = logging.getLogger(__name__)

# What a list leaves in the database; a detail reads it.
_PAYLOADS = (TaskRow.description, TaskRow.input, TaskRow.suggested_data, TaskRow.files, TaskRow.output)


class TaskService:
    """Answers to human tasks, whoever brings them: REST, console and command line all come through here.

    ``humans`` are the definitions of this installation by name; they say what an answer must fit.
    """

    def __init__(self, *, database: Database, humans: Mapping[str, Human[Any, Any]], engine: Engine) -> None:
        self._database = database
        self._humans = humans
        self._engine = engine

    async def list(
        self,
        *,
        state: TaskState | None = None,
        assigned_to: str | None = None,
        name: str | None = None,
        run_id: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Sequence[Task]:
        """At most ``limit`` tasks, newest first, that come ``after`` the task of this id."""
        wanted = {
            TaskRow.state: state,
            TaskRow.assigned_to: assigned_to,
            TaskRow.name: name,
            TaskRow.run_id: run_id,
        }
        query = select(TaskRow).options(*(defer(column) for column in _PAYLOADS))  # type: ignore[arg-type]
        for column, value in wanted.items():
            if value is not None:
                query = query.where(col(column) == value)
        if after is not None:
            query = query.where(col(TaskRow.id) < after)
        query = query.order_by(col(TaskRow.id).desc()).limit(limit)
        async with self._database.session() as session:
            return [_task(row) for row in (await session.exec(query)).all()]

    async def get(self, task_id: str) -> TaskDetail:
        """One task with its payloads, its files and the schema of its answer.

        Raises:
            NotFound: no task has this id.
        """
        return self._detail(await self._read(task_id))

    async def complete(self, task_id: str, output_json: str | bytes) -> TaskDetail:
        """Answer a task as the current principal; the first answer wins, and its run goes on.

        Raises:
            NotFound: no task has this id.
            InvalidInput: the answer does not fit the output type; the task stays open.
            Conflict: the task is not open any more; ``details`` say who ended it and when.
        """
        row = await self._read(task_id)
        output = self._valid_output(row, output_json)
        return await self._end(row, TaskState.COMPLETED, output=output)

    async def cancel(self, task_id: str, *, reason: str | None = None) -> TaskDetail:
        """Withdraw a task as the current principal; its run gets :class:`~toolkit.errors.TaskCancelled`.

        Raises:
            NotFound, Conflict: as for :meth:`complete`.
        """
        return await self._end(await self._read(task_id), TaskState.CANCELLED, reason=reason)

    def _valid_output(self, row: TaskRow, output_json: str | bytes) -> str:
        human = self._humans.get(row.name)
        if human is None:
            raise Conflict(
                f"task {row.id!r} was opened by {row.name!r}, which this installation does not define (any more); "
                "register it again to answer the task, or cancel the task",
                state=row.state,
                name=row.name,
            )
        return human.output_codec.encode(human.output_codec.parse_json(output_json))

    async def _end(
        self, row: TaskRow, state: TaskState, *, output: str | None = None, reason: str | None = None
    ) -> TaskDetail:
        """Answer the wait, end the task and write it down, in one transaction; then wake the engine."""
        by, at = current_principal(), self._database.clock.now()
        answer = Answer(
            task_id=row.id,
            outcome="completed" if state is TaskState.COMPLETED else "cancelled",
            by=by.id,
            at=at,
            output=msgspec.Raw((output or "null").encode()),
            reason=reason or "",
        )
        async with self._database.session() as session:
            is_first = await resolve_wait(session, wait_id=row.id, payload_json=answer.encode())
            if is_first:
                await self._settle(session, row, state, answer, output)
        if not is_first:
            raise _too_late(await self._read(row.id))
        self._engine.poke()
        logger.info(
            "A task was %s",
            state,
            extra={"event": f"task.{state}", "task_id": row.id, "run_id": row.run_id, "by": by.id},
        )
        return self._detail(await self._read(row.id))

    async def _settle(
        self, session: AsyncSession, row: TaskRow, state: TaskState, answer: Answer, output: str | None
    ) -> None:
        is_completed = state is TaskState.COMPLETED
        changed = await session.exec(
            update(TaskRow)
            .where(col(TaskRow.id) == row.id, col(TaskRow.state).in_(ANSWERABLE))
            .values(
                state=state,
                output=output,
                completed_at=answer.at if is_completed else None,
                completed_by=answer.by if is_completed else None,
                ended_at=answer.at,
                ended_by=answer.by,
                end_reason=answer.reason or None,
                version=col(TaskRow.version) + 1,
            )
        )
        if changed.rowcount != 1:  # the wait and its task end together, always; roll the answer back
            raise Conflict(f"task {row.id!r} has ended although its run still waits for it", state=row.state)
        await record_audit(
            session,
            action=f"task.{state}",
            object_kind="task",
            object_id=row.id,
            details={"name": row.name, "run_id": row.run_id} | ({"reason": answer.reason} if answer.reason else {}),
        )

    async def _read(self, task_id: str) -> TaskRow:
        async with self._database.session() as session:
            row = await session.get(TaskRow, task_id)
        if row is None:
            raise NotFound("task", task_id)
        return row

    def _detail(self, row: TaskRow) -> TaskDetail:
        human = self._humans.get(row.name)
        return TaskDetail(
            **_task(row).model_dump(),
            description=row.description,
            input=from_json(row.input),
            suggested_data=None if row.suggested_data is None else from_json(row.suggested_data),
            files=[File.model_validate(each) for each in from_json(row.files)],
            output=None if row.output is None else from_json(row.output),
            output_schema=None if human is None else human.output_schema(),
            is_form_changed=human is None or human.output_schema_digest != row.output_schema_digest,
        )


def _task(row: TaskRow) -> Task:
    return Task(**{field: getattr(row, field) for field in Task.model_fields})


def _too_late(row: TaskRow) -> Conflict:
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
