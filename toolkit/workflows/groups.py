"""Calls side by side, each in a task and a place of its own, until their outcome is known and on record.

Then the branches that have not ended are given up. One that stands in a ``shield``, or has something to undo, is let
end that first, as in a run that is cancelled; a replay does the same, however far it had come.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from toolkit.workflows.executions import Execution
from toolkit.workflows.failures import RunCancelled, record_error
from toolkit.workflows.operations import CloseWaits, StepRecord
from toolkit.workflows.scopes import Scope, entered
from toolkit.workflows.states import StepKind, StepState

T = TypeVar("T")
Calls = Sequence[Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class First(Generic[T]):
    """The call that ended first: its place among the calls, from 0, and its result."""

    index: int
    result: T


def close(calls: Calls) -> None:
    """Let calls that are not to run end without a warning."""
    for call in calls:
        if isinstance(call, Coroutine):
            call.close()


async def withdraw_waits(scope: Scope, path: str, *, but: Collection[int] = ()) -> None:
    """Give up what the branches below ``path`` wait for, so that nothing is delivered to them any more.

    ``but`` are the places of branches that keep their waits.
    """
    execution, prefix = scope.execution, f"{path}/"
    kept = tuple(f"{prefix}{at}/" for at in but)
    waits = {at: w for at, w in execution.waits.items() if at.startswith(prefix) and not at.startswith(kept)}
    # The end of the run takes all waits with it; but a section that comes first may wait for the same events.
    is_ending = execution.is_cancel_requested and not scope.is_shielded and not execution.has_sections
    if waits and not scope.is_dead and not is_ending:
        children = [w.reference for w in waits.values() if w.kind == StepKind.CHILD and w.reference]
        ids = [wait.id for wait in waits.values()]
        await execution.commit(CloseWaits(execution.run.id, execution.epoch, ids, children))
        for at in waits:
            execution.waits.pop(at, None)


class Branches(ABC):
    """Calls side by side; ``places`` are their numbers where they are not all that the author gave.

    ``done`` is set as soon as what is waited for is there: the outcome, then the end of the branches that it leaves.
    No branch outlives :meth:`run_all`.
    """

    def __init__(self, scope: Scope, path: str, calls: Calls, *, places: Sequence[int] | None = None) -> None:
        self.scope, self.path, self.calls = scope, path, calls
        self.execution: Execution = scope.execution
        self.numbers = range(len(calls)) if places is None else places
        self.places = [
            Scope(
                self.execution,
                f"{path}/{number}",
                step=scope.step,
                can_wait=scope.can_wait,
                parent=scope,
                is_shielded=scope.is_shielded,
            )
            for number in self.numbers
        ]
        self.results: list[Any] = [None] * len(calls)
        self.failure: tuple[int, BaseException] | None = None
        self.cancelled: RunCancelled | None = None
        self.parked: BaseException | None = None  # by a branch that was given up
        self.is_recorded = False  # the outcome; whoever replays it sees to the other branches
        self.remaining = len(calls)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.started_at = self.execution.moment()

    async def run_all(self) -> None:
        """Start every branch, wait until the outcome is known, put it on record and end what is left."""
        spawn = self.execution.engine.runtime.spawn
        tasks = []
        for at, call in enumerate(self.calls):
            self.execution.enter()
            task = spawn(self._branch(at, call))
            task.add_done_callback(self._leave)  # a task that is cancelled before its first line has no `finally`
            tasks.append(task)
        try:
            await self._until_done()
            if self.is_decided:
                await self.settle()
                await self._give_up(tasks)
        except asyncio.CancelledError:
            if self.scope.is_dead:
                raise
            raise self.execution.foreign_cancellation() from None
        finally:
            await self._end(tasks)  # however this ends, no branch outlives it
        if self.parked is not None:  # it keeps its waits
            raise self.parked
        if self.is_decided and not self.is_recorded:
            await withdraw_waits(self.scope, self.path)

    @property
    def is_decided(self) -> bool:
        """Whether a branch has failed for which the others are given up. A run that is parked keeps its branches."""
        return self.failure is not None and isinstance(self.failure[1], Exception)

    @abstractmethod
    async def settle(self) -> None:
        """Put the outcome on record, before anybody sees it."""

    async def _until_done(self) -> None:
        """Wait for ``done``; a run whose branches all wait is suspended meanwhile."""
        self.execution.leave()
        try:
            await self.done
        except asyncio.CancelledError:
            if self.done.cancelled():  # otherwise a branch has woken us, and has counted us in
                self.execution.enter()
            raise

    async def _branch(self, at: int, call: Awaitable[Any]) -> None:
        place = self.places[at]
        place.task = asyncio.current_task()
        try:
            with entered(place):
                result = await call
            if not place.is_withdrawn:
                self._succeed(at, result)
        except Exception as error:  # noqa: BLE001 - the author's code
            if not place.is_withdrawn:  # how a branch that was given up ends is nobody's news
                self._fail(at, error)
        except asyncio.CancelledError as error:
            if not place.is_dead:
                self._pass_on(at, self.execution.foreign_cancellation().with_traceback(error.__traceback__))
        except RunCancelled as error:  # each branch hears of it by itself; what is shielded is not cut short
            if not place.is_withdrawn:
                self.cancelled = self.cancelled or error
        except BaseException as error:  # noqa: BLE001 - a run that is parked: whoever waits for the branches passes it on
            if not place.is_dead:
                self._pass_on(at, error)

    def _succeed(self, at: int, result: Any) -> None:
        self.results[at] = result

    def _fail(self, at: int, error: Exception) -> None:
        self._pass_on(at, error)

    def _pass_on(self, at: int, error: BaseException) -> None:
        if self.places[at].is_withdrawn:
            self.parked = error
            self._wake()
        elif self.failure is None:
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

    async def _give_up(self, tasks: list[asyncio.Task[None]]) -> None:
        """Give up the branches that have not ended, now that the outcome is on record.

        One that has a section under way first ends what it shields and undoes what it has to; the others end at once.
        """
        ending = [at for at, task in enumerate(tasks) if not task.done() and self._has_sections(self.places[at])]
        for at, place in enumerate(self.places):
            place.is_withdrawn, place.is_unwinding = True, at in ending
        if not ending:
            return
        self.execution.unwinding += 1
        try:
            self.execution.withdraw_branches()
            await self._cut_off([task for at, task in enumerate(tasks) if at not in ending])
            await withdraw_waits(self.scope, self.path, but=[self.numbers[at] for at in ending])
            if self.remaining:
                self.done = asyncio.get_running_loop().create_future()
                await self._until_done()
        finally:
            self.execution.unwinding -= 1

    def _has_sections(self, place: Scope) -> bool:
        """Whether a section is under way there; on a replay the branch may not have come to it yet."""
        journal = self.execution.journal
        return place.sections > 0 or (journal.has_section_below(place.path) and journal.has_unread_below(place.path))

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for place in self.places:
            place.is_withdrawn, place.is_unwinding = True, False
        await self._cut_off(tasks)
        close(self.calls)

    async def _cut_off(self, tasks: list[asyncio.Task[None]]) -> None:
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


class Gather(Branches):
    """Ends with the last branch, or with the first that fails."""

    def __init__(self, scope: Scope, path: str, calls: Calls, *, return_exceptions: bool) -> None:
        super().__init__(scope, path, calls)
        self.return_exceptions = return_exceptions

    async def run(self) -> tuple[Any, ...]:
        """The results, in the order of the calls."""
        await self.run_all()
        if self.failure is not None:
            raise self.failure[1]
        if self.cancelled is not None:
            raise self.cancelled
        return tuple(self.results)

    def _fail(self, at: int, error: Exception) -> None:
        if self.return_exceptions:
            self.results[at] = error
        else:
            self._pass_on(at, error)

    async def settle(self) -> None:
        assert self.failure is not None
        at, error = self.failure
        details = f'{{"failed_branch":{at}}}'
        await self.record(StepState.FAILED, name="gather", details=details, error=record_error(error))


class Race(Branches):
    """Ends with the first branch that ends, whether well or not; one that only hears of a cancel does not count.

    Only the winner's place goes on record: what it returned or raised follows from its own checkpoints. One that
    ``is_recorded`` is there for its winner alone.
    """

    def __init__(self, scope: Scope, path: str, calls: Calls, *, places: Sequence[int] | None = None) -> None:
        super().__init__(scope, path, calls, places=places)
        self.is_recorded = places is not None
        self.winner: int | None = None

    async def run(self) -> First[Any]:
        """The winner and its result."""
        await self.run_all()
        if self.failure is not None:
            raise self.failure[1]
        if self.winner is not None:
            return First(self.numbers[self.winner], self.results[self.winner])
        assert self.cancelled is not None
        raise self.cancelled

    @property
    def is_decided(self) -> bool:
        return self.winner is not None or super().is_decided

    def _succeed(self, at: int, result: Any) -> None:
        if self.winner is None and self.failure is None:
            self.winner, self.results[at] = at, result
            self._wake()

    def _fail(self, at: int, error: Exception) -> None:
        if self.winner is None:
            self._pass_on(at, error)

    async def settle(self) -> None:
        if not self.is_recorded:
            at = self.winner if self.winner is not None else self.failure[0]  # type: ignore[index]  # one of them is set
            await self.record(StepState.SUCCEEDED, name="race", details=f'{{"winner":{at}}}')


class Losers(Branches):
    """Branches that were given up before a replay: each comes to where it stood, and ends what it had to end."""

    async def run(self) -> None:
        """Wait until they have."""
        for place in self.places:
            place.is_withdrawn = place.is_unwinding = True
        self.execution.unwinding += 1
        try:
            await self.run_all()
        finally:
            self.execution.unwinding -= 1

    async def settle(self) -> None:
        """Whose outcome it was is on record."""


async def end_losers(scope: Scope, path: str, calls: Calls, *, winner: Race | None = None) -> First[Any] | None:
    """On a replay: the branches that the outcome on record has left end as they did, after the ``winner`` if any.

    Those that have entered no section have nothing to end, whatever they were at.
    """
    won = set(winner.numbers) if winner is not None else set()
    journal = scope.execution.journal
    left = [at for at in range(len(calls)) if at not in won and journal.has_section_below(f"{path}/{at}")]
    first: First[Any] | None = None
    failure: BaseException | None = None
    try:
        # This process or another may have ended before it came to that.
        await withdraw_waits(scope, path, but=[*won, *left])
        if winner is not None:
            try:
                first = await winner.run()
            except (Exception, RunCancelled) as error:  # noqa: BLE001 - the author's code; raised when all have ended
                failure = error
        if left:
            await Losers(scope, path, [calls[at] for at in left], places=left).run()
        await withdraw_waits(scope, path)
    finally:
        close(calls)
    if failure is not None:
        raise failure
    return first
