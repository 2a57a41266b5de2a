"""What a process does again and again beside everything else: one class, so that none of it ends unnoticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from toolkit.clock import Clock

logger = logging.getLogger(__name__)


class Periodic:
    """Awaits ``work()`` again and again, ``seconds`` after it has ended, from :meth:`open` to :meth:`close`.

    Nobody waits for such work, so nobody would hear of its end: whatever it raises is logged, with ``name`` and the
    event ``periodic.failed``, and it is done again at the next turn. What fails the same way at turn after turn (the
    database is away) is logged once, and once more when it is over.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[Any]],
        *,
        seconds: float,
        clock: Clock,
        is_begun_late: bool = False,
    ) -> None:
        """With ``is_begun_late`` the first turn comes after ``seconds`` as well."""
        self._name, self._work, self._seconds, self._clock = name, work, seconds, clock
        self._is_begun_late = is_begun_late
        self._task: asyncio.Task[None] | None = None
        self._failure: type[Exception] | None = None

    async def open(self) -> None:
        """Begin; what is done inherits the caller's context."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"toolkit: {self._name}")

    async def close(self) -> None:
        """Stop, in the middle of a turn if need be."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        if self._is_begun_late:
            await self._clock.sleep(self._seconds)
        while True:
            await self._turn()
            await self._clock.sleep(self._seconds)

    async def _turn(self) -> None:
        try:
            await self._work()
        except Exception as error:
            if type(error) is not self._failure:
                self._failure = type(error)
                logger.exception(
                    "Something that is done again and again failed; it is tried again",
                    extra={"event": "periodic.failed", "periodic": self._name},
                )
        else:
            if self._failure is not None:
                self._failure = None
                logger.warning(
                    "Something that is done again and again succeeds again",
                    extra={"event": "periodic.recovered", "periodic": self._name},
                )
