"""Marks: what a run puts on record once and without a body, such as a line for people, an event, a run begun."""

from __future__ import annotations

from typing import Any

from toolkit.serialization import storable
from toolkit.workflows.matching import expect
from toolkit.workflows.operations import StepRecord
from toolkit.workflows.outcomes import Recorded
from toolkit.workflows.scopes import Scope
from toolkit.workflows.states import StepKind, StepState


async def find_mark(scope: Scope, path: str, *, name: str) -> StepRecord | None:
    """The mark at ``path``, if it is on record; without one the run may leave it now, after any pause.

    Raises:
        RunCancelled: there is none, and the run is being cancelled.
        RunParked: something else is on record there.
    """
    execution = scope.execution
    if path in execution.journal:
        return expect(execution.journal[path], kind=StepKind.MESSAGE, name=name)
    await scope.begin()
    return None


async def leave_mark(
    scope: Scope,
    path: str,
    *,
    name: str,
    arguments: str | None = None,
    result: str = "null",
    details: str | None = None,
    display_name: str | None = None,
    **more: Any,
) -> Recorded:
    """Put the mark on record; ``more``, such as an event, goes into the same commit (see ``Execution.record``)."""
    execution = scope.execution
    now = execution.moment()
    record = StepRecord(
        run_id=execution.run.id,
        path=path,
        name=name,
        kind=StepKind.MESSAGE,
        state=StepState.SUCCEEDED,
        started_at=now,
        ended_at=now,
        arguments=arguments,
        result=result,
        details=details,
        display_name=display_name and storable(display_name),
        epoch=execution.epoch,
    )
    return await execution.record(record, is_shielded=scope.is_shielded, **more)
