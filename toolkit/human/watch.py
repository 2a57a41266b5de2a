"""The watch: climbs the ladders of tasks that nobody answers. Any process may; one does it."""

from __future__ import annotations

import logging
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import and_, col, or_, select

from toolkit.access import SYSTEM, acting_as
from toolkit.errors import Conflict, PermissionDenied, SessionError, StorageError
from toolkit.human.endings import settle
from toolkit.human.handovers import move
from toolkit.human.ladders import Group, Rung, decode_ladder, encode_ladder
from toolkit.human.tables import TaskRow
from toolkit.periodic import Periodic
from toolkit.storage import DataRejected

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
        self._turns = Periodic("climb ladders of tasks", self.look, seconds=poll_seconds, clock=database.clock)
        self._failing: set[str] = set()

    async def open(self) -> None:
        """Begin to look."""
        await self._turns.open()

    async def close(self) -> None:
        """Stop looking; a transaction under way ends or is rolled back."""
        await self._turns.close()

    async def look(self) -> int:
        """Climb what is due now and return how many rungs that were.

        A ladder that cannot be climbed (code of another version wrote it, say, or this process lacks the key of its
        task) is logged and holds up no other. What has happened to tasks since the last look is numbered for whoever
        follows it.
        """
        climbed = 0
        last: tuple[datetime, str] | None = None
        while page := await self._due(after=last):
            for at, task_id in page:
                last = at, task_id
                with acting_as(SYSTEM):
                    climbed += await self._try_to_climb(task_id)
        await self._tasks.number_changes()
        return climbed

    async def _due(self, *, after: tuple[datetime, str] | None) -> list[tuple[datetime, str]]:
        at, id_ = col(TaskRow.next_at), col(TaskRow.id)
        query = select(at, id_).where(at <= self._database.clock.now()).order_by(at, id_).limit(_PAGE)
        if after is not None:
            query = query.where(or_(at > after[0], and_(at == after[0], id_ > after[1])))
        async with self._database.session() as session:
            return [(next_at, task_id) for next_at, task_id in (await session.exec(query)).all() if next_at is not None]

    async def _try_to_climb(self, task_id: str) -> int:
        try:
            climbed = await self._climb(task_id)
        except Exception as error:
            is_of_storage = isinstance(error, StorageError | SessionError | SQLAlchemyError)
            if is_of_storage and not isinstance(error, DataRejected):  # what cannot be decoded is this task's own
                raise
            if task_id not in self._failing:
                self._failing.add(task_id)
                logger.exception(
                    "What is due for a task cannot be done", extra={"event": "task.not_climbed", "task_id": task_id}
                )
            return 0
        self._failing.discard(task_id)
        return climbed

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
