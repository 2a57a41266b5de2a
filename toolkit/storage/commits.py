"""Group commit: whatever is waiting is committed as one transaction; then we look again.

There is no timer. A lone operation is committed at once; a thousand that came up during a commit share the next one.
Nobody hears of an outcome before the commit that holds it is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from toolkit.clock import Clock
from toolkit.storage.connections import DataRejected, Outcome, OutcomeUnknown, StorageUnavailable

Operation = TypeVar("Operation")

logger = logging.getLogger(__name__)

_LARGEST_BATCH = 2000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


class Deferred(Enum):
    """The outcome of an operation that met a row locked elsewhere: it goes into the next batch."""

    DEFERRED = "deferred"


@dataclass(slots=True)
class _Entry(Generic[Operation]):
    operation: Operation
    future: asyncio.Future[Any]
    then: Callable[[Any], None] | None
    failed: Callable[[BaseException], None] | None
    obstacle: Callable[[], bool] | None


class GroupCommit(Generic[Operation]):
    """Collects operations and commits them in groups through ``commit``.

    ``commit(operations)`` runs one transaction and returns one outcome an operation, in order.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Operation]], Awaitable[Sequence[Any]]],
        *,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._commit = commit
        self._clock = clock
        self._spawn = spawn
        self._first: list[_Entry[Operation]] = []
        self._others: list[_Entry[Operation]] = []
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.unavailable_since: float | None = None
        self.commits = 0

    def submit(
        self,
        operation: Operation,
        *,
        then: Callable[[Any], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
        obstacle: Callable[[], bool] | None = None,
    ) -> asyncio.Future[Any]:
        """Commit ``operation`` with the next group.

        ``then`` is called with the outcome, or ``failed`` with the error, in the order of the operations and before
        anybody who awaits the future goes on; neither may raise. (A callback of the future would be a turn of the event
        loop for each operation.) The future fails only when the database refuses a value of this very operation, or
        when the outcome is unknown.

        An operation whose ``obstacle`` is true when its turn comes is not committed, and fails as if that were unknown.
        """
        if self._loop is None:  # asking for the running loop is a system call on Python 3.11
            self._loop = asyncio.get_running_loop()
        future = Outcome(loop=self._loop)
        (self._first if self.goes_first(operation) else self._others).append(
            _Entry(operation, future, then, failed, obstacle)
        )
        if self._drain is None:
            self._drain = self._spawn(self._drain_all())
        return future

    def goes_first(self, operation: Operation) -> bool:
        """Whether ``operation`` goes before those that do not, which have half of each group all the same."""
        return False

    async def settle(self) -> None:
        """Return when nothing is waiting and nothing is under way."""
        while self._drain is not None:
            await asyncio.wait([self._drain])

    async def _drain_all(self) -> None:
        batch: list[_Entry[Operation]] = []
        try:
            while self._first or self._others:
                batch = self._next_batch()
                await self._commit_batch(batch)
                await asyncio.sleep(0)  # what goes on by this commit may have more to ask, at once and first
        except BaseException:  # the event loop ends: whoever waits puts off its cancellation until it is told
            lost = OutcomeUnknown("the event loop ended during a commit")
            _fail([entry for entry in batch if not entry.future.done()], lost)
            _fail([entry for entry in self._first + self._others if not entry.future.done()], lost)
            self._first.clear()
            self._others.clear()
            raise
        finally:
            self._drain = None

    def _next_batch(self) -> list[_Entry[Operation]]:
        first = min(len(self._first), max(_LARGEST_BATCH // 2, _LARGEST_BATCH - len(self._others)))
        others = _LARGEST_BATCH - first
        batch = self._first[:first] + self._others[:others]
        del self._first[:first], self._others[:others]
        return batch

    async def _commit_batch(self, batch: list[_Entry[Operation]]) -> None:
        pause = _FIRST_PAUSE
        while batch := _without_obstacles(batch):
            try:
                outcomes = await self._commit([entry.operation for entry in batch])
            except StorageUnavailable as error:
                if self.unavailable_since is None:
                    self.unavailable_since = self._clock.monotonic()
                    logger.warning(
                        "The database is not available; waiting for it",
                        extra={"event": "storage.unavailable", "reason": str(error)},
                    )
                await self._clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except DataRejected as error:
                return await self._bisect(batch, error)
            except OutcomeUnknown as error:
                logger.warning("A commit has an unknown outcome", extra={"event": "storage.outcome_unknown"})
                return _fail(batch, error)
            except Exception as error:
                logger.exception("A commit failed", extra={"event": "storage.commit_failed"})
                return _fail(batch, error)
            else:
                self._recovered()
                self.commits += 1
                return await self._deliver(batch, outcomes)
        return None  # nothing of it may be committed any more

    async def _bisect(self, batch: list[_Entry[Operation]], error: DataRejected) -> None:
        """One bad value fails one operation: halve the batch until it stands alone."""
        if len(batch) == 1:
            return _fail(batch, error)
        middle = len(batch) // 2
        await self._commit_batch(batch[:middle])
        await self._commit_batch(batch[middle:])
        return None

    async def _deliver(self, batch: list[_Entry[Operation]], outcomes: Sequence[Any]) -> None:
        deferred = []
        for entry, outcome in zip(batch, outcomes, strict=True):
            if outcome is Deferred.DEFERRED:
                deferred.append(entry)
                continue
            if entry.then is not None:
                entry.then(outcome)
            if not entry.future.done():
                entry.future.set_result(outcome)
        self._first[:0] = deferred
        if len(deferred) == len(batch):  # everything we need is locked elsewhere: let the other one finish
            await self._clock.sleep(0.002)

    def _recovered(self) -> None:
        if self.unavailable_since is not None:
            self.unavailable_since = None
            logger.warning("The database is available again", extra={"event": "storage.available"})


def _without_obstacles(batch: list[_Entry[Operation]]) -> list[_Entry[Operation]]:
    """Those that may be committed; whoever waits for the others is told that they were not."""
    if not any(entry.obstacle is not None and entry.obstacle() for entry in batch):
        return batch
    held = [entry for entry in batch if entry.obstacle is not None and entry.obstacle()]
    _fail(held, OutcomeUnknown("an operation that this one follows from was lost"))
    return [entry for entry in batch if entry.obstacle is None or not entry.obstacle()]


def _fail(batch: list[_Entry[Any]], error: BaseException) -> None:
    for entry in batch:
        if entry.failed is not None:
            entry.failed(error)
        if not entry.future.done():
            entry.future.set_exception(error)
            entry.future.exception()  # marked as seen: not everybody waits
