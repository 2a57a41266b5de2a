"""Schedules that fire: the runs of a moment and the move to the next one are one commit, or neither is there."""

from __future__ import annotations

from toolkit.storage import Query, Script, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.starts import Starts
from toolkit.workflows.operations import AttachedRows, FireSchedule
from toolkit.workflows.outcomes import Fate, Fired


class Schedules(Starts):
    """A schedule's row is locked after every run, by all who lock both, and is never waited for."""

    def fire_schedules(self) -> Script[None]:
        firing: list[tuple[int, FireSchedule]] = list(self._each(FireSchedule))
        if not firing:
            return
        rows = yield Query(sql.LOCK_SCHEDULES, [sorted({operation.name for _, operation in firing})])
        held = {name: (workflow, timing, read_moment(due_at), last) for name, workflow, timing, due_at, last in rows}
        asked = sorted({held[o.name][3] for _, o in firing if o.waits_its_turn and o.name in held} - {None})
        not_over = {id_ for (id_,) in (yield Query(sql.RUNS_NOT_OVER, [asked]))} if asked else set()
        for at, operation in firing:
            *found, last_run = held.pop(operation.name, (None, None, None, None))
            if found != [operation.workflow, operation.timing, operation.due_at]:
                self.outcomes[at] = Fired(Fate.LOST)
                continue
            is_skipped = operation.waits_its_turn and last_run in not_over
            runs = () if is_skipped else operation.runs
            for run in runs:
                self._begin(run, {})
            last = (operation.last_due_at, runs[-1].id) if runs else (None, None)
            self.attached.append(AttachedRows(sql.MOVE_SCHEDULES, [(operation.name, operation.next_at, *last)]))
            self.outcomes[at] = Fired(Fate.KEPT, is_skipped=is_skipped)
