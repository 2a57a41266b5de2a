"""Checkpoints and nothing else, which is most of what a busy process writes, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from toolkit.storage import Rows, Script
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.starts import KEPT, KEPT_BUT_CANCELLED
from toolkit.workflows.batches.state import Worker
from toolkit.workflows.operations import Operation, RecordStep
from toolkit.workflows.states import StepState


def record_at_once(operations: Sequence[Operation], *, worker: Worker) -> Script[list[Any] | None]:
    """The outcomes; or ``None``, and nothing was written, where there is more to decide than one statement can."""
    if len(operations) > 1 and not worker.is_far:
        return None
    steps = [operation.step for operation in operations if _is_plain(operation)]
    if len(steps) < len(operations) or len({(step.run_id, step.path) for step in steps}) < len(steps):
        return None
    rows = yield Rows(sql.RECORD_AT_ONCE, [(*step, worker.id) for step in steps], is_alone=True)
    if not rows:
        return None
    cancelled = {run_id for run_id, is_cancelled in rows if is_cancelled}
    return [KEPT_BUT_CANCELLED if step.run_id in cancelled else KEPT for step in steps]


def _is_plain(operation: Operation) -> TypeGuard[RecordStep]:
    return (
        isinstance(operation, RecordStep)
        and operation.run is None
        and operation.event is None
        and operation.cancel_mode is None
        and not operation.attached
        and operation.step.state is not StepState.RUNNING
        and operation.step.epoch == operation.epoch
    )
