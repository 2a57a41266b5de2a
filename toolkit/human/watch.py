"""The watch: climbs the ladders of tasks that nobody answers. Any process may; one does it."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from toolkit.access import SYSTEM, acting_as
from toolkit.errors import Conflict, PermissionDenied, SessionError, StorageError
from toolkit.human.ladders import Group, Rung, decode_ladder, encode_ladder
from toolkit.human.tables import TaskRow

if TYPE_CHECKING:
    from toolkit.human.changes import TaskChange
    from toolkit.human.service import TaskService
    from toolkit.storage import Database

logger = logging.getLogger(__name__)

_PAGE = 100


class TaskWatch:
    """Looks every ``poll_seconds`` for rungs whose moment has come, however long ago that was.

    What is due for one task happens in one transaction and in the order of its moments: after a year without any
    process the reminder is on record before the escalation, and that before the end.
    """

    def __init__(self, tasks: TaskService, database: Database, *, poll_seconds: float = 1.0) -> None:
        self._tasks = tasks
        self._database = database
        self._poll_seconds = poll_seconds
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop looking; a transaction under way ends or is rolled back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def look(self) -> int:
        """Climb what is due now and return how many rungs that were."""
        climbed = 0
        while page := await self._due():
            for task_id in page:
                with acting_as(SYSTEM):
                    climbed += await self._climb(task_id)
        return climbed

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except (
                StorageError,
                SessionError,
                SQLAlchemyError,
                OSError,
            ):  # the database is away: look again at the next turn
                logger.warning("Due tasks could not be looked at", exc_info=True, extra={"event": "task.watch_failed"})
            await self._database.clock.sleep(self._poll_seconds)

    async def _due(self) -> list[str]:
        now = self._database.clock.now()
        query = select(TaskRow.id).where(col(TaskRow.next_at) <= now).order_by(col(TaskRow.next_at)).limit(_PAGE)
        async with self._database.session() as session:
            return list((await session.exec(query)).all())

    async def _climb(self, task_id: str) -> int:
        try:
            async with self._tasks.changing() as change:
                row = await change.take(task_id, is_ending=await self._is_ending(task_id))
                rungs = decode_ladder(row.ladder)
                due = [rung for rung in rungs if rung.at <= change.now]
                for rung in due:
                    await self._take(change, rung)
                left = rungs[len(due) :]
                row.ladder = encode_ladder(left)
                row.next_at = left[0].at if left and row.ended_at is None else None
        except Conflict:  # answered, cancelled or ended with its run in this very moment
            return 0
        if change.row.ended_at is not None:
            self._tasks.announce(change)
        return len(due)

    async def _is_ending(self, task_id: str) -> bool:
        async with self._database.session() as session:
            row = await session.get(TaskRow, task_id)
        now: datetime = self._database.clock.now()
        return row is not None and any(rung.do == "expire" and rung.at <= now for rung in decode_ladder(row.ladder))

    async def _take(self, change: TaskChange, rung: Rung) -> None:
        late = {"due_at": rung.at.isoformat()}
        match rung.do:
            case "remind":
                await change.record("reminded", details=late, is_news=True, raises_version=False)
            case "escalate":
                kind, _, who = rung.to.partition(":")
                try:
                    await self._tasks.move(change, Group(who) if kind == "group" else who, action="escalated")
                except PermissionDenied as error:  # four eyes: it stays where it is, and says so
                    await change.record("escalation_refused", note=str(error), details={"to": rung.to})
            case "expire":
                await self._tasks.expire(change)
