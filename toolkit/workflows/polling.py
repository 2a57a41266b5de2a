"""Asking again and again until an answer is good enough, without holding memory in between."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from toolkit.errors import InvalidInput
from toolkit.workflows.branches import timeout
from toolkit.workflows.durations import LONGEST, duration
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
        InvalidInput: a pause or the limit is no length of time.
        TimeLimitReached: ``limit`` passed first.
        WrongContext: outside a workflow.
    """
    pause = duration(every, what="every").total_seconds()
    most = (LONGEST if longest is None else duration(longest, what="longest")).total_seconds()
    if not 0 <= factor < math.inf:
        raise InvalidInput(f"factor is {factor!r}; expected a number from 0")
    if limit is not None:
        return await timeout(poll_until(ask, until=until, every=every, factor=factor, longest=longest), limit)
    while not until(answer := await ask()):
        await suspend(interval=pause)
        pause = min(pause * factor, most)
    return answer
