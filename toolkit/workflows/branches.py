"""Branches side by side: ``gather`` waits for all of them, ``race`` and ``wait_any`` for the first."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast, overload

from toolkit.errors import TimeLimitReached
from toolkit.workflows.durations import duration
from toolkit.workflows.failures import revive_error
from toolkit.workflows.groups import First, Gather, Race, close, end_losers
from toolkit.workflows.journal import details_of
from toolkit.workflows.matching import mismatch
from toolkit.workflows.scopes import require_scope
from toolkit.workflows.waits import suspend

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")


@overload
async def gather(first: Awaitable[T1], /, *, return_exceptions: Literal[False] = False) -> tuple[T1]: ...
@overload
async def gather(
    first: Awaitable[T1], second: Awaitable[T2], /, *, return_exceptions: Literal[False] = False
) -> tuple[T1, T2]: ...
@overload
async def gather(
    first: Awaitable[T1], second: Awaitable[T2], third: Awaitable[T3], /, *, return_exceptions: Literal[False] = False
) -> tuple[T1, T2, T3]: ...
@overload
async def gather(
    first: Awaitable[T1],
    second: Awaitable[T2],
    third: Awaitable[T3],
    fourth: Awaitable[T4],
    /,
    *,
    return_exceptions: Literal[False] = False,
) -> tuple[T1, T2, T3, T4]: ...
@overload
async def gather(*calls: Awaitable[T], return_exceptions: Literal[False] = False) -> tuple[T, ...]: ...
@overload
async def gather(*calls: Awaitable[T], return_exceptions: Literal[True]) -> tuple[T | Exception, ...]: ...


async def gather(*calls: Awaitable[Any], return_exceptions: bool = False) -> tuple[Any, ...]:
    """The results of ``calls``, run side by side: steps, child workflows, tasks for people, any coroutine of them.

    The first failure to be recorded is raised, the other branches are cancelled and their waits withdrawn. With
    ``return_exceptions`` every branch runs to its end and failures stand among the results.

    Raises:
        WrongContext: outside a workflow.
    """
    try:
        scope = require_scope("gather")
    except BaseException:
        close(calls)
        raise
    path = scope.next_path("gather", separator=".")
    recorded = scope.execution.journal.get(path)
    if recorded is not None:  # a branch failed then; which one is on record
        await end_losers(scope, path, calls)
        raise revive_error(recorded.error or "{}")
    try:
        scope.check_alive()  # a cancel is heard in the branches: a replay may have to come by here to where it stood
    except BaseException:
        close(calls)
        raise
    if not calls:
        return ()
    return await Gather(scope, path, calls, return_exceptions=return_exceptions).run()


async def wait_any(*calls: Awaitable[T]) -> First[T]:
    """The first of ``calls`` to end, run side by side; the others are given up and their waits withdrawn.

    Which one it was is on record before anybody hears of it, so a replay takes the same way. If it failed, its error is
    raised.

    Raises:
        ValueError: there are no calls.
        WrongContext: outside a workflow.
    """
    if not calls:
        raise ValueError("wait_any and race need at least one call, found none")
    try:
        scope = require_scope("wait_any")
        path = scope.next_path("race", separator=".")
        recorded = scope.execution.journal.get(path)
        scope.check_alive()  # a cancel is heard in the branches, as in gather
    except BaseException:
        close(calls)
        raise
    if recorded is None:
        return cast("First[T]", await Race(scope, path, calls).run())
    index = details_of(recorded)["winner"]
    if index >= len(calls):  # the code has fewer branches by now
        close(calls)
        raced = recorded._replace(arguments=f'{{"branches":"{index + 1} or more"}}')
        now = f'{{"branches":{len(calls)}}}'
        raise mismatch(raced, kind=recorded.kind, name=recorded.name, arguments=now)
    winner = Race(scope, path, (calls[index],), places=(index,))
    return cast("First[T]", await end_losers(scope, path, calls, winner=winner))


async def race(*calls: Awaitable[T]) -> T:
    """The result of the first of ``calls`` to end; see :func:`wait_any`."""
    return (await wait_any(*calls)).result


async def timeout(call: Awaitable[T], limit: float | timedelta) -> T:
    """The result of ``call``, which may hold any number of steps and waits, unless ``limit`` (seconds) passes first.

    The limit is a timer on record: it holds over restarts, and a replay takes the same way.

    Raises:
        InvalidInput: the limit is no length of time.
        TimeLimitReached: the limit passed first; ``call`` was given up and its waits withdrawn.
        WrongContext: outside a workflow.
    """
    seconds = limit.total_seconds() if isinstance(limit, timedelta) else float(limit)
    if not seconds < math.inf:  # what may be negative by now, on a replay, is looked at by ``suspend``
        close((call,))
        duration(limit, what="limit")
    first: First[Any] = await wait_any(call, suspend(interval=seconds))
    if first.index == 1:
        raise TimeLimitReached(seconds)
    return cast("T", first.result)
