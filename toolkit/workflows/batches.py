"""One transaction of the engine: many operations, one commit, the same order of locks everywhere.

1. the keys of events and of keyed starts are locked (on PostgreSQL tried, in order);
2. every run that the batch may touch is locked in one statement; reading it is the fence and the cancel check;
3. then, in later statements, come the looks and after them the writes. A look in the statement that takes the lock
   would see what stood there before the lock.

Everything is decided here, on the rows that are locked; the writes at the end are plain. A run that is locked elsewhere
is put off: its operations come back :data:`~toolkit.storage.Deferred.DEFERRED` and go into the next batch.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from toolkit.errors import NotFound, RunFailed, WaitTimeout
from toolkit.storage import Deferred, Query, Rows, Script, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.attributes import SET_ATTRIBUTES
from toolkit.workflows.failures import record_error, summary_of
from toolkit.workflows.operations import (
    RUN_ENDED,
    AttachedRows,
    Cancelled,
    CancelRun,
    ClaimedRun,
    ClaimRuns,
    CloseWaits,
    DeliverEvents,
    Effects,
    EmitEvent,
    Emitted,
    EndedRun,
    ExpireWaits,
    Fate,
    Finished,
    FinishRun,
    NewEvent,
    NewRun,
    NoteProgress,
    OpenWait,
    Operation,
    ParkUnknown,
    Recorded,
    RecordStep,
    ReleaseRuns,
    Started,
    StartRun,
    StepRecord,
    Suspend,
    Suspended,
    TakeOver,
    WaitOpened,
    WaitRecord,
)
from toolkit.workflows.rows import to_claimed, to_wait, wait_values
from toolkit.workflows.states import CancelMode, ClosePolicy, RunState, StepKind, StepState, WaitState

# Ends the wait of a kind in the kind's own tables: rows of (reference, wait state, moment) -> what to write.
Closer = Callable[[Sequence[tuple[str, str, datetime]]], Sequence[AttachedRows]]

HEAD_START = timedelta(milliseconds=200)

_STATES = {state.value: state for state in RunState}  # looking one up takes a tenth of what calling the enum does

_OF_ONE_RUN = (RecordStep, OpenWait, CloseWaits, ExpireWaits, Suspend, NoteProgress, FinishRun)


@dataclass(slots=True)
class _Run:
    """A locked run; what is changed here is written at the end."""

    id: str
    workflow: str
    version: str | None
    state: RunState
    epoch: int
    worker_id: str | None
    warm_worker: str | None
    due_at: datetime | None
    losses: int
    total_losses: int
    parent_id: str | None
    parent_wait: str | None
    is_cancel_requested: bool
    is_paused: bool
    close_policy: str | None = None
    cancel_mode: str | None = None
    on_cancel: str | None = None
    continued_as: str | None = None
    is_watched: bool = False
    is_changed: bool = False
    is_delivered: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel: tuple[datetime, str | None, str | None] | None = None
    result: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Worker:
    """Who commits: its id, how many more runs it may take, and the ways in which kinds end their waits."""

    id: str
    room: int
    closers: Mapping[str, Closer]
    new_id: Callable[[], str]


def commit(
    operations: Sequence[Operation], *, worker: Worker, own_now: datetime | None
) -> Script[tuple[list[Any], Effects]]:
    """The script of one batch: returns an outcome an operation, in order, and the batch's effects.

    ``own_now`` is the moment where the database has no clock of its own to be trusted (SQLite, a turned clock).
    """
    batch = _Batch(operations, worker=worker)
    yield from batch.lock(own_now)
    yield from batch.begin_runs()
    batch.record_steps()
    yield from batch.open_waits()
    yield from batch.deliver_events()
    yield from batch.end_waits()
    yield from batch.finish()
    yield from batch.cancel()
    yield from batch.clean_up()
    batch.suspend()  # after whatever may have given the run something to do, or ended it
    batch.note_progress()
    batch.release()
    yield from batch.take_over()
    yield from batch.claim()
    yield from batch.write()
    return batch.outcomes, batch.effects


_KEPT, _KEPT_BUT_CANCELLED = Recorded(Fate.KEPT), Recorded(Fate.KEPT, is_cancel_requested=True)
_LOST = Recorded(Fate.LOST)


class _Batch:
    def __init__(self, operations: Sequence[Operation], *, worker: Worker) -> None:
        self.operations = operations
        self.worker = worker
        self.room = worker.room
        self.outcomes: list[Any] = [None] * len(operations)
        self.effects = Effects()
        self.runs: dict[str, _Run] = {}
        self.by_type: dict[type, list[tuple[int, Any]]] = {}
        for at, operation in enumerate(operations):
            self.by_type.setdefault(type(operation), []).append((at, operation))
        self.held: set[str] = set()  # locked keys
        self.left: list[tuple[str, str, str | None, str | None, str | None]] = []  # events to number
        self.broadcast: set[str] = set()
        self.families: dict[str, list[str]] = {}
        self.guardians: dict[str, list[str]] = {}  # the runs that wait for members of a family
        self.fresh_waits: dict[str, WaitRecord] = {}  # opened by this batch
        self.new_runs: list[tuple[NewRun, RunState, int, str | None, datetime | None]] = []
        self.new_steps: list[StepRecord] = []
        self.new_events: list[tuple[NewEvent, int]] = []
        self.numbered: list[tuple[str, int]] = []
        self.cursors: dict[str, int] = {}
        self.attached: list[AttachedRows] = []
        self.closed: list[tuple[WaitRecord, WaitState]] = []
        self.ended: set[str] = set()  # the ids of the closed waits
        self.opened: dict[str, int] = {}  # where among the operations a fresh wait was asked for
        self.cancelled: list[_Run] = []  # that have a clean-up of their own
        self.watched: dict[str, bool] = {}  # new runs whose end somebody awaits
        self.retargeted: list[tuple[str, str]] = []
        self.progress: dict[str, str] = {}
        self.endings: list[tuple[str, str]] = []  # of watched runs: (key, what became of the run)

    @property
    def now(self) -> datetime:
        assert self.effects.now is not None
        return self.effects.now

    def _each(self, kind: type) -> Iterable[tuple[int, Any]]:
        """The operations of one type that have no outcome yet."""
        of_kind = self.by_type.get(kind)
        if of_kind is None:  # most batches hold two or three of the types
            return ()
        return [(at, operation) for at, operation in of_kind if self.outcomes[at] is None]

    # 1 and 2: locks ----------------------------------------------------------------------------------------------

    def lock(self, own_now: datetime | None) -> Script[None]:
        keys = yield from self._keys()
        if keys:
            self.held = {key for (key,) in (yield Query(sql.LOCK_KEYS, [sorted(keys)]))}
            self._defer_unheld()
            if self.left:
                still = {id_ for (id_,) in (yield Query(sql.STILL_UNNUMBERED, [[event[0] for event in self.left]]))}
                self.left = [event for event in self.left if event[0] in still and f"event:{event[1]}" in self.held]
        ids = yield from self._run_ids()
        rows = yield Query(sql.LOCK_RUNS, [ids, own_now])
        self.effects.now = read_moment(rows[0][0])
        for row in rows:
            if row[1] is not None:
                self._hold(row[1:])
        if len(self.runs) < len(ids):
            existing = {id_ for (id_,) in (yield Query(sql.EXISTING_RUNS, [[i for i in ids if i not in self.runs]]))}
            self._defer_locked_elsewhere(existing)
        if self.families:
            # Under the locks nobody of a family begins a child any more; one that began since our look is not locked.
            found = yield Query(sql.FAMILIES, [sorted(self.families)])
            self._defer_grown({root for root, member, _ in found if member not in self.families[root]})

    def _keys(self) -> Script[set[str]]:
        keys: set[str] = set()
        for _, start in self._each(StartRun):
            if start.run.idempotency_key is not None:
                keys.add(f"start:{start.run.workflow}:{start.run.idempotency_key}")
        for _, step in self._each(RecordStep):
            if step.event is not None:
                keys.add(f"event:{step.event.key}")
            if step.run is not None and step.run.idempotency_key is not None:
                keys.add(f"start:{step.run.workflow}:{step.run.idempotency_key}")
        keys.update(f"event:{emit.event.key}" for _, emit in self._each(EmitEvent))
        keys.update(f"event:{o.wait.event_key}" for _, o in self._each(OpenWait) if o.wait.event_key is not None)
        if self.by_type.get(DeliverEvents) or self.by_type.get(ClaimRuns):
            self.left = yield Query(sql.UNNUMBERED_EVENTS)
            keys.update(f"event:{event[1]}" for event in self.left)
            keys.update(f"event:{key}" for _, deliver in self._each(DeliverEvents) for key in deliver.keys)
        return keys

    def _defer_unheld(self) -> None:
        for at, operation in enumerate(self.operations):
            wanted: list[str] = []
            run = operation.run if isinstance(operation, StartRun | RecordStep) else None
            if run is not None and run.idempotency_key is not None:
                wanted.append(f"start:{run.workflow}:{run.idempotency_key}")
            if isinstance(operation, RecordStep | EmitEvent) and operation.event is not None:
                wanted.append(f"event:{operation.event.key}")
            if isinstance(operation, OpenWait) and operation.wait.event_key is not None:
                wanted.append(f"event:{operation.wait.event_key}")
            if isinstance(operation, DeliverEvents):
                wanted += [f"event:{key}" for key in operation.keys]
            if any(key not in self.held for key in wanted):
                self.outcomes[at] = Deferred.DEFERRED

    def _run_ids(self) -> Script[list[str]]:
        ids: set[str] = set()
        for kind in _OF_ONE_RUN:
            ids.update(operation.run_id for _, operation in self._each(kind))
        for _, operation in (*self._each(FinishRun), *self._each(CloseWaits)):
            ids.update(operation.child_ids)
        ids.update(o.parent_id for _, o in self._each(FinishRun) if o.parent_id is not None)
        ids.update(o.watched for _, o in self._each(OpenWait) if o.watched is not None)
        for _, operation in self._each(ReleaseRuns):
            ids.update(run_id for run_id, _ in operation.runs)
        for _, operation in (*self._each(RecordStep), *self._each(EmitEvent)):
            if operation.event is not None and operation.event.run_id is not None:
                ids.add(operation.event.run_id)  # it may have gone on as another
        ids.update(event[2] for event in self.left if event[2] is not None)
        self.broadcast = self._broadcast_keys()
        if self.broadcast:
            ids.update(id_ for (id_,) in (yield Query(sql.WAITING_RUNS, [sorted(self.broadcast)])))
        answered = [event[3] for event in self.left if event[3] is not None]
        if answered:
            ids.update(row[1] for row in (yield Query(sql.WAITS_BY_ID, [answered])))
        roots = [cancel.run_id for _, cancel in self._each(CancelRun)]
        roots += [id_ for _, o in self._each(CloseWaits) for id_ in o.child_ids]
        roots += [id_ for _, o in self._each(FinishRun) for id_ in o.child_ids]
        if roots:
            for root, member, parent in (yield Query(sql.FAMILIES, [roots])):
                self.families.setdefault(root, []).append(member)
                ids.add(member)
                if parent is not None:
                    self.guardians.setdefault(root, []).append(parent)
                    ids.add(parent)
        return sorted(ids)

    def _broadcast_keys(self) -> set[str]:
        """The keys whose news concern whoever waits for them; other news concern runs that are known by name."""
        keys = {key for _, deliver in self._each(DeliverEvents) for key in deliver.keys}
        keys.update(key for _, key, run_id, wait_id, _ in self.left if run_id is None and wait_id is None)
        for _, operation in (*self._each(RecordStep), *self._each(EmitEvent)):
            if operation.event is not None and operation.event.run_id is None:
                keys.add(operation.event.key)
        return {key for key in keys if f"event:{key}" in self.held}

    def _hold(self, row: Sequence[Any]) -> None:
        self.runs[row[0]] = _Run(
            id=row[0],
            workflow=row[1],
            version=row[2],
            state=_STATES[row[3]],
            epoch=row[4],
            worker_id=row[5],
            warm_worker=row[6],
            due_at=read_moment(row[7]),
            losses=row[8],
            total_losses=row[9],
            parent_id=row[10],
            parent_wait=row[11],
            is_cancel_requested=row[12] is not None,
            is_paused=row[13] is not None,
            close_policy=row[14],
            cancel_mode=row[15],
            on_cancel=row[16],
            continued_as=row[17],
            is_watched=bool(row[18]),
        )

    def _defer_locked_elsewhere(self, existing: set[str]) -> None:
        """Runs that exist and were not given to us are locked by another transaction: their operations wait."""
        for at, operation in enumerate(self.operations):
            if self.outcomes[at] is not None:
                continue
            needed: list[str | None] = []
            if isinstance(operation, _OF_ONE_RUN):
                needed.append(operation.run_id)
            if isinstance(operation, OpenWait):
                needed.append(operation.watched)
            if isinstance(operation, RecordStep | EmitEvent) and operation.event is not None:
                needed.append(operation.event.run_id)
            if isinstance(operation, FinishRun):
                needed.append(operation.parent_id)
            if isinstance(operation, FinishRun | CloseWaits):
                needed += [member for child in operation.child_ids for member in self.families.get(child, [])]
            if isinstance(operation, ReleaseRuns):
                needed += [run_id for run_id, _ in operation.runs]
            if isinstance(operation, CancelRun):
                needed += self.families.get(operation.run_id, []) + self.guardians.get(operation.run_id, [])
            if any(run_id in existing for run_id in needed):
                self.outcomes[at] = Deferred.DEFERRED

    def _defer_grown(self, roots: set[str]) -> None:
        for at, operation in enumerate(self.operations):
            ended: Sequence[str] = ()
            if isinstance(operation, CancelRun):
                ended = [operation.run_id]
            elif isinstance(operation, FinishRun | CloseWaits):
                ended = operation.child_ids
            if self.outcomes[at] is None and not roots.isdisjoint(ended):
                self.outcomes[at] = Deferred.DEFERRED

    def _fenced(self, run_id: str, epoch: int) -> _Run | None:
        """The run, if it is ours in this epoch."""
        run = self.runs.get(run_id)
        if run is None or run.state is not RunState.RUNNING or run.epoch != epoch:
            return None
        return run if run.worker_id == self.worker.id else None

    def _suspended(self, run_id: str, epoch: int) -> _Run | None:
        """The run, if it waits and its copy here is still the latest."""
        run = self.runs.get(run_id)
        is_latest = run is not None and run.epoch == epoch and run.warm_worker == self.worker.id
        return run if is_latest and run is not None and run.state is RunState.SUSPENDED else None

    # 3: decisions ------------------------------------------------------------------------------------------------

    def begin_runs(self) -> Script[None]:
        starts: list[tuple[int, NewRun]] = [(at, o.run) for at, o in self._each(StartRun)]
        keyed = [(r.workflow, r.idempotency_key) for _, r in starts if r.idempotency_key is not None]
        steps = [(at, o) for at, o in self._each(RecordStep) if o.run is not None]
        keyed += [(o.run.workflow, o.run.idempotency_key) for _, o in steps if o.run.idempotency_key is not None]
        found: dict[tuple[str, str], tuple[str, str]] = {}
        if keyed:
            rows = yield Rows(sql.FIND_KEYED, sorted(set(keyed)), is_returning=True)
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
        if due_at > self.now or run.priority or self.room <= 0:
            self.new_runs.append((run, RunState.PENDING, 0, None, due_at))
            self.effects.has_due_runs = True
            self.effects.must_notify = True
            return Started(run.id, is_new=True, input_digest=run.input_digest)
        self.room -= 1
        self.new_runs.append((run, RunState.RUNNING, 1, self.worker.id, None))
        self.effects.started.append(
            ClaimedRun(
                id=run.id,
                workflow=run.workflow,
                input=run.input,
                epoch=1,
                prior_epoch=0,
                prior_state=RunState.PENDING,
                version=run.version,
                parent_id=run.parent_id,
                parent_wait=run.parent_wait,
                started_by=run.started_by,
                created_at=self.now,
            )
        )
        return Started(run.id, is_new=True, input_digest=run.input_digest)

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
            self.outcomes[at] = _KEPT_BUT_CANCELLED if run.is_cancel_requested else _KEPT

    def open_waits(self) -> Script[None]:
        delivered = yield from self._delivered_numbers()
        for at, operation in self._each(OpenWait):
            run = self._fenced(operation.run_id, operation.epoch)
            if run is None:
                self.outcomes[at] = WaitOpened(Fate.LOST)
                continue
            if run.is_cancel_requested and not operation.is_shielded:
                self.outcomes[at] = WaitOpened(Fate.CANCELLED)
                continue
            wait = replace(operation.wait, created_at=max(self.now, operation.wait.created_at or self.now))
            if wait.kind == StepKind.WAIT:
                cursor = delivered.get((wait.run_id, str(wait.event_key)), 0)
                cursor = max(cursor, (yield from self._number_before(operation)))
                wait = replace(wait, after_seq=max(wait.after_seq, cursor))
            self.fresh_waits[wait.id] = wait
            self.opened[wait.id] = at
            self.attached.extend(operation.attached)
            if operation.child is not None:
                self._begin(operation.child, {})
            self.outcomes[at] = WaitOpened(Fate.KEPT, wait=wait)
            if operation.watched is not None:
                yield from self._watch(run, wait, operation.watched)

    def _number_before(self, operation: OpenWait) -> Script[int]:
        """The number up to which a wait leaves out events that exist already."""
        key = operation.wait.event_key
        if operation.is_from_now:
            rows = yield Query(sql.LAST_NUMBERS, [[key]])
            return int(rows[0][1]) if rows else 0
        if operation.since is not None:
            return int((yield Query(sql.NUMBER_BEFORE, [key, operation.since]))[0][0])
        return 0

    def _watch(self, run: _Run, wait: WaitRecord, watched: str) -> Script[None]:
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
            ending = ending_of(state, result=result, error=error, continued_as=continued_as)
            self._deliver(run, wait, StepState.SUCCEEDED, result=ending)
        elif not target.is_watched:
            target.is_watched = target.is_changed = True

    def _delivered_numbers(self) -> Script[dict[tuple[str, str], int]]:
        """The cursors of runs that are about to wait, from the journal: their own may be a delivery behind."""
        waits = [o.wait for _, o in self._each(OpenWait) if o.wait.kind == StepKind.WAIT]
        if not waits:
            return {}
        run_ids, keys = sorted({wait.run_id for wait in waits}), sorted({str(wait.event_key) for wait in waits})
        rows = yield Query(sql.DELIVERED_NUMBERS, [run_ids, keys])
        return {(run_id, key): seq for run_id, key, seq in rows}

    def deliver_events(self) -> Script[None]:
        """Number what is new, then give each run that waits the lowest number above its cursor."""
        fresh = [
            o.event
            for at, o in self.by_type.get(EmitEvent, ())
            if self.outcomes[at] is None and f"event:{o.event.key}" in self.held
        ]
        fresh += [
            o.event
            for at, o in self.by_type.get(RecordStep, ())
            if o.event is not None and isinstance(self.outcomes[at], Recorded) and self.outcomes[at].fate is Fate.KEPT
        ]
        repeated = yield from self._find_repeated(fresh)
        fresh = [event for event in fresh if event.id not in repeated]
        # Those who look or are meant, each with the key: an emit that concerns one run does not look at all the others.
        concerned = {(w.event_key, w.run_id) for w in self.fresh_waits.values() if w.event_key is not None}
        touched = {event.key for event in fresh} | {event[1] for event in self.left} | self.broadcast
        for at, emit in self._each(EmitEvent):
            id_ = emit.event.id
            self.outcomes[at] = Emitted(is_new=id_ not in repeated, is_same=repeated.get(id_, True))
        for at, _ in self._each(DeliverEvents):
            self.outcomes[at] = len(self.left)
        if not touched and not concerned:
            return
        news = yield from self._number(fresh, sorted(touched))
        concerned |= {(key, run_id) for key, of_key in news.items() for _, run_id, _ in of_key if run_id is not None}
        waits = yield from self._open_waits(concerned)
        yield from self._deliver_answers()
        if not waits:
            return
        by_key: dict[str, list[WaitRecord]] = defaultdict(list)
        for wait in sorted(waits, key=lambda w: w.id):
            by_key[str(wait.event_key)].append(wait)
        # Also for keys of new events: one that was numbered while its run was locked elsewhere comes first.
        old = yield from self._numbered_events(by_key)
        offers: list[tuple[WaitRecord, int, str | None]] = []
        for key, of_key in by_key.items():
            offers += self._match(of_key, [*old.get(key, []), *news.get(key, [])])
        # One statement for all: there may be thousands. What is lost was answered in somebody's own transaction.
        ends = [
            (wait, WaitState.CANCELLED if self.runs[wait.run_id].state.is_final else WaitState.DELIVERED)
            for wait, _, _ in offers
        ]
        won = yield from self._end_waits(ends)
        for wait, seq, payload in offers:
            run = self.runs[wait.run_id]
            if wait.id in won and not run.state.is_final:  # else its end has missed this wait
                self._deliver(run, wait, StepState.SUCCEEDED, result=payload or "null", event_seq=seq)

    def _open_waits(self, concerned: set[tuple[str, str]]) -> Script[list[WaitRecord]]:
        """The waits that may be ended now: of everybody for broadcast keys, else of those who are concerned."""
        rows: list[Any] = []
        if self.broadcast:
            rows += yield Query(sql.OPEN_WAITS_OF_KEYS, [sorted(self.broadcast)])
        pairs = sorted((key, run_id) for key, run_id in concerned if key not in self.broadcast)
        if pairs:
            rows += yield Rows(sql.OPEN_WAITS_OF_PAIRS, pairs, is_returning=True)
        return [*map(to_wait, rows), *(wait for wait in self.fresh_waits.values() if wait.event_key is not None)]

    def _numbered_events(
        self, by_key: Mapping[str, Sequence[WaitRecord]]
    ) -> Script[dict[str, list[tuple[int, str | None, str | None]]]]:
        """What is on record for the waits of each key and above the lowest of their cursors, in order."""
        lowest = [(key, min(wait.after_seq for wait in of_key)) for key, of_key in by_key.items()]
        after: dict[tuple[str, str], int] = {}
        for key, of_key in by_key.items():
            for wait in of_key:
                place = (key, wait.run_id)
                after[place] = min(wait.after_seq, after.get(place, wait.after_seq))
        rows = yield Rows(sql.BROADCAST_EVENTS, lowest, is_returning=True)
        rows += yield Rows(sql.TARGETED_EVENTS, [(*place, seq) for place, seq in after.items()], is_returning=True)
        found: dict[str, list[tuple[int, str | None, str | None]]] = defaultdict(list)
        for key, seq, run_id, payload in sorted(rows, key=itemgetter(1)):
            found[key].append((seq, run_id, payload))
        return found

    def _find_repeated(self, fresh: list[NewEvent]) -> Script[dict[str, bool]]:
        """The ids of events whose idempotency key has been used for their event key; and whether the payload is equal.

        The event keys are locked, so nobody else emits one of them now.
        """
        keyed = [(event.key, event.idempotency_key) for event in fresh if event.idempotency_key is not None]
        if not keyed:
            return {}
        rows = yield Rows(sql.FIND_KEYED_EVENTS, sorted(set(keyed)), is_returning=True)
        known = {(key, idempotency_key): payload for key, idempotency_key, payload in rows}
        repeated: dict[str, bool] = {}
        for event in fresh:
            place = (event.key, event.idempotency_key)
            if event.idempotency_key is None:
                continue
            if place in known:
                repeated[event.id] = known[place] == event.payload
            else:
                known[place] = event.payload
        return repeated

    def _number(
        self, fresh: list[NewEvent], keys: list[str]
    ) -> Script[dict[str, list[tuple[int, str | None, str | None]]]]:
        if not fresh and not self.left:
            return {}
        fresh = yield from self._redirect(fresh)
        last: dict[str, int] = dict((yield Query(sql.LAST_NUMBERS, [keys])))
        news: dict[str, list[tuple[int, str | None, str | None]]] = defaultdict(list)
        for id_, key, run_id, wait_id, payload in self.left:
            last[key] = (last.get(key) or 0) + 1
            self.numbered.append((id_, last[key]))
            if wait_id is None:
                news[key].append((last[key], run_id, payload))
        for event in fresh:
            last[event.key] = (last.get(event.key) or 0) + 1
            self.new_events.append((event, last[event.key]))
            news[event.key].append((last[event.key], event.run_id, event.payload))
        return news

    def _redirect(self, fresh: list[NewEvent]) -> Script[list[NewEvent]]:
        """Events for a run that went on as another are for that one."""
        targets = {event.run_id for event in fresh} | {event[2] for event in self.left}
        moved = sorted(id_ for id_ in targets if id_ in self.runs and self.runs[id_].continued_as is not None)
        if not moved:
            return fresh
        last: dict[str | None, str] = dict((yield Query(sql.CONTINUATIONS, [moved])))
        self.left = [(left[0], left[1], last.get(left[2], left[2]), left[3], left[4]) for left in self.left]
        self.retargeted += [(run_id, last[run_id]) for run_id in moved]
        return [replace(event, run_id=last.get(event.run_id, event.run_id)) for event in fresh]

    def _match(
        self, waits: list[WaitRecord], events: list[tuple[int, str | None, str | None]]
    ) -> Iterator[tuple[WaitRecord, int, str | None]]:
        """Which wait gets which event of a key, in the order of the events: the wait, the number, the payload."""
        by_run: dict[str, list[WaitRecord]] = defaultdict(list)
        for wait in waits:
            by_run[wait.run_id].append(wait)
        taken: set[str] = set()
        for seq, target, payload in events:
            served: set[str] = set()
            for wait in waits if target is None else by_run.get(target, ()):
                if wait.run_id in served or wait.id in taken or wait.id in self.ended:
                    continue
                if seq <= max(wait.after_seq, self.cursors.get(wait.id, 0)):
                    continue
                run = self.runs.get(wait.run_id)
                if run is None:
                    self.effects.unmatched.add(str(wait.event_key))
                    served.add(wait.run_id)
                    continue
                taken.add(wait.id)
                yield wait, seq, payload
                if run.state.is_final or str(wait.event_key).startswith(RUN_ENDED):
                    continue  # a run ends once, for everybody who waits for it
                served.add(wait.run_id)
                for other in by_run[wait.run_id]:  # one event goes to one wait of a run
                    if other.id != wait.id:
                        self.cursors[other.id] = seq

    def _deliver_answers(self) -> Script[None]:
        answers = {event[3]: event for event in self.left if event[3] is not None}
        if not answers:
            return
        for row in (yield Query(sql.WAITS_BY_ID, [sorted(answers)])):
            wait = to_wait(row)
            run = self.runs.get(wait.run_id)
            event = answers[wait.id]
            if run is None or wait.state is not WaitState.RESOLVED:
                if wait.state is WaitState.RESOLVED:  # locked elsewhere: leave the event as it is
                    self.numbered = [entry for entry in self.numbered if entry[0] != event[0]]
                    self.effects.has_due_runs = True
                continue
            if run.state.is_final:  # answered while the run was ending
                yield from self._end_wait(wait, WaitState.CANCELLED)
            elif (yield from self._end_wait(wait, WaitState.DELIVERED)):
                self._deliver(run, wait, StepState.SUCCEEDED, result=event[4] or "null")

    def end_waits(self) -> Script[None]:
        """Withdrawals, and limits of running runs that have passed."""
        expiring = []
        for at, operation in self._each(ExpireWaits):
            run = self._fenced(operation.run_id, operation.epoch)
            self.outcomes[at] = Fate.KEPT if run is not None else Fate.LOST
            if run is not None:
                expiring.append(run.id)
        yield from self._expire(expiring)
        for at, operation in self._each(CloseWaits):
            if self._fenced(operation.run_id, operation.epoch) is None:
                self.outcomes[at] = Fate.LOST
                continue
            self.outcomes[at] = Fate.KEPT
            for row in (yield Query(sql.WAITS_BY_ID, [list(operation.wait_ids)])):
                wait = to_wait(row)
                if wait.state in {WaitState.OPEN, WaitState.RESOLVED}:
                    yield from self._end_wait(wait, WaitState.WITHDRAWN)
            yield from self._cancel_children(operation.child_ids, reason="no longer awaited")

    def _expire(self, run_ids: list[str]) -> Script[None]:
        if not run_ids:
            return
        for row in (yield Query(sql.DUE_WAITS_OF_RUNS, [run_ids, self.now])):
            wait = to_wait(row)
            if wait.id in self.ended:
                continue
            if (yield from self._end_wait(wait, WaitState.EXPIRED)):
                run = self.runs[wait.run_id]
                if wait.kind == StepKind.TIMER:
                    self._deliver(run, wait, StepState.SUCCEEDED, result="null")
                else:
                    error = record_error(WaitTimeout(wait.event_key or wait.name))
                    self._deliver(run, wait, StepState.FAILED, error=error, details='{"outcome":"expired"}')

    def _end_wait(self, wait: WaitRecord, state: WaitState) -> Script[bool]:
        """End one wait; true if it was us who ended it."""
        return wait.id in (yield from self._end_waits([(wait, state)]))

    def _end_waits(self, ends: Sequence[tuple[WaitRecord, WaitState]]) -> Script[set[str]]:
        """The compare-and-set; returns the ids of the waits that it was us who ended."""
        recorded = [(wait.id, state, wait.state, self.now) for wait, state in ends if wait.id not in self.fresh_waits]
        won: set[str] = set()
        if recorded:
            won.update(id_ for (id_,) in (yield Rows(sql.END_WAITS, recorded, is_returning=True)))
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
        run: _Run,
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

    def _wake(self, run: _Run, record: StepRecord) -> None:
        if run.state is RunState.RUNNING:
            if run.worker_id == self.worker.id:
                self.effects.delivered.append(record)
            else:
                run.due_at, run.is_changed = self.now, True  # its owner reads it when it looks
                self.effects.must_notify = True
            return
        if run.state is not RunState.SUSPENDED:
            return  # pending: it will read its journal; parked: it waits for an operator
        if run.warm_worker == self.worker.id and self.room > 0 and not run.is_paused and run.losses < 2:
            self.room -= 1
            self.effects.woken.append((run.id, run.epoch, run.epoch + 1))
            self.effects.delivered.append(record._replace(epoch=run.epoch + 1))
            run.state, run.epoch, run.worker_id, run.due_at = RunState.RUNNING, run.epoch + 1, self.worker.id, None
        else:
            run.due_at = self.now
            self.effects.has_due_runs = True
            self.effects.must_notify = True
        run.is_changed = True

    def suspend(self) -> None:
        for at, operation in self._each(Suspend):
            run = self._fenced(operation.run_id, operation.epoch)
            if run is None:
                self.outcomes[at] = Suspended(Fate.LOST)
            elif run.is_cancel_requested and operation.cancel_mode is not CancelMode.SHIELDED:
                self.outcomes[at] = Suspended(Fate.KEPT, is_cancel_requested=True)
            elif run.is_delivered:
                self.outcomes[at] = Suspended(Fate.KEPT)
            elif run.due_at is not None:  # another process delivered while we ran
                run.due_at, run.is_changed = None, True
                self.outcomes[at] = Suspended(Fate.KEPT, must_read=True)
            else:
                run.state, run.worker_id, run.warm_worker = RunState.SUSPENDED, None, self.worker.id
                run.due_at, run.is_changed = operation.due_at, True
                run.cancel_mode = operation.cancel_mode
                self.outcomes[at] = Suspended(Fate.KEPT, is_suspended=True)

    def note_progress(self) -> None:
        for at, operation in self._each(NoteProgress):
            run = self._fenced(operation.run_id, operation.epoch)
            self.outcomes[at] = Fate.LOST if run is None else Fate.KEPT
            if run is not None:
                self.progress[run.id] = operation.progress

    def finish(self) -> Script[None]:
        finishing: list[tuple[int, FinishRun, _Run]] = []
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
                self._continue(run, operation)
            self._end_run(run, state, result=operation.result, error=operation.error)
            self.outcomes[at] = Finished(Fate.KEPT, state)
            if state is not RunState.PARKED:
                yield from self._cancel_children(operation.child_ids, reason="its parent has ended")
                if operation.has_open_waits:
                    closing.append(run.id)
        yield from self._close_waits_of(closing)
        ended = [run for _, _, run in finishing if run.state.is_final]
        yield from self._tell_parents(ended)

    def _continue(self, run: _Run, operation: FinishRun) -> None:
        """Another run goes on in place of this one: it has its parent, its watchers' eyes and its events."""
        successor = operation.continued
        assert successor is not None
        self._begin(successor, {})
        self.new_steps += operation.cursors
        self.retargeted.append((run.id, successor.id))
        run.continued_as = successor.id

    def _end_run(self, run: _Run, state: RunState, *, result: str | None = None, error: str | None = None) -> None:
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

    def _tell_parents(self, ended: Sequence[_Run]) -> Script[None]:
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
            yield from self._cancel_family(operation.run_id, reason=operation.reason, by=operation.by)
            self.outcomes[at] = Cancelled(target.state)

    def _cancel_children(self, child_ids: Sequence[str], *, reason: str) -> Script[None]:
        for child in child_ids:
            if child not in self.runs or self.runs[child].close_policy != ClosePolicy.ABANDON:
                yield from self._cancel_family(child, reason=reason, by=None, is_child=True)

    def _cancel_family(self, root: str, *, reason: str | None, by: str | None, is_child: bool = False) -> Script[None]:
        ended = []
        for member in self.families.get(root, [root]):
            run = self.runs.get(member)
            if run is None or run.state.is_final:
                continue
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
        yield from self._close_waits_of([run.id for run in ended])
        yield from self._tell_parents(ended)

    def _must_unwind(self, run: _Run, *, is_child: bool) -> bool:
        """Whether the run's own code has something to do before it ends; if so, see that it does it."""
        if run.state is RunState.PARKED or run.epoch == 0:
            return False
        is_shielded = run.cancel_mode == CancelMode.SHIELDED and run.state is RunState.SUSPENDED
        is_requested = is_child and run.close_policy == ClosePolicy.REQUEST
        if is_shielded:
            return True  # it goes on when its wait ends, and unwinds when it leaves the section
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
            text = json.dumps({"cancelled": {**told, "arguments": json.loads(input_)}})
            digest = hashlib.sha256(text.encode()).hexdigest()
            name, _, version = workflows[id_].partition(" ")
            run = NewRun(self.worker.new_id(), name, text, digest, version=version or None, started_by=by)
            self.new_runs.append((run, RunState.PENDING, 0, None, self.now))  # this process may not know its code
            self.effects.has_due_runs = self.effects.must_notify = True

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
            ids = [id_ for (id_,) in (yield Query(sql.UNKNOWN_RUNS, [list(operation.workflows), latest]))]
            rows = (yield Query(sql.LOCK_RUNS, [ids, self.now])) if ids else []
            for row in rows:
                if row[1] is not None and row[1] not in self.runs:
                    self._hold(row[1:])
                    run = self.runs[row[1]]
                    self._end_run(run, RunState.PARKED, error=_unknown_error(run))
            self.outcomes[at] = ids

    def claim(self) -> Script[None]:
        for at, operation in self._each(ClaimRuns):
            limit = operation.limit if operation.is_isolated else min(operation.limit, max(self.room, 0))
            taken = 0
            if limit > 0 and operation.workflows:
                parameters = [
                    self.now,
                    self.worker.id,
                    self.now - HEAD_START,
                    list(operation.workflows),
                    operation.is_isolated,
                    limit,
                ]
                claimed = [to_claimed(row) for row in (yield Query(sql.DUE_RUNS, parameters))]
                claimed = [run for run in claimed if run.id not in self.runs]  # decided above; next time
                if claimed:
                    rows = yield Query(sql.LOCK_RUNS, [[run.id for run in claimed], self.now])
                    for row in rows:
                        if row[1] is not None:
                            self._hold(row[1:])
                for run in claimed:
                    held = self.runs[run.id]
                    held.state, held.epoch, held.worker_id = RunState.RUNNING, held.epoch + 1, self.worker.id
                    held.due_at, held.started_at, held.is_changed = None, self.now, True
                    self.effects.claimed.append(run)
                    taken += 1
                self.room -= taken
                yield from self._expire([run.id for run in claimed])
                if taken == limit:
                    self.effects.has_due_runs = True
            self.outcomes[at] = taken

    # writes ------------------------------------------------------------------------------------------------------

    def write(self) -> Script[None]:
        if self.new_runs:
            yield Rows(sql.INSERT_RUNS, [self._new_run_values(*entry) for entry in self.new_runs])
        if self.new_steps:
            yield Rows(sql.INSERT_STEPS, list(self._distinct_steps()))
        if self.fresh_waits:
            yield Rows(sql.INSERT_WAITS, [wait_values(wait, self.now) for wait in self.fresh_waits.values()])
        if self.new_events:
            rows = [
                (e.id, e.key, seq, e.run_id, None, e.payload, e.idempotency_key, self.now) for e, seq in self.new_events
            ]
            yield Rows(sql.INSERT_EVENTS, rows)
        if self.numbered:
            yield Rows(sql.NUMBER_EVENTS, self.numbered)
        if self.retargeted:
            yield Rows(sql.RETARGET_EVENTS, self.retargeted)
        if self.endings:
            left = [
                (self.worker.new_id(), key, None, None, None, ending, None, self.now) for key, ending in self.endings
            ]
            yield Rows(sql.INSERT_EVENTS, left)  # numbered and delivered by the next batch, which locks who waits
            self.effects.unmatched.update(key for key, _ in self.endings)
        moved = [(id_, seq) for id_, seq in self.cursors.items() if id_ not in self.ended]
        if moved:
            yield Rows(sql.MOVE_CURSORS, moved)
        if self.progress:
            yield Rows(sql.SHOW_PROGRESS, sorted(self.progress.items()))
        changed = [self._run_values(run) for run in sorted(self.runs.values(), key=lambda r: r.id) if run.is_changed]
        if changed:
            yield Rows(sql.UPDATE_RUNS, changed)
        for attached in self.attached:
            yield Rows(attached.statement, attached.rows)
        yield from self._close_kinds()
        if self.effects.must_notify:
            yield Query(sql.NOTIFY)

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

    def _new_run_values(
        self, run: NewRun, state: RunState, epoch: int, worker_id: str | None, due_at: datetime | None
    ) -> Sequence[Any]:
        return (
            run.id,
            run.workflow,
            run.version,
            state.value,
            run.input,
            run.input_digest,
            run.priority,
            epoch,
            worker_id,
            due_at,
            0,
            0,
            run.idempotency_key,
            run.parent_id,
            run.parent_wait,
            run.started_by,
            self.now,
            self.now if state is RunState.RUNNING else None,
            run.deadline_at,
            run.close_policy,
            run.on_cancel,
            run.continued_from,
            self.watched.get(run.id),
        )

    def _run_values(self, run: _Run) -> Sequence[Any]:
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


def _with_result(step: StepRecord, result: str, epoch: int) -> StepRecord:
    return step._replace(result=result, epoch=epoch)


def ending_of(state: str, *, result: str | None, error: str | None, continued_as: str | None) -> str:
    """What became of a run, as the JSON text that those who wait for it are told."""
    return json.dumps({"state": state, "result": result, "error": error, "continued_as": continued_as})


def _child_error(child: _Run) -> str:
    return record_error(RunFailed(child.id, state=child.state.value), cause=child.error)


def _poison_error(run: _Run) -> str:
    return record_error(
        RuntimeError(
            f"the run was lost {run.losses} times in a row without a new checkpoint ({run.total_losses} in all): "
            "it probably ends the process it runs in; look at its last step, then release or cancel it"
        )
    )


def _unknown_error(run: _Run) -> str:
    return record_error(
        LookupError(
            f"no worker has {'version ' + repr(run.version) + ' of ' if run.version is not None else ''}the workflow "
            f"{run.workflow!r}, with which this run began; register it (beside a newer one, if there is one), then "
            "release this run, or cancel it"
        )
    )
