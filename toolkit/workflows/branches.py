"""Branches side by side: ``gather``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, Literal, TypeVar, overload

from toolkit.workflows.executions import Execution
from toolkit.workflows.failures import record_error, revive_error
from toolkit.workflows.operations import CloseWaits, StepRecord
from toolkit.workflows.scopes import Scope, entered, require_scope
from toolkit.workflows.states import StepKind, StepState

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
        scope.check()
    except BaseException:
        _close(calls)
        raise
    if not calls:
        return ()
    return await _Gather(scope, path, calls, return_exceptions=return_exceptions).run()


def _close(calls: tuple[Awaitable[Any], ...]) -> None:
    for call in calls:
        if isinstance(call, Coroutine):
            call.close()


async def _withdraw_waits(scope: Scope, path: str) -> None:
    """Give up what the branches below ``path`` wait for, so that nothing is delivered to them any more."""
    execution, prefix = scope.execution, f"{path}/"
    waits = {at: wait for at, wait in execution.waits.items() if at.startswith(prefix)}
    if waits and not scope.is_dead and not execution.is_cancel_requested:
        children = [w.reference for w in waits.values() if w.kind == StepKind.CHILD and w.reference]
        ids = [wait.id for wait in waits.values()]
        await execution.commit(CloseWaits(execution.run.id, execution.epoch, ids, children))
        for at in waits:
            execution.waits.pop(at, None)


class _Gather:
    def __init__(self, scope: Scope, path: str, calls: tuple[Awaitable[Any], ...], *, return_exceptions: bool) -> None:
        self.scope, self.path, self.calls = scope, path, calls
        self.return_exceptions = return_exceptions
        self.execution: Execution = scope.execution
        self.places = [
            Scope(self.execution, f"{path}/{at}", step=scope.step, can_wait=scope.can_wait, parent=scope)
            for at in range(len(calls))
        ]
        self.results: list[Any] = [None] * len(calls)
        self.failure: tuple[int, BaseException] | None = None
        self.remaining = len(calls)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.started_at = self.execution.engine.runtime.clock.now()

    async def run(self) -> tuple[Any, ...]:
        """Start every branch, wait, and put a failure on record before anybody sees it."""
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
            if self.failure is None:
                return tuple(self.results)
            at, error = self.failure
            if isinstance(error, Exception):
                await self._record(at, error)
        except asyncio.CancelledError:
            if self.done.cancelled():  # otherwise a branch has woken us, and has counted us in
                self.execution.enter()
            if self.scope.is_dead:
                raise
            raise self.execution.foreign_cancellation() from None
        finally:
            await self._end(tasks)  # however this ends, no branch outlives it
        if isinstance(error, Exception):  # a run that is parked keeps its waits, one that is cancelled loses all
            await _withdraw_waits(self.scope, self.path)
        raise error

    async def _branch(self, at: int, call: Awaitable[Any]) -> None:
        place = self.places[at]
        place.task = asyncio.current_task()
        try:
            with entered(place):
                self.results[at] = await call
        except Exception as error:  # noqa: BLE001 - the author's code
            if self.return_exceptions:
                self.results[at] = error
            else:
                self._fail(at, error)
        except asyncio.CancelledError as error:
            if not place.is_dead:
                self._fail(at, self.execution.foreign_cancellation().with_traceback(error.__traceback__))
        except BaseException as error:  # noqa: BLE001 - a run cancelled or parked: the parent passes it on
            self._fail(at, error)

    def _leave(self, _: asyncio.Task[None]) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            self._wake()
        self.execution.leave()

    def _fail(self, at: int, error: BaseException) -> None:
        if self.failure is None:
            self.failure = (at, error)
            self._wake()

    def _wake(self) -> None:
        if not self.done.done():
            self.execution.enter()  # before the branch leaves, so that the run never looks idle in between
            self.done.set_result(None)

    async def _record(self, at: int, error: Exception) -> None:
        await self.execution.record(
            StepRecord(
                run_id=self.execution.run.id,
                path=self.path,
                name="gather",
                kind=StepKind.WAIT,
                state=StepState.FAILED,
                started_at=self.started_at,
                ended_at=self.execution.engine.runtime.clock.now(),
                error=record_error(error),
                details=f'{{"failed_branch":{at}}}',
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
