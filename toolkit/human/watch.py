"""The watch: climbs the ladders of tasks that nobody answers. Any process may; one does it."""

from __future__ import annotations

import asyncio
import logging
from itertools import takewhile
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from toolkit.access import SYSTEM, acting_as
from toolkit.errors import Conflict, PermissionDenied, SessionError, StorageError
from toolkit.human.endings import settle
from toolkit.human.handovers import move
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

    What is due for one task happens in the order of its moments: after a year without any process the reminder is on
    record before the escalation, and that before the end.
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
            except (StorageError, SessionError, SQLAlchemyError):  # the database is away: look again at the next turn
                logger.warning("Due tasks could not be looked at", exc_info=True, extra={"event": "task.watch_failed"})
            await self._database.clock.sleep(self._poll_seconds)

    async def _due(self) -> list[str]:
        now = self._database.clock.now()
        query = select(TaskRow.id).where(col(TaskRow.next_at) <= now).order_by(col(TaskRow.next_at)).limit(_PAGE)
        async with self._database.session() as session:
            return list((await session.exec(query)).all())

    async def _climb(self, task_id: str) -> int:
        """Take the rungs that are due; the end has a transaction of its own.

        What ends a task meets the engine at the wait before it touches the task, so it cannot follow an escalation
        that has touched it.
        """
        try:
            climbed = await self._climb_open(task_id)
            return climbed + await self._end(task_id)
        except Conflict:  # answered, cancelled or ended with its run in this very moment
            return 0

    async def _climb_open(self, task_id: str) -> int:
        async with self._tasks.changing(task_id) as change:
            rungs = decode_ladder(change.row.ladder)
            due = list(takewhile(lambda rung: rung.at <= change.now and rung.do != "expire", rungs))
            for rung in due:
                await self._take(change, rung)
            self._keep(change, rungs[len(due) :])
        return len(due)

    async def _end(self, task_id: str) -> int:
        async with self._tasks.changing() as change:
            row = await change.take(task_id, is_ending=True)
            rungs = decode_ladder(row.ladder)
            if not rungs or rungs[0].do != "expire" or rungs[0].at > change.now:
                return 0
            await settle(change, "expired")
            self._keep(change, rungs[1:])
        self._tasks.announce(change)
        return 1

    def _keep(self, change: TaskChange, left: list[Rung]) -> None:
        change.row.ladder = encode_ladder(left)
        change.row.next_at = left[0].at if left and change.row.ended_at is None else None

    async def _take(self, change: TaskChange, rung: Rung) -> None:
        late = {"due_at": rung.at.isoformat()}
        if rung.do == "remind":
            await change.record("reminded", details=late, is_news=True, raises_version=False)
            return
        kind, _, who = rung.to.partition(":")
        try:
            await move(change, Group(who) if kind == "group" else who, action="escalated")
        except PermissionDenied as error:  # four eyes: it stays where it is, and says so
            await change.record("escalation_refused", note=str(error), details={"to": rung.to})
