"""Checkpoints that go with what their run commits next, instead of being a commit of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from toolkit.storage import DataRejected
from toolkit.workflows.operations import RecordStep, StepRecord
from toolkit.workflows.outcomes import Fate, Recorded

if TYPE_CHECKING:
    from toolkit.workflows.executions import Execution


class Deferrals:
    """What one copy of a run has decided and not sent to the database yet.

    For what may be decided anew as long as nothing that follows from it is on record: in the queue of commits it stands
    before whatever the run commits later, a batch keeps its order, and what was queued behind it is not committed when
    its own batch is lost.
    """

    __slots__ = ("_are_lost", "_execution", "_refused", "_steps", "_under_way")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._steps: list[StepRecord] = []
        self._under_way = 0
        self._are_lost = False
        self._refused: DataRejected | None = None

    def add(self, step: StepRecord) -> None:
        """Keep ``step`` until the next :meth:`send`."""
        self._steps.append(step)

    def send(self) -> None:
        """Send what there is on its way: before each commit of the run, and at each look of the engine."""
        if not self._steps:
            return
        steps, self._steps = self._steps, []
        run_id, epoch = self._execution.run.id, self._execution.epoch
        self._under_way += len(steps)
        for step in steps:
            operation = RecordStep(run_id, epoch, step)
            self._execution.engine.submit(operation, then=self._on_recorded, failed=self._on_failed)

    @property
    def obstacle(self) -> Callable[[], bool] | None:
        """Says of what is committed now whether it must not be, because something before it was lost."""
        return self._have_been_lost if self._under_way else None

    def check(self) -> None:
        """Say to whoever commits next that something could not be stored.

        Raises:
            DataRejected: the database refuses a value that was sent.
        """
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused

    def _have_been_lost(self) -> bool:
        return self._are_lost

    def _on_recorded(self, outcome: Recorded) -> None:
        self._under_way -= 1
        if outcome.fate is Fate.LOST:
            self._execution.engine.residents.abandon(self._execution)
        elif not self._execution.is_dead and (outcome.fate is Fate.CANCELLED or outcome.is_cancel_requested):
            self._execution.request_cancel()

    def _on_failed(self, error: BaseException) -> None:
        self._under_way -= 1
        if isinstance(error, DataRejected):
            self._refused = error
        else:
            self._are_lost = True  # or nobody knows, which is no better
            self._execution.on_failed_commit(error)
