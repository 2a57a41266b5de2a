"""The heartbeat: proof that this worker lives, written on a thread that a blocked event loop cannot hold up.

It beats only while the event loop has ticked recently: a worker whose loop hangs must lose its runs to others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import threading
from collections.abc import Callable
from typing import Any, Protocol

from toolkit.errors import StorageError
from toolkit.storage import Database, Query, Script, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.runtime import Runtime

logger = logging.getLogger(__name__)


_LONGEST_BEAT = 1.0

# Called after each beat with the age in seconds of the one before (``None`` if there is none on record), and with the
# monotonic moment just before this one: until a lease after that, nobody takes our runs.
OnBeat = Callable[[float | None, float], None]


class Channel(Protocol):
    """A way to run a script from a thread; see ``Database.side_channel``."""

    def run_blocking(self, script: Script[Any]) -> Any: ...


def beat(worker_id: str, database: Database) -> Script[float | None]:
    """Renew the heartbeat; returns how many seconds after the last one it came, or ``None`` for the first.

    The clock is read inside the transaction: a process that is held up on its way there must not prove that it lived
    when it set out, for others may have taken its runs since. The distance is that of the two moments on record: one
    that is held up between the two statements has let as much time pass as its heartbeat says.
    """
    own_now = database.clock.now() if database.is_own_time else None
    rows = yield Query(sql.LAST_BEAT, [worker_id])
    [[beaten_at]] = yield Query(sql.BEAT, [worker_id, platform.node(), os.getpid(), own_now])
    last, now = read_moment(rows[0][0]) if rows else None, read_moment(beaten_at)
    return (now - last).total_seconds() if now is not None and last is not None else None


class Heart:
    """Beats every ``interval`` seconds until it is stopped."""

    def __init__(
        self,
        database: Database,
        *,
        worker_id: str,
        interval: float,
        is_ticking: Callable[[], bool],
        on_beat: OnBeat,
    ) -> None:
        """``on_beat`` is called on the heart's thread."""
        self._database = database
        self._worker_id = worker_id
        self._interval = interval
        self._is_ticking = is_ticking
        self._on_beat = on_beat
        self._stopped = threading.Event()
        self._channel = database.side_channel()
        self._thread = threading.Thread(target=self._beat_on, name="toolkit-heart", daemon=True)

    async def start(self) -> None:
        """Write the first beat, then go on by itself."""
        await self._database.writer.run(beat(self._worker_id, self._database))
        self._thread.start()

    async def stop(self) -> None:
        self._stopped.set()
        # A beat under way may wait for a database that is away: the thread then ends with the process.
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, _LONGEST_BEAT)

    def _beat_on(self) -> None:
        while not self._stopped.wait(self._interval):
            if not self._is_ticking():
                logger.warning("The event loop does not tick; the heartbeat pauses", extra={"event": "worker.hung"})
                continue
            began = self._database.clock.monotonic()
            try:
                age = self._channel.run_blocking(beat(self._worker_id, self._database))
            except Exception as error:  # noqa: BLE001 - a thread that ended would leave a worker that stands still for good
                _note_failed_beat(error)
                continue
            self._on_beat(age, began)
        close = getattr(self._channel, "close", None)
        if close is not None and self._database.dialect != "sqlite":
            close()


class LoopHeart:
    """A heart for a runtime without threads: it beats as a task of the event loop, and hangs when the loop hangs."""

    def __init__(
        self,
        database: Database,
        runtime: Runtime,
        *,
        worker_id: str,
        interval: float,
        on_beat: OnBeat,
    ) -> None:
        self._database, self._runtime = database, runtime
        self._worker_id, self._interval, self._on_beat = worker_id, interval, on_beat
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the first beat, then go on by itself."""
        await self._beat()
        self._task = self._runtime.spawn(self._beat_on())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _beat_on(self) -> None:
        while True:
            await self._runtime.clock.sleep(self._interval)
            began = self._runtime.clock.monotonic()
            try:
                age = await self._beat()
            except Exception as error:  # noqa: BLE001 - as above
                _note_failed_beat(error)
                continue
            self._on_beat(age, began)

    async def _beat(self) -> float | None:
        return await self._database.writer.run(beat(self._worker_id, self._database))


def _note_failed_beat(error: Exception) -> None:
    is_foreseen = isinstance(error, StorageError)
    logger.log(
        logging.WARNING if is_foreseen else logging.ERROR,
        "The heartbeat could not be written",
        exc_info=None if is_foreseen else error,
        extra={"event": "worker.beat_failed", "reason": str(error)},
    )
