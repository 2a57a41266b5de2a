"""Waits that begin and end, and what their ends set going."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

from toolkit.errors import NotFound, WaitTimeout
from toolkit.storage import Query, Rows, Script, readable
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.starts import Starts
from toolkit.workflows.batches.state import LockedRun
from toolkit.workflows.failures import record_error
from toolkit.workflows.operations import OpenWait, StepRecord, Suspend, WaitRecord
from toolkit.workflows.outcomes import Fate, Suspended, WaitOpened
from toolkit.workflows.rows import to_wait
from toolkit.workflows.states import CancelMode, RunState, StepKind, StepState, WaitState


class Waits(Starts):
    """One compare-and-set ends a wait; its run goes on at once where it is warm."""

    def open_waits(self) -> Script[None]:
        opening = list(self._each(OpenWait))
        asking = []
        for _, operation in opening:
            left_out = yield from self._number_before(operation)
            asking.append(replace(operation.wait, after_seq=left_out) if left_out else operation.wait)
        by_key = self._by_key(asking)
        self.asked_for = (yield from self._numbered_events(by_key)) if by_key else {}
        delivered = yield from self._delivered_numbers(asking)
        for (at, operation), asked in zip(opening, asking, strict=True):
            run = self._fenced(operation.run_id, operation.epoch)
            if run is None:
                self.outcomes[at] = WaitOpened(Fate.LOST)
                continue
            if run.is_cancel_requested and not operation.is_shielded:
                self.outcomes[at] = WaitOpened(Fate.CANCELLED)
                continue
            cursor = delivered.get((asked.run_id, str(asked.event_key)), 0) if asked.kind == StepKind.WAIT else 0
            after_seq, created_at = max(asked.after_seq, cursor), max(self.now, asked.created_at or self.now)
            wait = replace(asked, created_at=created_at, after_seq=after_seq)
            self.fresh_waits[wait.id] = wait
            self.opened[wait.id] = at
            self.attached.extend(operation.attached)
            if operation.child is not None:
                self._begin(operation.child, {})
            self.outcomes[at] = WaitOpened(Fate.KEPT, wait=wait)
            if operation.watched is not None:
                yield from self._watch(run, wait, operation.watched)

    def _number_before(self, operation: OpenWait) -> Script[int]:
        """The number up to which a wait leaves out events that exist already, if that is beyond its own cursor."""
        key, number = operation.wait.event_key, 0
        if operation.is_from_now:
            ((_, last),) = yield Query(sql.LAST_NUMBERS, [[key]])
            number = last or 0
        elif operation.since is not None:
            number = int((yield Query(sql.NUMBER_BEFORE, [key, operation.since]))[0][0])
        return number if number > operation.wait.after_seq else 0

    def _watch(self, run: LockedRun, wait: WaitRecord, watched: str) -> Script[None]:
        """See that the wait hears of the end of another run, or has its end now."""
        target = self.runs.get(watched)
        begun = next((new for new, *_ in self.new_runs if new.id == watched), None)
        if begun is not None:
            self.watched[watched] = True
        elif target is None:
            yield from self._end_wait(wait, WaitState.DELIVERED)
            self._deliver(run, wait, StepState.FAILED, error=record_error(NotFound("run", watched)))
        elif target.state.is_final:
            ((_, state, result, error, continued_as),) = yield Query(sql.RUN_STATES, [[watched]])
            yield from self._end_wait(wait, WaitState.DELIVERED)
            for text in (result, error):
                readable(text, what=f"how run {watched} ended")
            ending = ending_of(state, result=result, error=error, continued_as=continued_as)
            self._deliver(run, wait, StepState.SUCCEEDED, result=ending)
        elif not target.is_watched:
            target.is_watched = target.is_changed = True

    def _delivered_numbers(self, asking: Sequence[WaitRecord]) -> Script[dict[tuple[str, str], int]]:
        """The cursors of runs that are about to wait, from the journal: their own may be a delivery behind.

        Where nothing is above their own they need not be known.
        """
        waits = [wait for wait in asking if wait.kind == StepKind.WAIT and wait.event_key in self.asked_for]
        if not waits:
            return {}
        run_ids, keys = sorted({wait.run_id for wait in waits}), sorted({str(wait.event_key) for wait in waits})
        rows = yield Query(sql.DELIVERED_NUMBERS, [run_ids, keys])
        return {(run_id, key): seq for run_id, key, seq in rows}

    def _by_key(self, waits: Iterable[WaitRecord]) -> dict[str, list[WaitRecord]]:
        by_key: dict[str, list[WaitRecord]] = defaultdict(list)
        for wait in sorted(waits, key=lambda w: w.id):
            if wait.hears_events:
                by_key[str(wait.event_key)].append(wait)
        return by_key

    def _numbered_events(
        self, by_key: Mapping[str, Sequence[WaitRecord]]
    ) -> Script[dict[str, list[tuple[int, str | None, str | None]]]]:
        """What is on record for the waits of each key and above the lowest of their cursors, in order."""
        after: dict[tuple[str, str | None], int] = {}
        for key, of_key in by_key.items():
            for wait in of_key:
                for place in ((key, None), (key, wait.run_id)):
                    after[place] = min(wait.after_seq, after.get(place, wait.after_seq))
        rows = yield Rows(sql.NUMBERED_EVENTS, [(*place, seq) for place, seq in after.items()])
        found: dict[str, list[tuple[int, str | None, str | None]]] = defaultdict(list)
        for key, seq, run_id, payload in sorted(rows, key=itemgetter(1)):
            found[key].append((seq, run_id, payload))
        return found

    def _expire(self, run_ids: list[str]) -> Script[None]:
        if not run_ids:
            return
        due = [to_wait(row) for row in (yield Query(sql.DUE_WAITS_OF_RUNS, [run_ids, self.now]))]
        due = [wait for wait in due if wait.id not in self.ended]
        won = yield from self._end_waits([(wait, WaitState.EXPIRED) for wait in due])
        for wait in due:
            run = self.runs[wait.run_id]
            if wait.id not in won:
                continue
            if wait.kind == StepKind.TIMER:
                self._deliver(run, wait, StepState.SUCCEEDED, result="null")
            else:
                error = record_error(WaitTimeout(str(wait.event_key) if wait.hears_events else wait.name))
                self._deliver(run, wait, StepState.FAILED, error=error, details='{"outcome":"expired"}')

    def _end_wait(self, wait: WaitRecord, state: WaitState) -> Script[bool]:
        """End one wait; true if it was us who ended it."""
        return wait.id in (yield from self._end_waits([(wait, state)]))

    def _end_waits(self, ends: Sequence[tuple[WaitRecord, WaitState]]) -> Script[set[str]]:
        """The compare-and-set, one statement for all; returns the ids of the waits that it was us who ended.

        A statement for each would be a round trip to PostgreSQL for each of a thousand children.
        """
        recorded = [(wait.id, state, wait.state, self.now) for wait, state in ends if wait.id not in self.fresh_waits]
        won: set[str] = set()
        if recorded:
            won.update(id_ for (id_,) in (yield Rows(sql.END_WAITS, recorded)))
        for wait, state in ends:
            if wait.id in self.fresh_waits:
                del self.fresh_waits[wait.id]
                self.fresh_waits[wait.id] = replace(wait, state=state)
                won.add(wait.id)
            if wait.id in won:
                self.closed.append((wait, state))
                self.ended.add(wait.id)
        return won

    def _deliver(
        self,
        run: LockedRun,
        wait: WaitRecord,
        state: StepState,
        *,
        result: str | None = None,
        error: str | None = None,
        details: str | None = None,
        event_seq: int | None = None,
    ) -> None:
        """Write the end of a wait into its run's journal and see that the run goes on."""
        record = StepRecord(
            run_id=wait.run_id,
            path=wait.path,
            name=wait.name,
            kind=wait.kind,
            state=state,
            started_at=wait.created_at or self.now,
            ended_at=max(self.now, wait.created_at or self.now),
            arguments=wait.arguments,
            result=result,
            error=error,
            details=details,
            display_name=wait.display_name,
            epoch=run.epoch,
            event_seq=event_seq,
        )
        self.new_steps.append(record)
        if wait.id in self.fresh_waits:  # over before it began: its caller hears of it as the outcome
            self.outcomes[self.opened[wait.id]] = WaitOpened(Fate.KEPT, record=record)
            return
        run.is_delivered = True
        self._wake(run, record)

    def _wake(self, run: LockedRun, record: StepRecord) -> None:
        if run.state is RunState.RUNNING:
            if run.worker_id == self.worker.id:
                self.effects.delivered.append(record)
            else:
                run.due_at, run.is_changed = self.now, True  # its owner reads it when it looks
                self.effects.must_notify = True
            return
        if run.state is not RunState.SUSPENDED:
            return  # pending: it will read its journal; parked: it waits for an operator
        is_warm_here = run.warm_worker == self.worker.id and not run.is_paused and run.losses < 2
        # A run that is due already has something on record that its warm copy has not seen: whoever claims it looks.
        is_due = run.due_at is not None and run.due_at <= self.now
        if is_warm_here and not is_due and self.room > 0:
            self._take_room(run.workflow)
            self.effects.woken.append((run.id, run.epoch, run.epoch + 1))
            self.effects.delivered.append(record._replace(epoch=run.epoch + 1))
            run.state, run.epoch, run.worker_id, run.due_at = RunState.RUNNING, run.epoch + 1, self.worker.id, None
        else:
            run.due_at = self.now
            self.effects.has_due_runs = True
            self.effects.must_notify = True
        run.is_changed = True

    def suspend(self) -> None:
        for _, opening in self.by_type.get(OpenWait, ()):
            self._suspend_at_its_wait(opening)
        for at, operation in self._each(Suspend):
            run = self._fenced(operation.run_id, operation.epoch)
            if run is None:
                self.outcomes[at] = Suspended(Fate.LOST)
            elif run.is_cancel_requested and operation.cancel_mode is not CancelMode.SHIELDED:
                self.outcomes[at] = Suspended(Fate.KEPT, is_cancel_requested=True)
            elif run.is_delivered:
                self.outcomes[at] = Suspended(Fate.KEPT)
            elif run.due_at is not None or operation.is_in_doubt:  # another process delivered while we ran, or may have
                run.due_at, run.is_changed = None, True
                self.outcomes[at] = Suspended(Fate.KEPT, must_read=True)
            else:
                self._suspend(run, operation)
                self.outcomes[at] = Suspended(Fate.KEPT, is_suspended=True)

    def _suspend_at_its_wait(self, opening: OpenWait) -> None:
        """A run goes to wait in the commit that opens its wait; where there is more to it, it asks once more."""
        if opening.suspension is None or opening.wait.id not in self.fresh_waits or opening.wait.id in self.ended:
            return
        run = self._fenced(opening.run_id, opening.epoch)
        if run is None or run.is_cancel_requested or run.is_delivered or run.due_at is not None:
            return
        self._suspend(run, opening.suspension)
        self.outcomes[self.opened[opening.wait.id]].is_suspended = True

    def _suspend(self, run: LockedRun, how: Suspend) -> None:
        run.state, run.worker_id, run.warm_worker = RunState.SUSPENDED, None, self.worker.id
        run.due_at, run.cancel_mode, run.is_changed = how.due_at, how.cancel_mode, True


def ending_of(state: str, *, result: str | None, error: str | None, continued_as: str | None) -> str:
    """What became of a run, as the JSON text that those who wait for it are told."""
    return json.dumps({"state": state, "result": result, "error": error, "continued_as": continued_as})
