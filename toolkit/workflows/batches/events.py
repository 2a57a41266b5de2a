"""Events: numbered in the order of their key, and matched with the waits for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from toolkit.storage import Query, Rows, Script
from toolkit.workflows import statements as sql
from toolkit.workflows.batches.waits import Waits
from toolkit.workflows.keys import RUN_ENDED
from toolkit.workflows.operations import DeliverEvents, EmitEvent, NewEvent, RecordStep, WaitRecord
from toolkit.workflows.outcomes import Emitted, Fate, Recorded
from toolkit.workflows.rows import to_wait
from toolkit.workflows.states import StepState, WaitState


class Events(Waits):
    """Gives each run that waits the lowest number above what it has had."""

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
        concerned = {(str(w.event_key), w.run_id) for w in self.fresh_waits.values() if w.hears_events}
        touched = {event.key for event in fresh} | {event[1] for event in self.left} | self.broadcast
        for at, emit in self._each(EmitEvent):
            id_ = emit.event.id
            self.outcomes[at] = Emitted(is_new=id_ not in repeated, is_same=repeated.get(id_, True))
        for at, _ in self._each(DeliverEvents):
            self.outcomes[at] = len(self.left)
        if not touched and not concerned:
            return
        if not touched and not self.asked_for:
            return  # nothing is new, and nothing was there for those who ask: who else waits need not be known
        news = yield from self._number(fresh, sorted(touched))
        concerned |= {(key, run_id) for key, of_key in news.items() for _, run_id, _ in of_key if run_id is not None}
        waits = yield from self._open_waits(concerned)
        yield from self._deliver_answers()
        if not waits:
            return
        by_key = self._by_key(waits)
        behind = self._by_key(wait for wait in waits if self._may_be_behind(wait))
        old = (yield from self._numbered_events(behind)) if behind else {}
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
            rows += yield Rows(sql.OPEN_WAITS_OF_PAIRS, pairs)
        return [*map(to_wait, rows), *(wait for wait in self.fresh_waits.values() if wait.hears_events)]

    def _may_be_behind(self, wait: WaitRecord) -> bool:
        """Whether its key has had an event above its cursor: one that was numbered while its run was locked elsewhere
        comes first.
        """
        key = str(wait.event_key)
        if wait.id in self.fresh_waits and key not in self.last_numbers:
            return key in self.asked_for
        return key not in self.last_numbers or self.last_numbers[key] > wait.after_seq

    def _find_repeated(self, fresh: list[NewEvent]) -> Script[dict[str, bool]]:
        """The ids of events whose idempotency key has been used for their event key; and whether the payload is equal.

        The event keys are locked, so nobody else emits one of them now.
        """
        keyed = [(event.key, event.idempotency_key) for event in fresh if event.idempotency_key is not None]
        if not keyed:
            return {}
        rows = yield Rows(sql.FIND_KEYED_EVENTS, sorted(set(keyed)))
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
        found: dict[str, int | None] = dict((yield Query(sql.LAST_NUMBERS, [keys])))
        self.last_numbers = {key: number or 0 for key, number in found.items()}
        last = dict(self.last_numbers)
        news: dict[str, list[tuple[int, str | None, str | None]]] = defaultdict(list)
        for id_, key, run_id, wait_id, payload in self.left:
            last[key] += 1
            self.numbered.append((id_, last[key]))
            if wait_id is None:
                news[key].append((last[key], run_id, payload))
        for event in fresh:
            last[event.key] += 1
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
