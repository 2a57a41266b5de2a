"""Branches side by side: ``gather`` waits for all of them, ``race`` and ``wait_any`` for the first."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar, cast, overload

from toolkit.errors import TimeLimitReached
from toolkit.workflows.durations import duration
from toolkit.workflows.executions import Execution, details_of
from toolkit.workflows.failures import RunCancelled, record_error, revive_error
from toolkit.workflows.operations import CloseWaits, StepRecord
from toolkit.workflows.scopes import Scope, entered, require_scope
from toolkit.workflows.states import StepKind, StepState
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
        _close(calls)
        raise
    path = scope.next_path("gather", separator=".")
    recorded = scope.execution.journal.get(path)
    if recorded is not None:  # a branch failed then; which one is on record
        _close(calls)
        await _withdraw_waits(scope, path)  # this process or another may have ended before it came to that
        raise revive_error(recorded.error or "{}")
    try:
        scope.check_alive()  # a cancel is heard in the branches: a replay may have to come by here to where it stood
    except BaseException:
        _close(calls)
        raise
    if not calls:
        return ()
    return await _Gather(scope, path, calls, return_exceptions=return_exceptions).run()


@dataclass(frozen=True, slots=True)
class First(Generic[T]):
    """The call that ended first: its place among the calls, from 0, and its result."""

    index: int
    result: T


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
        _close(calls)
        raise
    if recorded is None:
        return cast("First[T]", await _Race(scope, path, calls).run())
    index = details_of(recorded)["winner"]
    if index >= len(calls):  # the code has fewer branches by now
        _close(calls)
        raced = recorded._replace(arguments=f'{{"branches":"{index + 1} or more"}}')
        now = f'{{"branches":{len(calls)}}}'
        raise scope.execution.mismatch(path, recorded=raced, kind=recorded.kind, name=recorded.name, arguments=now)
    winner = calls[index]
    _close(tuple(call for call in calls if call is not winner))
    await _withdraw_waits(scope, path, but=f"{path}/{index}/")
    race = _Race(scope, path, (winner,), first_place=index)
    return cast("First[T]", await race.run(is_recorded=True))


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
        _close((call,))
        duration(limit, what="limit")
    first: First[Any] = await wait_any(call, suspend(interval=seconds))
    if first.index == 1:
        raise TimeLimitReached(seconds)
    return cast("T", first.result)


def _close(calls: tuple[Awaitable[Any], ...]) -> None:
    for call in calls:
        if isinstance(call, Coroutine):
            call.close()


async def _withdraw_waits(scope: Scope, path: str, *, but: str | None = None) -> None:
    """Give up what the branches below ``path`` wait for, so that nothing is delivered to them any more."""
    execution, prefix = scope.execution, f"{path}/"
    waits = {
        at: wait
        for at, wait in execution.waits.items()
        if at.startswith(prefix) and not (but is not None and at.startswith(but))
    }
    is_ending = execution.is_cancel_requested and not scope.is_shielded  # the end of the run takes all waits with it
    if waits and not scope.is_dead and not is_ending:
        children = [w.reference for w in waits.values() if w.kind == StepKind.CHILD and w.reference]
        ids = [wait.id for wait in waits.values()]
        await execution.commit(CloseWaits(execution.run.id, execution.epoch, ids, children))
        for at in waits:
            execution.waits.pop(at, None)


class _Branches(ABC):
    """Calls side by side, each in a task and a place of its own.

    ``done`` is set as soon as the outcome is known; :meth:`_end` sees that no branch outlives it.
    """

    def __init__(self, scope: Scope, path: str, calls: tuple[Awaitable[Any], ...], *, first_place: int = 0) -> None:
        self.scope, self.path, self.calls = scope, path, calls
        self.execution: Execution = scope.execution
        self.places = [
            Scope(
                self.execution,
                f"{path}/{first_place + at}",
                step=scope.step,
                can_wait=scope.can_wait,
                parent=scope,
                is_shielded=scope.is_shielded,
            )
            for at in range(len(calls))
        ]
        self.results: list[Any] = [None] * len(calls)
        self.failure: tuple[int, BaseException] | None = None
        self.remaining = len(calls)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.started_at = self.execution.moment()

    async def run_all(self) -> None:
        """Start every branch and wait until the outcome is known; :meth:`settle` puts it on record."""
        spawn = self.execution.engine.runtime.spawn
        tasks = []
        for at, call in enumerate(self.calls):
            self.execution.enter()
            task = spawn(self._branch(at, call))
            task.add_done_callback(self._leave)  # a task that is cancelled before its first line has no `finally`
            tasks.append(task)
        self.execution.leave()
        try:
            await self.done
            await self.settle()
        except asyncio.CancelledError:
            if self.done.cancelled():  # otherwise a branch has woken us, and has counted us in
                self.execution.enter()
            if self.scope.is_dead:
                raise
            raise self.execution.foreign_cancellation() from None
        finally:
            await self._end(tasks)  # however this ends, no branch outlives it

    @abstractmethod
    async def settle(self) -> None:
        """Put the outcome on record, before anybody sees it."""

    async def _branch(self, at: int, call: Awaitable[Any]) -> None:
        place = self.places[at]
        place.task = asyncio.current_task()
        try:
            with entered(place):
                self._succeed(at, await call)
        except Exception as error:  # noqa: BLE001 - the author's code
            self._fail(at, error)
        except asyncio.CancelledError as error:
            if not place.is_dead:
                self._pass_on(at, self.execution.foreign_cancellation().with_traceback(error.__traceback__))
        except RunCancelled as error:  # each branch hears of it by itself; what is shielded is not cut short
            if not place.is_dead:
                self.failure = self.failure or (at, error)
        except BaseException as error:  # noqa: BLE001 - a run that is parked: whoever waits for the branches passes it on
            self._pass_on(at, error)

    def _succeed(self, at: int, result: Any) -> None:
        self.results[at] = result

    def _fail(self, at: int, error: Exception) -> None:
        self._pass_on(at, error)

    def _pass_on(self, at: int, error: BaseException) -> None:
        if self.failure is None and not self.places[at].is_dead:  # how a branch that was given up ends is nobody's news
            self.failure = (at, error)
            self._wake()

    def _leave(self, _: asyncio.Task[None]) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            self._wake()
        self.execution.leave()

    def _wake(self) -> None:
        if not self.done.done():
            self.execution.enter()  # before the branch leaves, so that the run never looks idle in between
            self.done.set_result(None)

    async def record(self, state: StepState, *, name: str, details: str, error: str | None = None) -> None:
        """Put on record how it ended."""
        await self.execution.record(
            StepRecord(
                run_id=self.execution.run.id,
                path=self.path,
                name=name,
                kind=StepKind.WAIT,
                state=state,
                started_at=self.started_at,
                ended_at=self.execution.moment(),
                error=error,
                details=details,
                epoch=self.execution.epoch,
            )
        )

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for place in self.places:
            place.is_withdrawn = True
        for task in tasks:
            task.cancel()
        pending = [task for task in tasks if not task.done()]
        while pending:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError:
                if not self.scope.is_dead:
                    raise
            pending = [task for task in pending if not task.done()]
        _close(self.calls)


class _Gather(_Branches):
    """Ends with the last branch, or with the first that fails."""

    def __init__(self, scope: Scope, path: str, calls: tuple[Awaitable[Any], ...], *, return_exceptions: bool) -> None:
        super().__init__(scope, path, calls)
        self.return_exceptions = return_exceptions

    async def run(self) -> tuple[Any, ...]:
        await self.run_all()
        if self.failure is None:
            return tuple(self.results)
        _, error = self.failure
        if isinstance(error, Exception):  # a run that is parked keeps its waits, one that is cancelled loses all
            await _withdraw_waits(self.scope, self.path)
        raise error

    def _fail(self, at: int, error: Exception) -> None:
        if self.return_exceptions:
            self.results[at] = error
        else:
            self._pass_on(at, error)

    async def settle(self) -> None:
        if self.failure is not None and isinstance(self.failure[1], Exception):
            at, error = self.failure
            details = f'{{"failed_branch":{at}}}'
            await self.record(StepState.FAILED, name="gather", details=details, error=record_error(error))


class _Race(_Branches):
    """Ends with the first branch that ends, whether well or not.

    Only the winner's place goes on record: what it returned or raised follows from its own checkpoints.
    """

    def __init__(self, scope: Scope, path: str, calls: tuple[Awaitable[Any], ...], *, first_place: int = 0) -> None:
        super().__init__(scope, path, calls, first_place=first_place)
        self.first_place = first_place
        self.winner: int | None = None
        self.is_recorded = False

    async def run(self, *, is_recorded: bool = False) -> First[Any]:
        self.is_recorded = is_recorded
        await self.run_all()
        if self.failure is None or isinstance(self.failure[1], Exception):
            await _withdraw_waits(self.scope, self.path)
        if self.failure is not None:
            raise self.failure[1]
        assert self.winner is not None
        return First(self.first_place + self.winner, self.results[self.winner])

    def _succeed(self, at: int, result: Any) -> None:
        if self.winner is None and self.failure is None:
            self.winner, self.results[at] = at, result
            self._wake()

    def _fail(self, at: int, error: Exception) -> None:
        if self.winner is None:
            self._pass_on(at, error)

    async def settle(self) -> None:
        is_over = self.winner is not None or (self.failure is not None and isinstance(self.failure[1], Exception))
        if is_over and not self.is_recorded:
            at = self.winner if self.winner is not None else self.failure[0]  # type: ignore[index]  # one of them is set
            await self.record(StepState.SUCCEEDED, name="race", details=f'{{"winner":{at}}}')
