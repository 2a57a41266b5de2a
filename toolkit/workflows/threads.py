"""Threads for plain ``def`` steps. None of them keeps the process from ending, whatever it waits for.

``asyncio.to_thread`` would: the interpreter joins its threads at the end, so a worker with one blocked step would stay
until somebody kills it. A step that is left behind here is lost with the process, as in a crash, and run again.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

from toolkit.workflows.failures import message_of

_MOST_THREADS = 64

Job = Callable[[], None]


class StepThreads:
    """Calls functions on threads of its own, at most ``most`` at a time; the others wait their turn."""

    def __init__(self, *, most: int = _MOST_THREADS) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    async def call(self, function: Callable[[], Any]) -> Any:
        """What ``function`` returns, called with the caller's context variables.

        A caller that is cancelled does not wait for it; the function goes on, and nobody hears of its result.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            try:
                value = context.run(function)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who is on another thread
                _tell(loop, future, None, error)
            else:
                _tell(loop, future, value, None)

        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._started < self._most:
            self._started += 1
            threading.Thread(target=self._serve, name=f"toolkit-step-{self._started}", daemon=True).start()
        return await future

    def _serve(self) -> None:
        while True:
            self._jobs.get()()
            self._idle.release()


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], value: Any, error: BaseException | None
) -> None:
    def settle() -> None:
        if future.done():
            return  # its caller was cancelled meanwhile
        # A future takes no StopIteration, and what is no Exception (sys.exit) would end the event loop.
        if isinstance(error, StopIteration) or not isinstance(error, Exception | asyncio.CancelledError | None):
            failure = RuntimeError(f"the step raised {type(error).__name__}: {message_of(error)}")
            failure.__cause__ = error
            future.set_exception(failure)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
