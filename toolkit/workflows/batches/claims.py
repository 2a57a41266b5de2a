"""Who advances which run: claims, releases, and what the dead have left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from toolkit.storage import Query, Script
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.endings import Endings
from toolkit.workflows.batches.state import LockedRun
from toolkit.workflows.failures import record_error
from toolkit.workflows.operations import ClaimRuns, FinishRun, OpenWait, ParkUnknown, ReleaseRuns, Suspend, TakeOver
from toolkit.workflows.rows import to_claimed
from toolkit.workflows.states import RunState

HEAD_START = timedelta(milliseconds=200)


class Claims(Endings):
    """Every claim raises the epoch; from then on nobody else can write."""

    def make_room(self) -> None:
        """What ends or goes to wait in this batch leaves room for what begins in it.

        One that is told something and does not wait after all is one too many for a moment; the limits of single
        workflows are kept to the run.
        """
        if not self.worker.is_taking:
            return
        leaving = [*self._each(FinishRun), *self._each(Suspend)]
        leaving += [(at, o) for at, o in self._each(OpenWait) if o.suspension is not None]
        self.room += sum(self._fenced(o.run_id, o.epoch) is not None for _, o in leaving)

    def release(self) -> None:
        for at, operation in self._each(ReleaseRuns):
            released = 0
            for run_id, epoch in operation.runs:
                run = self._fenced(run_id, epoch)
                if run is not None:
                    run.state, run.worker_id, run.warm_worker = RunState.PENDING, None, None
                    run.due_at, run.is_changed = self.now, True
                    released += 1
            self.outcomes[at] = released
            if released:
                self.effects.has_due_runs = self.effects.must_notify = True

    def take_over(self) -> Script[None]:
        for at, operation in self._each(TakeOver):
            oldest = self.now - timedelta(seconds=operation.lease_seconds)
            taken: list[str] = []
            age = yield Query(sql.HEARTBEAT_AGE, [self.worker.id, self.now])
            if not age or age[0][0] > operation.lease_seconds:
                self.outcomes[at] = taken  # we were away ourselves: the others may have been as well
                continue
            for row in (yield Query(sql.RUNS_OF_DEAD, [list(operation.dead_workers), oldest])):
                if row[0] in self.runs:
                    continue
                self._hold(row[:-1])
                run, made_progress = self.runs[row[0]], bool(row[-1])
                run.losses = 1 if made_progress else run.losses + 1
                run.total_losses += 1
                run.epoch += 1  # the worker may only be slow: from here on it cannot write
                run.is_changed = True
                taken.append(run.id)
                if run.losses >= operation.max_losses or run.total_losses >= operation.max_total_losses:
                    self._end_run(run, RunState.PARKED, error=_poison_error(run))
                else:
                    run.state, run.worker_id, run.warm_worker, run.due_at = RunState.PENDING, None, None, self.now
            if taken:
                self.effects.has_due_runs = self.effects.must_notify = True
            self.outcomes[at] = taken
        for at, operation in self._each(ParkUnknown):
            latest = self.now - timedelta(seconds=operation.grace_seconds)
            unknown = yield Query(sql.UNKNOWN_RUNS, [list(operation.workflows), latest])
            ids = [id_ for (id_,) in unknown if id_ not in self.runs]
            if ids:
                self._hold_all((yield Query(sql.LOCK_RUNS, [ids, self.now])))
            parked = [self.runs[id_] for id_ in ids if id_ in self.runs]
            for run in parked:
                self._end_run(run, RunState.PARKED, error=_unknown_error(run))
            self.outcomes[at] = [run.id for run in parked]

    def claim(self) -> Script[None]:
        for at, operation in self._each(ClaimRuns):
            taken = 0
            for keys, room in self._rooms_of(operation.workflows):
                limit = operation.limit - taken
                if not operation.is_isolated:
                    limit = min(limit, self.room, room)
                if limit > 0 and keys:
                    taken += yield from self._claim(keys, limit=limit, is_isolated=operation.is_isolated)
            self.outcomes[at] = taken

    def _rooms_of(self, keys: Sequence[str]) -> list[tuple[list[str], int]]:
        """The workflows without a limit of their own together, each of the others by itself, with the room for them."""
        limited = {key: key.partition(" ")[0] for key in keys if key.partition(" ")[0] in self.rooms}
        free = [key for key in keys if key not in limited]
        return [(free, self.room), *(([key], self.rooms[name]) for key, name in limited.items())]

    def _claim(self, keys: list[str], *, limit: int, is_isolated: bool) -> Script[int]:
        """Take up to ``limit`` runs of the workflows ``keys`` that are due."""
        parameters = [self.now, self.worker.id, self.now - HEAD_START, keys, is_isolated, limit]
        claimed = [to_claimed(row) for row in (yield Query(sql.DUE_RUNS, parameters))]
        claimed = [run for run in claimed if run.id not in self.runs]  # decided above; next time
        if claimed:
            self._hold_all((yield Query(sql.LOCK_RUNS, [[run.id for run in claimed], self.now])))
        for run in claimed:
            held = self.runs[run.id]
            held.state, held.epoch, held.worker_id = RunState.RUNNING, held.epoch + 1, self.worker.id
            held.due_at, held.started_at, held.is_changed = None, self.now, True
            self.effects.claimed.append(run)
            self._take_room(run.workflow)
        yield from self._expire([run.id for run in claimed])
        if len(claimed) == limit:
            self.effects.has_due_runs = True
        return len(claimed)


def _poison_error(run: LockedRun) -> str:
    return record_error(
        RuntimeError(
            f"the run was lost {run.losses} times in a row without a new checkpoint ({run.total_losses} in all): "
            "it probably ends the process it runs in; look at its last step, then release or cancel it"
        )
    )


def _unknown_error(run: LockedRun) -> str:
    return record_error(
        LookupError(
            f"no worker has {'version ' + repr(run.version) + ' of ' if run.version is not None else ''}the workflow "
            f"{run.workflow!r}, with which this run began; register it (beside a newer one, if there is one), then "
            "release this run, or cancel it"
        )
    )
