"""What a run does about its own cancel: sections that it does not enter, looks for it, and undoing what was done."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec, Self

from toolkit.errors import CompensationFailed
from toolkit.workflows.failures import RunCancelled
from toolkit.workflows.marks import find_mark, leave_mark
from toolkit.workflows.scopes import Scope, current_scope, require_scope
from toolkit.workflows.states import CancelMode

P = ParamSpec("P")

logger = logging.getLogger(__name__)


def check_cancellation() -> None:
    """End here if the run is being cancelled: for long stretches of a step or a workflow without a verb in them.

    Outside a run it does nothing. It may be called from the thread of a plain ``def`` step.

    Raises:
        RunCancelled: the run is being cancelled, and no ``shield`` stands around the caller.
    """
    scope = current_scope()
    if scope is None:
        return
    if scope.step is None and scope.execution.journal.unread:
        return  # a replay on its way to where the run stood: what it has to undo, or to end in a shield, lies ahead
    scope.check()


class shield:  # noqa: N801 - reads as a verb: `async with shield():`
    """A section that is run to its end once it was entered, although the run is cancelled meanwhile.

    Entering is on record, so that this holds over restarts; a run that is being cancelled does not enter. Keep it
    short: a wait in it holds up the cancel for as long as it lasts.
    """

    async def __aenter__(self) -> None:
        self._scope = require_scope("shield")
        self._was_shielded = self._scope.is_shielded
        await _enter(self._scope, "shield", mode=CancelMode.SHIELDED)
        self._scope.is_shielded = True
        self._scope.execution.shields += 1

    async def __aexit__(self, *_: object) -> None:
        self._scope.is_shielded = self._was_shielded
        self._scope.execution.shields -= 1


class compensation:  # noqa: N801 - reads as a verb: `async with compensation() as undo:`
    """Undo what was done when the block ends with an error or the run is cancelled (a saga).

    ``undo(call, *arguments)`` says what to do in that case: ``call`` is a step, and the last one said is done first.
    Every one is tried, shielded from the cancel; then the error goes on. A block that ends well undoes nothing.

    Raises:
        CompensationFailed: steps could not undo; the error of the block is its cause.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., Awaitable[Any]], tuple[Any, ...], dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        self._scope = require_scope("compensation")
        await _enter(self._scope, "compensation", mode=CancelMode.UNWIND)
        self._scope.execution.undoers += 1
        return self

    def __call__(self, call: Callable[P, Awaitable[Any]], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have ``call`` undo what was just done, should it come to that."""
        self._calls.append((call, args, kwargs))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.execution.undoers -= 1
        # A copy that is given up, and a run that is parked, undo nothing: the run goes on.
        if isinstance(error, Exception | RunCancelled):
            await self._undo(error)

    async def _undo(self, error: BaseException) -> None:
        was_shielded, failed = self._scope.is_shielded, []
        self._scope.is_shielded = True
        self._scope.execution.shields += 1
        try:
            for call, args, kwargs in reversed(self._calls):
                try:
                    await call(*args, **kwargs)
                except Exception as problem:  # noqa: BLE001 - the author's code: the other steps still undo theirs
                    name = getattr(call, "name", None) or getattr(call, "__name__", repr(call))
                    failed.append(f"{name}: {type(problem).__qualname__}: {problem}")
        finally:
            self._scope.is_shielded = was_shielded
            self._scope.execution.shields -= 1
        if failed and isinstance(error, Exception):
            raise CompensationFailed(failed) from error
        if failed:
            logger.error(
                "A cancelled run could not undo all that it had done",
                extra={"event": "run.not_undone", "run_id": self._scope.execution.run.id, "steps": len(failed)},
            )


async def _enter(scope: Scope, name: str, *, mode: CancelMode) -> None:
    """Put the entry of a section on record, once; with it, what a cancel is to do from now on."""
    path = scope.next_path(name)
    if await find_mark(scope, path, name=name) is None:
        await leave_mark(scope, path, name=name, details=json.dumps({"cancel": mode}), cancel_mode=mode)
