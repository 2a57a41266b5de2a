"""Runs that begin, and the checkpoints of those that are under way."""

from __future__ import annotations

from toolkit.storage import Rows, Script
from toolkit.workflows import statements as sql
from toolkit.workflows.attributes import SET_ATTRIBUTES
from toolkit.workflows.batches.state import BatchState
from toolkit.workflows.operations import AttachedRows, NewRun, RecordStep, StartRun, StepRecord
from toolkit.workflows.outcomes import Fate, Recorded, Started
from toolkit.workflows.rows import begun_run, started_run
from toolkit.workflows.states import RunState, StepState

KEPT, KEPT_BUT_CANCELLED = Recorded(Fate.KEPT), Recorded(Fate.KEPT, is_cancel_requested=True)
_LOST = Recorded(Fate.LOST)


class Starts(BatchState):
    """Starts, by key at most once, and checkpoints, each under the fence of its run."""

    def begin_runs(self) -> Script[None]:
        starts: list[tuple[int, NewRun]] = [(at, o.run) for at, o in self._each(StartRun)]
        keyed = [(r.workflow, r.idempotency_key) for _, r in starts if r.idempotency_key is not None]
        steps = [(at, o) for at, o in self._each(RecordStep) if o.run is not None]
        keyed += [(o.run.workflow, o.run.idempotency_key) for _, o in steps if o.run.idempotency_key is not None]
        found: dict[tuple[str, str], tuple[str, str]] = {}
        if keyed:
            rows = yield Rows(sql.FIND_KEYED, sorted(set(keyed)))
            found = {(workflow, key): (id_, digest) for workflow, key, id_, digest in rows}
        for at, run in starts:
            self.outcomes[at] = self._begin(run, found)
        for at, operation in steps:
            owner = self._fenced(operation.run_id, operation.epoch)
            if owner is None:
                self.outcomes[at] = Recorded(Fate.LOST)
            elif owner.is_cancel_requested and not operation.is_shielded:
                self.outcomes[at] = Recorded(Fate.CANCELLED, is_cancel_requested=True)
            else:
                started = self._begin(operation.run, found)
                self.new_steps.append(_with_result(operation.step, f'"{started.run_id}"', owner.epoch))
                self.outcomes[at] = Recorded(Fate.KEPT, started=started)

    def _begin(self, run: NewRun, found: dict[tuple[str, str], tuple[str, str]]) -> Started:
        if run.idempotency_key is not None:
            key = (run.workflow, run.idempotency_key)
            if key in found:
                return Started(found[key][0], is_new=False, input_digest=found[key][1])
            found[key] = (run.id, run.input_digest)
        if run.attributes:
            self.attached.append(AttachedRows(SET_ATTRIBUTES, [(run.id, *row) for row in run.attributes]))
        due_at = run.due_at or self.now
        if due_at > self.now or run.priority or self.room <= 0 or self.rooms.get(run.workflow, 1) <= 0:
            self.new_runs.append((run, RunState.PENDING, 0, None, due_at))
            self.effects.has_due_runs = True
            self.effects.must_notify = True
            return started_run(run)
        self._take_room(run.workflow)
        self.new_runs.append((run, RunState.RUNNING, 1, self.worker.id, None))
        self.effects.started.append(begun_run(run, now=self.now))
        return started_run(run)

    def record_steps(self) -> None:
        for at, operation in self._each(RecordStep):
            run = self._fenced(operation.run_id, operation.epoch)
            if run is None:
                self.outcomes[at] = _LOST
                continue
            begins_something = operation.event is not None or operation.cancel_mode is not None
            if run.is_cancel_requested and begins_something and not operation.is_shielded:
                self.outcomes[at] = Recorded(Fate.CANCELLED, is_cancel_requested=True)
                continue
            if operation.cancel_mode is not None:
                run.cancel_mode, run.is_changed = operation.cancel_mode, True
            if run.losses and operation.step.state is not StepState.RUNNING:
                run.losses, run.is_changed = 0, True  # a checkpoint is progress
            # A step that was in flight when the cancel came is recorded: it has happened.
            self.new_steps.append(operation.step)
            self.attached.extend(operation.attached)
            self.outcomes[at] = KEPT_BUT_CANCELLED if run.is_cancel_requested else KEPT


def _with_result(step: StepRecord, result: str, epoch: int) -> StepRecord:
    return step._replace(result=result, epoch=epoch)
