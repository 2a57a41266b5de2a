"""The log of agents' events: written beside the runs, read by whoever follows one, from any process.

Writing never holds an agent up: events are collected and written together a moment later. What a dying process did
not write is told again when the run is gone through again, under the same ids; what was written already is ignored.
Text that comes in pieces is one row for each moment, not for each piece.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from toolkit.agents.events import AgentEvent
from toolkit.errors import SessionError, StorageError
from toolkit.storage import PAYLOAD, Rows, Script, insert

if TYPE_CHECKING:
    from toolkit.storage import Database

logger = logging.getLogger(__name__)

_MOMENT = 0.1  # seconds in which events are collected; a reader sees no difference
_LOOK = 0.25  # how often a follower looks for what another process wrote
_MOST_WAITING = 20_000  # events that wait for a database that is away; more are dropped
_PAUSE = 1.0  # before a database that is away is tried again
_PAGE = 500
KEPT = timedelta(days=7)

_INSERT_EVENTS = insert(
    "toolkit_agent_event",
    {
        "run_id": "text",
        "id": "text",
        "kind": "text",
        "agent": "text",
        "step": "text",
        "at": "timestamptz",
        "data": PAYLOAD,
    },
    on_conflict="ON CONFLICT (run_id, id) DO NOTHING",
)


@dataclass(frozen=True)
class LoggedEvent:
    """An event and its place in the log, which grows within a run."""

    position: int
    event: AgentEvent


class AgentEventLog:
    """Takes the events of this process's agents, and hands out those of any."""

    def __init__(self, database: Database, *, keep: timedelta = KEPT) -> None:
        self._database, self._keep = database, keep
        self._waiting: list[tuple[str, AgentEvent]] = []
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._written = asyncio.Event()
        self._swept_at: datetime | None = None
        self._is_closing = False

    def channel(self, run_id: str) -> RunChannel:
        """Where the events of one run go."""
        return RunChannel(self, run_id)

    def add(self, run_id: str, event: AgentEvent) -> None:
        """Take one event, to be written in a moment."""
        if len(self._waiting) >= _MOST_WAITING:
            return
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last[0] == run_id and _is_more_of(last[1], event):
            text = last[1].data["text"] + event.data["text"]
            event = last[1].model_copy(update={"data": {**event.data, "text": text}})
            self._waiting[-1] = (run_id, event)
        else:
            self._waiting.append((run_id, event))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_soon())

    async def read(self, run_id: str, *, after: int = 0, limit: int = _PAGE) -> list[LoggedEvent]:
        """At most ``limit`` events of a run that come after a position, in order."""
        from sqlmodel import col, select

        from toolkit.agents.tables import AgentEventRow

        query = (
            select(AgentEventRow)
            .where(AgentEventRow.run_id == run_id, col(AgentEventRow.position) > after)
            .order_by(col(AgentEventRow.position))
            .limit(limit)
        )
        async with self._database.session() as session:
            rows = (await session.exec(query)).all()
        return [LoggedEvent(row.position or 0, _event(row)) for row in rows]

    async def follow(
        self, run_id: str, *, after: int = 0, is_over: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[LoggedEvent]:
        """The events of a run as they come, until it ``is_over`` and all were handed out."""
        while True:
            is_last = await is_over()
            if is_last:
                await self.flush()
                await asyncio.sleep(_LOOK)  # in which another process writes what it had collected
            while page := await self.read(run_id, after=after):
                for logged in page:
                    after = logged.position
                    yield logged
            if is_last:
                return
            self._written.clear()
            try:
                async with asyncio.timeout(_LOOK):
                    await self._written.wait()
            except TimeoutError:
                continue  # another process may have written

    async def flush(self) -> None:
        """Write what this process has collected up to now."""
        async with self._writing:  # whoever comes while a batch is on its way waits until it is there
            batch, self._waiting = self._waiting, []
            try:
                await self._write(batch)
            except BaseException:
                self._waiting = batch + self._waiting
                raise
        self._written.set()

    async def close(self) -> None:
        """Write what is left, and stop."""
        self._is_closing = True
        if self._writer is not None:  # never cancelled: a transaction that is cut off would leave its connection open
            await self._writer

    async def sweep(self) -> int:
        """Forget events that are older than is kept; how many those were."""
        from sqlmodel import col, delete

        from toolkit.agents.tables import AgentEventRow

        cutoff = self._database.clock.now() - self._keep
        async with self._database.session() as session:
            return (await session.exec(delete(AgentEventRow).where(col(AgentEventRow.at) < cutoff))).rowcount

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(_MOMENT)
            if not await self._try_to_flush() and self._is_closing:
                return

    async def _try_to_flush(self) -> bool:
        """Events are told for people who watch: a database that is away must not end anything."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            await self.flush()
            await self._sweep_daily()
        except (StorageError, SessionError, SQLAlchemyError):
            logger.warning("Events of agents wait for the database", extra={"event": "agent.events_delayed"})
            await asyncio.sleep(0 if self._is_closing else _PAUSE)
            return False
        return True

    async def _sweep_daily(self) -> None:
        now = self._database.clock.now()
        if self._swept_at is None or now - self._swept_at > timedelta(days=1):
            self._swept_at = now
            await self.sweep()

    async def _write(self, batch: Sequence[tuple[str, AgentEvent]]) -> None:
        rows = [
            (
                run_id,
                event.id,
                event.kind,
                event.agent,
                event.step,
                event.at,
                json.dumps(event.data, ensure_ascii=True),
            )
            for run_id, event in batch
        ]

        def insert_events() -> Script[None]:
            yield Rows(_INSERT_EVENTS, rows)

        if rows:
            await self._database.run(insert_events())


class RunChannel:
    """Where the events of one run go."""

    def __init__(self, log: AgentEventLog, run_id: str) -> None:
        self._log, self._run_id = log, run_id

    def send(self, event: AgentEvent) -> None:
        self._log.add(self._run_id, event)


def _is_more_of(last: AgentEvent, event: AgentEvent) -> bool:
    return (
        last.kind == event.kind == "text_delta"
        and last.step == event.step
        and last.data["stream"] == event.data["stream"]
    )


def _event(row: Any) -> AgentEvent:
    return AgentEvent(id=row.id, kind=row.kind, agent=row.agent, step=row.step, at=row.at, data=json.loads(row.data))
