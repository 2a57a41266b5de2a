"""An event loop with virtual time: what is ready runs in an order drawn from a seed, and idle time passes at once."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, cast

from toolkit.storage.connections import Outcome

_MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
_HOST: ContextVar[Host | None] = ContextVar("host", default=None)
_MANY_TASKS = 64


class Host:
    """What a callback belongs to: it may be paused, as by SIGSTOP, or killed, and then nothing of it runs any more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_running = True  # alive, and not paused
        self.is_mourned = False
        self.held: list[asyncio.Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, in the order of their start."""
        return [task for task in self._tasks if not task.done()]

    def note_task(self, task: asyncio.Task[Any]) -> None:
        """Keep a task that was started here; a callback of the task would be one more turn for each."""
        self._tasks.append(task)
        if len(self._tasks) > _MANY_TASKS:
            self._tasks = self.tasks


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs ready callbacks in random order and jumps to the next timer when there are none."""

    # asyncio's own queues, which it does not declare
    _ready: deque[Any]
    _scheduled: list[Any]

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._now = 0.0
        self._ticks = 0
        self.complaints: list[str] = []
        self.set_exception_handler(self._complain)
        self.set_task_factory(cast("Any", _make_task))

    def time(self) -> float:
        return self._now

    def moment(self) -> datetime:
        """The virtual moment; no two calls give the same, so that ids made from it keep their order."""
        self._ticks += 1
        return _MIDNIGHT + timedelta(seconds=self._now, microseconds=self._ticks)

    def spawn_on(self, host: Host, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that lives and dies with ``host``."""
        context = copy_context()
        context.run(_HOST.set, host)
        return self.create_task(work, context=context)

    def pause(self, host: Host, seconds: float) -> None:
        """Run nothing of ``host`` for a while."""
        host.is_running = False
        self.call_later(seconds, self._resume, host)

    def _resume(self, host: Host) -> None:
        if not host.is_alive:
            return
        host.is_running = True
        self._ready.extend(host.held)
        host.held.clear()

    def kill(self, host: Host) -> None:
        """Run nothing of ``host`` ever again."""
        host.is_alive = host.is_running = False

    async def bury(self, host: Host) -> None:
        """Let the coroutines of a dead host end, so that none is found pending when memory is tidied."""
        host.is_alive = host.is_running = host.is_mourned = True
        self._ready.extend(host.held)
        host.held.clear()
        for _ in range(30):
            pending = host.tasks
            if not pending:
                break
            for task in pending:
                waiter = getattr(task, "_fut_waiter", None)
                if (
                    isinstance(waiter, Outcome) and not waiter.done()
                ):  # nobody commits any more, and it is never cancelled
                    waiter.set_exception(ConnectionError("the process is gone"))
                task.cancel()
                task.add_done_callback(
                    lambda done: done.cancelled() or done.exception()
                )  # nobody is left to hear of it
            for _ in range(10):
                await asyncio.sleep(0)
        self.kill(host)

    # What asyncio calls --------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready, timers = self._ready, self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise RuntimeError("nothing is ready and no timer is set: the simulation waits for ever")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        if len(ready) == 1:  # half of all turns
            batch = [ready.popleft()]
        else:
            batch = list(ready)
            ready.clear()
            self._random.shuffle(batch)
        for handle in batch:
            if handle._cancelled:
                continue
            host = handle._context.get(_HOST)
            if host is None or host.is_running:
                handle._run()
            else:
                host.held.append(handle)

    def _process_events(self, event_list: list[Any]) -> None:
        """There is nothing outside this loop."""

    def _write_to_self(self) -> None:
        """There is nobody to wake: no thread of a history calls in."""

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        host = _HOST.get()
        if host is None or (host.is_alive and not host.is_mourned):
            self.complaints.append(
                f"{context.get('message')}: {context.get('exception')!r} {context.get('task') or ''}"
            )


def _make_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: Context | None = None
) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, context=context)
    host = context.get(_HOST) if context is not None else _HOST.get()
    if host is not None:
        host.note_task(task)
    return task


class SimulatedClock:
    """The clock of every simulated process."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return self._loop.moment()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(random: Random, main: Callable[[SimulatedLoop], Coroutine[Any, Any, None]]) -> SimulatedLoop:
    """Run ``main`` to its end on a fresh loop; returns the loop with what it complained of."""
    loop = SimulatedLoop(random)
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop._ready.clear()
        loop._scheduled.clear()
        loop.close()
    return loop
