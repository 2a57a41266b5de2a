"""Asking again and again until an answer is good enough, without holding memory in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from toolkit.workflows.branches import timeout
from toolkit.workflows.waits import suspend

T = TypeVar("T")


async def poll_until(
    ask: Callable[[], Awaitable[T]],
    *,
    until: Callable[[T], bool],
    every: float | timedelta,
    factor: float = 1.0,
    longest: float | timedelta | None = None,
    limit: float | timedelta | None = None,
) -> T:
    """The first answer of ``ask`` that ``until`` takes; ``ask`` calls a step, such as ``lambda: look_up(number)``.

    ``every`` (seconds or a ``timedelta``) is the pause between two askings; each is ``factor`` times the last, and at
    most ``longest``. Pauses are timers on record.

    Raises:
        TimeLimitReached: ``limit`` passed first.
        WrongContext: outside a workflow.
    """
    if limit is not None:
        return await timeout(poll_until(ask, until=until, every=every, factor=factor, longest=longest), limit)
    pause = _seconds(every)
    while not until(answer := await ask()):
        await suspend(interval=pause)
        pause = pause * factor if longest is None else min(pause * factor, _seconds(longest))
    return answer


def _seconds(length: float | timedelta) -> float:
    return length.total_seconds() if isinstance(length, timedelta) else float(length)
