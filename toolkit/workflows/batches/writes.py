"""The writes at the end of a batch, together where no one of them touches what another does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from toolkit.storage import Query, Rows, Script, Together
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.state import BatchState, LockedRun
from toolkit.workflows.failures import summary_of
from toolkit.workflows.operations import NoteProgress, StepRecord
from toolkit.workflows.outcomes import Fate
from toolkit.workflows.rows import new_run_values, wait_values
from toolkit.workflows.states import StepState, WaitState


class Writes(BatchState):
    """Everything was decided before; what is written here is plain."""

    def note_progress(self) -> None:
        for at, operation in self._each(NoteProgress):
            run = self._fenced(operation.run_id, operation.epoch)
            self.outcomes[at] = Fate.LOST if run is None else Fate.KEPT
            if run is not None:
                self.progress[run.id] = operation.progress

    def write(self) -> Script[None]:
        if self.progress:
            yield Rows(sql.SHOW_PROGRESS, sorted(self.progress.items()))
        changed = [run for _, run in sorted(self.runs.items()) if run.is_changed]
        requests = [
            Rows(
                sql.INSERT_RUNS,
                [new_run_values(*new, now=self.now, is_watched=self.watched.get(new[0].id)) for new in self.new_runs],
            ),
            Rows(sql.INSERT_STEPS, list(self._distinct_steps())),
            Rows(sql.INSERT_WAITS, [wait_values(wait, self.now) for wait in self.fresh_waits.values()]),
            Rows(sql.INSERT_EVENTS, self._event_values()),
            Rows(sql.NUMBER_EVENTS, self.numbered),
            Rows(sql.UPDATE_RUNS, [self._run_values(run) for run in changed]),
        ]
        writing = [request for request in requests if request.rows]
        if writing:
            yield Together(writing)
        if self.retargeted:
            yield Rows(sql.RETARGET_EVENTS, self.retargeted)
        moved = [(id_, seq) for id_, seq in self.cursors.items() if id_ not in self.ended]
        if moved:
            yield Rows(sql.MOVE_CURSORS, moved)
        for attached in self.attached:
            yield Rows(attached.statement, attached.rows)
        yield from self._close_kinds()
        if self.effects.must_notify:
            yield Query(sql.NOTIFY)

    def _event_values(self) -> list[Sequence[Any]]:
        """New events; and the ends of watched runs, which the next batch numbers and delivers: it locks who waits."""
        self.effects.unmatched.update(key for key, _ in self.endings)
        return [
            *((e.id, e.key, seq, e.run_id, None, e.payload, e.idempotency_key, self.now) for e, seq in self.new_events),
            *((self.worker.new_id(), key, None, None, None, end, None, self.now) for key, end in self.endings),
        ]

    def _distinct_steps(self) -> Iterable[StepRecord]:
        """One statement may not meet a row twice: a checkpoint wins over an early sighting, whichever came first."""
        steps: dict[tuple[str, str], StepRecord] = {}
        for step in self.new_steps:
            if step.state is not StepState.RUNNING or (step.run_id, step.path) not in steps:
                steps[step.run_id, step.path] = step
        return steps.values()

    def _close_kinds(self) -> Script[None]:
        by_kind: dict[str, list[tuple[str, str, datetime]]] = defaultdict(list)
        for wait, state in self.closed:
            if state is not WaitState.DELIVERED and wait.reference is not None:
                by_kind[wait.kind].append((wait.reference, state.value, self.now))
        for kind, rows in sorted(by_kind.items()):
            closer = self.worker.closers.get(kind)
            if closer is not None:
                for attached in closer(rows):
                    yield Rows(attached.statement, attached.rows)

    def _run_values(self, run: LockedRun) -> Sequence[Any]:
        cancelled_at, reason, by = run.cancel or (None, None, None)
        return (
            run.id,
            run.state.value,
            run.epoch,
            run.worker_id,
            run.warm_worker,
            run.due_at,
            run.losses,
            run.total_losses,
            run.started_at,
            run.finished_at,
            cancelled_at,
            reason,
            by,
            run.result,
            run.error,
            run.cancel_mode,
            run.continued_as,
            run.is_watched,
            summary_of(run.error) if run.error is not None else None,
        )
