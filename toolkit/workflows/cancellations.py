"""What a run does about its own cancel: sections that it does not enter, looks for it, and undoing what was done.

A branch that a ``gather`` or ``race`` gives up is treated likewise: what it shields is run to its end and what it has
to undo is undone, before anybody hears of the outcome.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

from toolkit.errors import CompensationFailed
from toolkit.workflows.failures import RunCancelled, message_of
from toolkit.workflows.journal import details_of
from toolkit.workflows.marks import find_mark, leave_mark
from toolkit.workflows.operations import StepRecord
from toolkit.workflows.scopes import BranchWithdrawn, Scope, current_scope, require_scope
from toolkit.workflows.states import CancelMode

P = ParamSpec("P")

logger = logging.getLogger(__name__)

_KEEPS_END = "keeps_end"  # in the details of an entry


def check_cancellation() -> None:
    """End here if the run is being cancelled: for long stretches of a step or a workflow without a verb in them.

    Outside a run it does nothing. It may be called from the thread of a plain ``def`` step.

    Raises:
        RunCancelled: the run is being cancelled or this branch of it given up, and no ``shield`` stands around the
            caller.
    """
    scope = current_scope()
    if scope is None:
        return
    around = scope.given_up.path if scope.given_up is not None else ""
    if scope.step is None and scope.execution.journal.lies_ahead(around):
        return  # a replay on its way to where the run stood: what it has to undo, or to end in a shield, comes yet
    scope.check()


class shield:  # noqa: N801 - reads as a verb: `async with shield():`
    """A section that is run to its end once it was entered, although the run is cancelled or its branch given up.

    Entering is on record, so that this holds over restarts; a run that is being cancelled does not enter. Keep it
    short: a wait in it holds up the cancel, and the race or limit that was lost, for as long as it lasts.
    """

    async def __aenter__(self) -> None:
        self._scope = require_scope("shield")
        self._was_shielded = self._scope.is_shielded
        await _enter(self._scope, "shield", mode=CancelMode.SHIELDED)
        _shield(self._scope, by=1)

    async def __aexit__(self, *_: object) -> None:
        _shield(self._scope, by=-1, is_shielded=self._was_shielded)
        self._scope.count_section(-1)


class compensation:  # noqa: N801 - reads as a verb: `async with compensation() as undo:`
    """Undo what was done when the block ends with an error, the run is cancelled or the branch given up (a saga).

    ``undo(call, *arguments)`` says what to do in that case: ``call`` is a step, and the last one said is done first.
    Every one is tried, shielded from the cancel; then the error goes on. A block that ends well undoes nothing. A
    ``gather``, ``race`` or ``timeout`` that gives the block up waits until all is undone; a step under way ends first.

    Raises:
        CompensationFailed: steps could not undo; the error of the block is its cause.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...], dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        self._scope = require_scope("compensation")
        # In a branch the end of the block is on record as well: it may be given up while the last step is under way.
        in_branch = {_KEEPS_END: True} if self._scope.parent is not None else {}
        self._entry = await _enter(self._scope, "compensation", mode=CancelMode.UNWIND, **in_branch)
        self._scope.execution.undoers += 1
        return self

    def __call__(self, call: Callable[P, Awaitable[Any]], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have ``call`` undo what was just done, should it come to that."""
        self._calls.append((call, args, kwargs))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._end_well()
            # A copy that is given up, and a run that is parked, undo nothing: the run goes on.
            elif isinstance(error, Exception | RunCancelled):
                await self._undo(error)
        finally:
            self._scope.execution.undoers -= 1
            self._scope.count_section(-1)

    async def _end_well(self) -> None:
        if not self._calls or _KEEPS_END not in details_of(self._entry):
            return
        path = f"{self._entry.path}/end"
        if path in self._scope.execution.journal:
            return
        try:
            self._scope.check_alive()
            self._scope.check_wanted()
        except BranchWithdrawn as withdrawn:
            await self._undo(withdrawn)
            raise
        await leave_mark(self._scope, path, name="compensation")

    async def _undo(self, error: BaseException) -> None:
        was_shielded, failed = self._scope.is_shielded, []
        _shield(self._scope, by=1)
        try:
            for call, args, kwargs in reversed(self._calls):
                try:
                    await call(*args, **kwargs)
                except Exception as problem:  # noqa: BLE001 - the author's code: the other steps still undo theirs
                    name = getattr(call, "name", None) or getattr(call, "__name__", repr(call))
                    failed.append(f"{name}: {type(problem).__qualname__}: {message_of(problem)}")
        finally:
            _shield(self._scope, by=-1, is_shielded=was_shielded)
        if failed and isinstance(error, Exception):
            raise CompensationFailed(failed) from error
        if failed:  # nobody is there to be told: the cancel, or the outcome of the race, is on record
            logger.error(
                "A run that was cancelled, or a branch that was given up, could not undo all that it had done",
                extra={"event": "run.not_undone", "run_id": self._scope.execution.run.id, "steps": len(failed)},
            )


def _shield(scope: Scope, *, by: int, is_shielded: bool = True) -> None:
    scope.is_shielded = is_shielded
    scope.shields += by
    scope.execution.shields += by


async def _enter(scope: Scope, name: str, *, mode: CancelMode, **more: bool) -> StepRecord:
    """Put the entry of a section on record, once; with it, what a cancel is to do from now on.

    The section counts from here on: whoever gives the branch up while its entry is under way waits for its end.
    """
    path = scope.next_path(name)
    scope.count_section(1)
    try:
        recorded = await find_mark(scope, path, name=name)
        if recorded is None:
            # Another branch may stand in a shield; a cancel is to leave what that waits for alone.
            whole = CancelMode.SHIELDED if scope.execution.shields else mode
            details = json.dumps({"cancel": mode, **more})
            await leave_mark(scope, path, name=name, details=details, cancel_mode=whole)
            recorded = scope.execution.journal[path]
    except BaseException:
        scope.count_section(-1)
        raise
    scope.execution.has_sections = True
    return recorded
