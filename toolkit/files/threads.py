"""Blocking calls in threads, such that nobody lets go of a file while a thread is still busy with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` to its end even when the caller is cancelled; the cancellation goes on afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:  # asked again; the answer is the same
                continue
        if not task.cancelled():
            task.exception()  # it is overtaken by the cancellation; looking at it says that nobody forgot it
        raise


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like :func:`asyncio.to_thread`, but a cancelled caller goes on only when the thread is done.

    A file that is closed under a thread that still writes to it may hit a file that was opened meanwhile.
    """
    return await uninterrupted(asyncio.to_thread(call, *args, **kwargs))
