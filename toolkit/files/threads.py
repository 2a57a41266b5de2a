"""Blocking calls in threads, such that nobody lets go of a file while a thread is still busy with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

_MOST_WAITING_BYTES: Final = 2 * 1024 * 1024

P = ParamSpec("P")
T = TypeVar("T")


async def uninterrupted(work: Awaitable[T]) -> T:
    """Await ``work`` to its end even when the caller is cancelled; the cancellation goes on afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _settled(task)
        raise


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call in a thread; a cancelled caller goes on only when the thread is done.

    A file that is closed under a thread that still writes to it may hit a file that was opened meanwhile.
    """
    return await uninterrupted(_start(call, *args, **kwargs))


class Lane:
    """Gives blocks to a call that blocks, in order, in a thread, while the caller is already busy with the next ones.

    What came while the thread was busy it gets in one go: a hand-over costs as much as some hundred kilobytes.
    """

    def __init__(self, take: Callable[[bytes], Any]) -> None:
        self._take = take
        self._waiting: list[bytes] = []
        self._count = 0
        self._running: asyncio.Future[None] | None = None

    async def put(self, block: bytes) -> None:
        """Have ``block`` taken; waits when too many are waiting. Raises what the call raised for one before it."""
        self._waiting.append(block)
        self._count += len(block)
        if self._running is None or self._running.done() or self._count >= _MOST_WAITING_BYTES:
            await self._hand_over()

    async def drain(self) -> None:
        """Wait until every block is taken. Raises what the call raised."""
        while self._running is not None or self._waiting:
            await self._hand_over()

    async def settle(self) -> None:
        """Forget what waits, and wait for the thread, whatever it raises: another error is the one to hear."""
        running, self._running, self._waiting, self._count = self._running, None, [], 0
        if running is not None:
            await _settled(running)

    async def _hand_over(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await uninterrupted(running)
        if self._waiting:
            blocks, self._waiting, self._count = self._waiting, [], 0
            self._running = _start(self._take_all, blocks)

    def _take_all(self, blocks: list[bytes]) -> None:
        for block in blocks:
            self._take(block)


async def read_ahead(calls: Iterator[Callable[[], T]]) -> AsyncGenerator[T, None]:
    """The results of ``calls``, each made in a thread while the result before it is being used."""
    running = _start_next(calls)
    try:
        while running is not None:
            result = await uninterrupted(running)
            running = _start_next(calls)
            yield result
    finally:
        if running is not None:
            await _settled(running)


def _start_next(calls: Iterator[Callable[[], T]]) -> asyncio.Future[T] | None:
    call = next(calls, None)
    return None if call is None else _start(call)


def _start(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    return asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))


async def _settled(work: asyncio.Future[Any]) -> None:
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:  # asked again; the answer is the same
            continue
    if not work.cancelled():
        work.exception()  # overtaken by another error; looking at it says that nobody forgot it
