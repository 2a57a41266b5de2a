"""The locks of a batch, in the same order everywhere; what meets a lock of somebody else is put off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from toolkit.storage import Deferred, Query, Script, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.state import BatchState
from toolkit.workflows.operations import (
    CancelRun,
    ClaimRuns,
    CloseWaits,
    DeliverEvents,
    EmitEvent,
    ExpireWaits,
    FinishRun,
    NoteProgress,
    OpenWait,
    RecordStep,
    ReleaseRuns,
    StartRun,
    Suspend,
)

# The runs that an operation names; ``None`` stands for none. The target of an event may have gone on as another.
_NAMED: dict[type, Callable[[Any], Iterable[str | None]]] = {
    RecordStep: lambda o: (o.run_id,) if o.event is None else (o.run_id, o.event.run_id),
    OpenWait: lambda o: (o.run_id, o.watched),
    CloseWaits: lambda o: (o.run_id, *o.child_ids),
    ExpireWaits: lambda o: (o.run_id,),
    Suspend: lambda o: (o.run_id,),
    NoteProgress: lambda o: (o.run_id,),
    FinishRun: lambda o: (o.run_id, o.parent_id, *o.child_ids),
    ReleaseRuns: lambda o: [run_id for run_id, _ in o.runs],
    EmitEvent: lambda o: (o.event.run_id,),
}


class Locks(BatchState):
    """Steps 1 and 2 of the protocol: keys, then every run that the batch may touch."""

    def lock(self, own_now: datetime | None) -> Script[None]:
        keys = yield from self._keys()
        if self.left or self._is_broadcasting():  # who is concerned is settled only when the keys are locked
            self.held = {key for (key,) in (yield Query(sql.LOCK_KEYS, [sorted(keys)]))}
            self._defer_unheld()
            if self.left:
                still = {id_ for (id_,) in (yield Query(sql.STILL_UNNUMBERED, [[event[0] for event in self.left]]))}
                self.left = [event for event in self.left if event[0] in still and f"event:{event[1]}" in self.held]
            ids = yield from self._run_ids()
            rows = yield Query(sql.LOCK_RUNS_AND_WAITERS, [ids, own_now, sorted(self.broadcast)])
        elif keys:
            ids = yield from self._run_ids()
            rows = yield Query(sql.LOCK_KEYS_AND_RUNS, [ids, own_now, sorted(keys)])
            self.held = keys if rows[0][-1] is None else set(rows[0][-1])
            self._defer_unheld()
        else:
            ids = yield from self._run_ids()
            rows = yield Query(sql.LOCK_RUNS, [ids, own_now])
        self.effects.now = read_moment(rows[0][0])
        missing = self._hold_all(rows).union(ids).difference(self.runs)
        if missing:
            existing = {id_ for (id_,) in (yield Query(sql.EXISTING_RUNS, [sorted(missing)]))}
            self._defer_locked_elsewhere(existing)
        if self.families:
            # Under the locks nobody of a family begins a child any more; one that began since our look is not locked.
            found = yield Query(sql.FAMILIES, [sorted(self.families)])
            grown = {root for root, member, _ in found if member not in self.families[root]}
            # One that goes on as a new run in this very batch: the next batch finds that one.
            continuing = {finish.run_id for _, finish in self._each(FinishRun) if finish.continued is not None}
            grown.update(root for root, members in self.families.items() if not continuing.isdisjoint(members))
            self._defer_grown(grown)

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
        named: set[str | None] = {event[2] for event in self.left}
        for kind, names_of in _NAMED.items():
            for _, operation in self._each(kind):
                named.update(names_of(operation))
        ids = {run_id for run_id in named if run_id is not None}
        self.broadcast = self._broadcast_keys()
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

    def _is_broadcasting(self) -> bool:
        emits = (*self._each(RecordStep), *self._each(EmitEvent))
        is_for_all = any(o.event is not None and o.event.run_id is None for _, o in emits)
        return is_for_all or any(deliver.keys for _, deliver in self._each(DeliverEvents))

    def _broadcast_keys(self) -> set[str]:
        """The keys whose news concern whoever waits for them; other news concern runs that are known by name."""
        keys = {key for _, deliver in self._each(DeliverEvents) for key in deliver.keys}
        keys.update(key for _, key, run_id, wait_id, _ in self.left if run_id is None and wait_id is None)
        for _, operation in (*self._each(RecordStep), *self._each(EmitEvent)):
            if operation.event is not None and operation.event.run_id is None:
                keys.add(operation.event.key)
        return {key for key in keys if f"event:{key}" in self.held}

    def _defer_locked_elsewhere(self, existing: set[str]) -> None:
        """Runs that exist and were not given to us are locked by another transaction: their operations wait."""
        for at, operation in enumerate(self.operations):
            if self.outcomes[at] is not None:
                continue
            names_of = _NAMED.get(type(operation))
            needed = [] if names_of is None else list(names_of(operation))
            if isinstance(operation, FinishRun | CloseWaits):
                needed += [member for child in operation.child_ids for member in self.families.get(child, [])]
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
