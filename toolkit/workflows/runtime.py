"""What the engine takes from outside: time, randomness, tasks and threads. A simulation hands in its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from toolkit.clock import Clock, SystemClock
from toolkit.ids import PooledRandom, id_source
from toolkit.workflows.threads import StepThreads


def _spawn(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


_THREADS = StepThreads()


@dataclass(frozen=True, slots=True)
class Runtime:
    """The world of one engine.

    ``spawn`` starts a task on the event loop; ``in_thread`` runs a blocking call with the caller's context variables.
    ``has_threads`` is false in a simulation: the heart then beats on the event loop.
    """

    clock: Clock = field(default_factory=SystemClock)
    random: random.Random = field(default_factory=PooledRandom)
    spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]] = _spawn
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = _THREADS.call
    has_threads: bool = True

    def id_source(self) -> Callable[[], str]:
        """A maker of time-ordered ids from this clock and this randomness."""
        return id_source(self.clock.now, self.random.getrandbits)
