"""The places at which a run's branches wait, and what lets them go on: an end, the end of a pause, a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from toolkit.workflows.failures import RunCancelled
from toolkit.workflows.operations import StepRecord
from toolkit.workflows.states import StepKind, StepState

if TYPE_CHECKING:
    from toolkit.workflows.executions import Execution
    from toolkit.workflows.scopes import Scope


class Parking:
    """Where the branches of one run wait, by the path of the wait."""

    __slots__ = ("_execution", "_held", "_holds", "_places")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._places: dict[str, tuple[asyncio.Future[StepRecord], Scope]] = {}
        self._held: set[str] = set()
        self._holds = 0

    @property
    def is_holding(self) -> bool:
        """Whether a pause holds up a branch."""
        return bool(self._held)

    async def wait_at(self, path: str, scope: Scope) -> StepRecord:
        """The end of the open wait at ``path``; the run is suspended when every branch waits.

        Raises:
            RunCancelled: the run is being cancelled or the branch is given up, and nothing shields this wait from it.
        """
        scope.check()  # it may have come while the wait was opened
        future: asyncio.Future[StepRecord] = asyncio.get_running_loop().create_future()
        self._places[path] = (future, scope)
        self._execution.leave()
        try:
            return await future
        except asyncio.CancelledError:
            if self._places.pop(path, None) is not None:
                self._execution.enter()
            raise

    def let_go_on(self, path: str, outcome: StepRecord | RunCancelled) -> None:
        """Whoever waits at ``path`` goes on."""
        if path not in self._places:
            return
        future, _ = self._places.pop(path)
        self._execution.enter()
        if future.done():  # its branch may be on its way out
            return
        if isinstance(outcome, RunCancelled):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    async def hold(self, scope: Scope) -> None:
        """Wait for the end of the pause; when every branch waits, the run is suspended as for any other wait.

        Raises:
            RunCancelled: the run is being cancelled or the branch is given up, and nothing shields the caller from it.
        """
        while self._execution.is_pausing and not self._execution.is_cancel_requested:
            self._holds += 1
            place = f"pause/{self._holds}"
            self._held.add(place)
            try:
                await self.wait_at(place, scope)
            finally:
                self._held.discard(place)

    def end_pause(self) -> None:
        """The run is paused no more: whoever was held up by that goes on."""
        self._execution.is_pausing = False
        for place in list(self._held):
            self.let_go_on(place, _RESUMED)

    def interrupt(self, concerns: Callable[[Scope], bool], make: Callable[[], RunCancelled]) -> None:
        """Whoever waits in a scope that it ``concerns`` hears of it now."""
        for path, (future, scope) in list(self._places.items()):
            if not future.done() and concerns(scope):
                self.let_go_on(path, make())


# What a branch that was held up by a pause is told when it ends; nobody reads it.
_RESUMED = StepRecord("", "", "pause", StepKind.WAIT, StepState.SUCCEEDED, datetime.min.replace(tzinfo=UTC), None)
