"""Ends: of runs, of their families, of what they waited for."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from toolkit.errors import RunFailed
from toolkit.storage import Query, Script, readable
from toolkit.workflows import statements as sql
from toolkit.workflows.attributes import INHERIT_ATTRIBUTES
from toolkit.workflows.batches.state import LockedRun
from toolkit.workflows.batches.waits import Waits, ending_of
from toolkit.workflows.failures import record_error
from toolkit.workflows.keys import RUN_ENDED
from toolkit.workflows.operations import (
    AttachedRows,
    CancelRun,
    CloseWaits,
    ExpireWaits,
    FinishRun,
    NewRun,
    StepRecord,
    WaitRecord,
)
from toolkit.workflows.outcomes import Cancelled, EndedRun, Fate, Finished, WaitsClosed
from toolkit.workflows.rows import to_wait
from toolkit.workflows.states import CancelMode, ClosePolicy, RunState, StepKind, StepState, WaitState


class Endings(Waits):
    """Finishing, cancelling and giving up, each with what hangs on it."""

    def end_waits(self) -> Script[None]:
        """Withdrawals, and limits of running runs that have passed."""
        expiring = []
        for at, operation in self._each(ExpireWaits):
            run = self._fenced(operation.run_id, operation.epoch)
            self.outcomes[at] = Fate.KEPT if run is not None else Fate.LOST
            if run is not None:
                expiring.append(run.id)
        yield from self._expire(expiring)
        yield from self._close_waits()

    def _close_waits(self) -> Script[None]:
        """All that are given up in this batch at once: each branch that hears of a cancel asks for its own."""
        closing: list[tuple[int, CloseWaits, LockedRun]] = []
        for at, operation in self._each(CloseWaits):
            run = self._fenced(operation.run_id, operation.epoch)
            if run is None:
                self.outcomes[at] = WaitsClosed(Fate.LOST)
            else:
                closing.append((at, operation, run))
        if not closing:
            return
        ids = sorted({id_ for _, operation, _ in closing for id_ in operation.wait_ids})
        waits = {wait.id: wait for wait in map(to_wait, (yield Query(sql.WAITS_BY_ID, [ids])))}
        ends: list[tuple[WaitRecord, WaitState]] = []
        for wait in waits.values():
            if wait.state in {WaitState.OPEN, WaitState.RESOLVED}:
                is_cancelled = self.runs[wait.run_id].is_cancel_requested
                ends.append((wait, WaitState.CANCELLED if is_cancelled else WaitState.WITHDRAWN))
        closed = yield from self._end_waits(ends)
        closed |= {wait.id for wait in waits.values() if wait.state in {WaitState.WITHDRAWN, WaitState.CANCELLED}}
        children: dict[bool, list[str]] = defaultdict(list)
        for at, operation, run in closing:
            self.outcomes[at] = WaitsClosed(Fate.KEPT, are_all=closed.issuperset(operation.wait_ids))
            children[run.is_cancel_requested] += operation.child_ids
        yield from self._cancel_children(children[False], reason="no longer awaited")
        yield from self._cancel_children(children[True], reason="its parent is being cancelled")

    def finish(self) -> Script[None]:
        finishing: list[tuple[int, FinishRun, LockedRun]] = []
        for at, operation in self._each(FinishRun):
            run = self._fenced(operation.run_id, operation.epoch)
            if run is None and operation.state is RunState.PARKED:
                run = self._suspended(operation.run_id, operation.epoch)
            if run is None:
                self.outcomes[at] = Finished(Fate.LOST)
            else:
                finishing.append((at, operation, run))
        closing = []
        for at, operation, run in finishing:
            state = operation.state
            if run.is_cancel_requested and state is not RunState.PARKED:
                state = RunState.CANCELLED
            if operation.continued is not None and state is RunState.SUCCEEDED:
                yield from self._continue(run, operation.continued)
            self._end_run(run, state, result=operation.result, error=operation.error)
            self.outcomes[at] = Finished(Fate.KEPT, state)
            if state is not RunState.PARKED:
                yield from self._cancel_children(operation.child_ids, reason="its parent has ended")
                if operation.has_open_waits:
                    closing.append(run.id)
        yield from self._close_waits_of(closing)
        ended = [run for _, _, run in finishing if run.state.is_final]
        yield from self._tell_parents(ended)

    def _continue(self, run: LockedRun, successor: NewRun) -> Script[None]:
        """Another run goes on in place of this one: it has its parent, its watchers' eyes and its events."""
        successor = replace(successor, close_policy=run.close_policy)
        places = [(run.id, successor.id)]
        self.attached.append(AttachedRows(INHERIT_ATTRIBUTES, places))
        if run.is_paused:  # the pause came too late for this run: it holds up the next
            self.new_runs.append((successor, RunState.PENDING, 0, None, self.now))
            self.attached.append(AttachedRows(sql.INHERIT_PAUSE, places))
        else:
            self._begin(successor, {})
        cursors = yield from self._cursors_of(run, successor)
        self.new_steps += cursors
        self.effects.delivered += cursors  # if it is begun here at once, it does not read its journal
        self.retargeted.append((run.id, successor.id))
        run.continued_as = successor.id

    def _cursors_of(self, run: LockedRun, successor: NewRun) -> Script[list[StepRecord]]:
        """What tells ``successor`` which events ``run`` has had; its memory may be a delivery behind its journal."""
        last: dict[str, int] = dict((yield Query(sql.CURSORS_OF_RUN, [run.id])))
        for step in self.new_steps:
            if step.run_id == run.id and step.event_seq is not None:
                last[step.name] = max(step.event_seq, last.get(step.name, 0))
        return [
            StepRecord(
                run_id=successor.id,
                path=f"continued/{at}",
                name=key,
                kind=StepKind.WAIT,
                state=StepState.SUCCEEDED,
                started_at=self.now,
                ended_at=self.now,
                result="null",
                event_seq=number,
            )
            for at, (key, number) in enumerate(sorted(last.items()))
        ]

    def _end_run(self, run: LockedRun, state: RunState, *, result: str | None = None, error: str | None = None) -> None:
        if state is RunState.CANCELLED:
            result = None
        run.state, run.worker_id, run.warm_worker, run.due_at = state, None, None, None
        run.result, run.error, run.is_changed = result, error, True
        if state.is_final:
            run.finished_at = self.now
            if run.is_watched:
                ending = ending_of(state, result=result, error=error, continued_as=run.continued_as)
                self.endings.append((f"{RUN_ENDED}{run.id}", ending))
        if state is RunState.CANCELLED and run.on_cancel is not None:
            self.cancelled.append(run)
        self.effects.ended.append(EndedRun(run.id, state, result, error, run.continued_as))

    def _tell_parents(self, ended: Sequence[LockedRun]) -> Script[None]:
        # What went on as another run has not ended for its parent.
        ended = [run for run in ended if run.continued_as is None]
        children = [run for run in ended if run.parent_id is not None and run.parent_wait is not None]
        if not children:
            return
        by_wait = {str(run.parent_wait): run for run in children}
        waits = [to_wait(row) for row in (yield Query(sql.WAITS_BY_ID, [sorted(by_wait)]))]
        waits = [wait for wait in waits if wait.run_id in self.runs and wait.state is WaitState.OPEN]
        ends = [(wait, WaitState.DELIVERED) for wait in waits if wait.id not in self.ended]
        won = yield from self._end_waits(ends)
        for wait, _ in ends:
            if wait.id not in won:
                continue
            child, parent = by_wait[wait.id], self.runs[wait.run_id]
            if child.state is RunState.SUCCEEDED:
                self._deliver(parent, wait, StepState.SUCCEEDED, result=child.result or "null")
            else:
                self._deliver(parent, wait, StepState.FAILED, error=_child_error(child))

    def _close_waits_of(self, run_ids: list[str], state: WaitState = WaitState.CANCELLED) -> Script[None]:
        if not run_ids:
            return
        ends: list[tuple[WaitRecord, WaitState]] = []
        for row in (yield Query(sql.OPEN_WAITS_OF_RUNS, [run_ids])):
            wait = to_wait(row)
            if wait.id not in self.ended:
                ends.append((wait, state))
        fresh = [wait for wait in self.fresh_waits.values() if wait.run_id in run_ids and wait.state is WaitState.OPEN]
        yield from self._end_waits([*ends, *((wait, state) for wait in fresh)])

    def cancel(self) -> Script[None]:
        for at, operation in self._each(CancelRun):
            target = self.runs.get(operation.run_id)
            if target is None:
                self.outcomes[at] = Cancelled(None)
                continue
            if target.state.is_final:
                self.outcomes[at] = Cancelled(target.state, was_final=True, continued_as=target.continued_as)
                continue
            ended = self._cancel_family(operation.run_id, reason=operation.reason, by=operation.by)
            yield from self._settle_cancelled(ended)
            self.outcomes[at] = Cancelled(target.state)

    def _cancel_children(self, child_ids: Sequence[str], *, reason: str) -> Script[None]:
        ended: list[LockedRun] = []
        for child in child_ids:
            if child not in self.runs or self.runs[child].close_policy != ClosePolicy.ABANDON:
                ended += self._cancel_family(child, reason=reason, by=None, is_child=True)
        yield from self._settle_cancelled(ended)

    def _settle_cancelled(self, ended: Sequence[LockedRun]) -> Script[None]:
        yield from self._close_waits_of([run.id for run in ended])
        yield from self._tell_parents(ended)

    def _cancel_family(
        self, root: str, *, reason: str | None, by: str | None, is_child: bool = False
    ) -> list[LockedRun]:
        """Cancel a run and what is below it, but for what a run that has something to end is left to see to itself.

        Returns those that have ended by it.
        """
        ended: list[LockedRun] = []
        spared: set[str] = set()  # with whatever is below them
        keepers: dict[str, CancelMode] = {}
        for member in self._from_the_root(root):
            run = self.runs.get(member)
            if run is None:
                continue
            if run.parent_id in spared or (run.parent_id in keepers and _is_kept(run, keepers[run.parent_id])):
                spared.add(member)
                continue
            if run.state.is_final:
                continue
            if run.cancel_mode is not None and run.state is not RunState.PARKED:
                keepers[member] = CancelMode(run.cancel_mode)
            if run.cancel is None and not run.is_cancel_requested:
                run.cancel, run.is_cancel_requested, run.is_changed = (self.now, reason, by), True, True
            if run.state is RunState.RUNNING:
                if run.worker_id == self.worker.id:
                    self.effects.cancel_requested.append(run.id)
                else:
                    run.due_at = self.now  # its owner looks at runs of its own that are due
                    self.effects.must_notify = True
                continue
            if self._must_unwind(run, is_child=is_child or member != root):
                continue
            run.epoch += 1  # whoever holds a copy of it cannot write any more
            self._end_run(run, RunState.CANCELLED)
            ended.append(run)
        return ended

    def _from_the_root(self, root: str) -> list[str]:
        """The members of a family, each after the run above it."""
        members = dict.fromkeys(self.families.get(root, [root]))
        below: dict[str | None, list[str]] = defaultdict(list)
        for member in members:
            run = self.runs.get(member)
            above = run.parent_id if run is not None and run.parent_id in members else None
            below[above].append(member)
        ordered = below[None]
        for member in ordered:  # it grows meanwhile
            ordered += below[member]
        return ordered

    def _must_unwind(self, run: LockedRun, *, is_child: bool) -> bool:
        """Whether the run's own code has something to do before it ends; if so, see that it does it.

        One that stands in a shield is woken as well: its other branches hear of the cancel, and end what they wait for.
        """
        if run.state is RunState.PARKED or run.epoch == 0:
            return False
        is_requested = is_child and run.close_policy == ClosePolicy.REQUEST
        if run.cancel_mode is None and not is_requested:
            return False
        run.due_at = self.now
        self.effects.has_due_runs = self.effects.must_notify = True
        return True

    def clean_up(self) -> Script[None]:
        """Start the clean-up of each run that was cancelled, in the same transaction."""
        if not self.cancelled:
            return
        asked = {run.id: run.cancel for run in self.cancelled}
        workflows = {run.id: str(run.on_cancel) for run in self.cancelled}
        for id_, workflow, input_, *recorded in (yield Query(sql.CANCELLED_RUNS, [sorted(asked)])):
            fresh = asked[id_]
            reason, by = recorded if fresh is None else fresh[1:]
            told = {"run_id": id_, "workflow": workflow, "reason": reason, "cancelled_by": by}
            readable(input_, what=f"the input of run {id_}")
            text = json.dumps({"cancelled": {**told, "arguments": json.loads(input_)}})
            digest = hashlib.sha256(text.encode()).hexdigest()
            name, _, version = workflows[id_].partition(" ")
            run = NewRun(self.worker.new_id(), name, text, digest, version=version or None, started_by=by)
            self.new_runs.append((run, RunState.PENDING, 0, None, self.now))  # this process may not know its code
            self.effects.has_due_runs = self.effects.must_notify = True


def _is_kept(child: LockedRun, mode: CancelMode) -> bool:
    """Whether a run that ends what it shields, or undoes something, is left to end this child by itself.

    One that it awaits may stand in that very section: the run ends those that do not when it hears of the cancel. One
    that it only started may be awaited in a shield all the same; it ends with the run.
    """
    return child.parent_wait is not None or mode is CancelMode.SHIELDED


def _child_error(child: LockedRun) -> str:
    return record_error(RunFailed(child.id, state=child.state.value), cause=child.error)
