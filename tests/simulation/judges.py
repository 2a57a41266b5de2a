"""What must hold in a history: at every moment, and at its end."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.simulation import outcomes, programs
from toolkit.workflows.states import FINAL, RunState

if TYPE_CHECKING:
    from tests.simulation.histories import Process, Root
    from tests.simulation.loops import SimulatedLoop

_MOST_ATTEMPTS = 4


class Judge:
    """Watches the steps of a history and reads its database; ``faults`` is what it found."""

    loop: SimulatedLoop

    def __init__(
        self,
        connection: sqlite3.Connection,
        roots: Sequence[Root],
        everybody: Callable[[], list[Process]],
        note: Callable[[str], None],
        *,
        longest_lag: float,
    ) -> None:
        """``longest_lag`` is how many seconds after a pause its run may still begin something."""
        self._connection, self._roots, self._everybody, self._note = connection, roots, everybody, note
        self._longest_lag = longest_lag
        self.faults: list[str] = []
        self._bodies: dict[str, str] = {}  # those that are under way, and in which worker
        self._winners: dict[tuple[str, str], int] = {}

    def find(self, fault: str) -> None:
        """Something does not hold."""
        self.faults.append(fault)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Hear of every step and race for the length of the block."""
        programs.observers.append(self._observe)
        programs.race_observers.append(self._observe_race)
        try:
            yield
        finally:
            programs.observers.remove(self._observe)
            programs.race_observers.remove(self._observe_race)

    def unfinished(self) -> list[str]:
        """The runs that have not ended, each with its state."""
        return [
            f"{id_} {state}"
            for id_, state in self._read(
                "SELECT id, state FROM toolkit_run WHERE state NOT IN ('succeeded', 'failed', 'cancelled') ORDER BY id"
            )
        ]

    def forget_bodies(self, worker_id: str) -> None:
        """The process is dead, and so is whatever it was at."""
        self._bodies = {body: by for body, by in self._bodies.items() if by != worker_id}

    def _read(self, query: str, *parameters: Any) -> list[Any]:
        return self._connection.execute(query, parameters).fetchall()

    # At every moment -----------------------------------------------------------------------------------------------

    def _observe(self, moment: str, worker_id: str, body: str, attempt: int) -> None:
        if moment == "end":
            if self._bodies.get(body) == worker_id:
                del self._bodies[body]
            return
        self._note(f"body {body} {attempt}")
        run_id, path = body.split(":", 1)
        if attempt > _MOST_ATTEMPTS:
            self.find(f"attempt {attempt} of {path} of {run_id}, at most {_MOST_ATTEMPTS} are allowed")
        for (state,) in self._read("SELECT state FROM toolkit_step WHERE run_id = ? AND path = ?", run_id, path):
            if state in {"succeeded", "failed"}:
                self.find(f"{path} of {run_id} began again although it is {state}")
        ((state, paused_at, cancelled_at),) = self._read(
            "SELECT state, paused_at, cancel_requested_at FROM toolkit_run WHERE id = ?", run_id
        )
        if RunState(state) in FINAL:
            self.find(f"{path} of {run_id} began although the run is {state}")
        latest = (self.loop.moment() - timedelta(seconds=self._longest_lag)).isoformat(timespec="microseconds")
        if cancelled_at is None and (paused_at or latest) < latest:  # what a cancel undoes waits for nobody
            self.find(f"{path} of {run_id} began although the run is paused")
        self._judge_order(run_id, path)
        other = self._bodies.get(body)
        if other is not None and not self._may_linger(other):
            self.find(f"{path} of {run_id} runs twice at once")
        self._bodies[body] = worker_id

    def _judge_order(self, run_id: str, path: str) -> None:
        """A step begins when what came before it is on record."""
        for (input_,) in self._read("SELECT input FROM toolkit_run WHERE id = ? AND workflow = 'play'", run_id):
            before = outcomes.paths_before(json.loads(input_)["program"], path)
            rows = self._read("SELECT path FROM toolkit_step WHERE run_id = ? AND state <> 'running'", run_id)
            missing = set(before) - {one for (one,) in rows}
            if missing:
                self.find(f"{path} of {run_id} began before {sorted(missing)} was on record")

    def _may_linger(self, worker_id: str) -> bool:
        """A process that was held up inside the body of a step ends that body whenever it goes on."""
        return any(process.has_lapsed for process in self._everybody() if process.engine.worker_id == worker_id)

    def _observe_race(self, run_id: str, label: str, winner: int) -> None:
        before = self._winners.setdefault((run_id, label), winner)
        if before != winner:
            self.find(f"race {label} of {run_id} was won by {before}, and on a replay by {winner}")

    # At the end ----------------------------------------------------------------------------------------------------

    def decide(self, alive: Sequence[Process]) -> None:
        """Look at everything when all runs have ended."""
        self._judge_runs()
        self._judge_schedule()
        self._judge_chains()
        self._judge_families()
        self._judge_sections()
        self._judge_sessions()
        for what, query in _NEVER.items():
            for row in self._read(query):
                self.find(f"{what}: {row}")
        if not self.unfinished():
            for process in alive:
                if not process.has_lapsed:  # it may still be finding out what it has lost
                    self._judge_memory(process)

    def _judge_schedule(self) -> None:
        """Each moment from the first to the one for which the schedule waits has one run."""
        inputs = self._read("SELECT input FROM toolkit_run WHERE started_by = 'schedule:tick'")
        found = sorted(datetime.fromisoformat(json.loads(text)["at"]) for (text,) in inputs)
        for created_at, due_at in self._read("SELECT created_at, due_at FROM toolkit_schedule"):
            first = programs.ticking().timing.next_after(datetime.fromisoformat(created_at))
            count = (datetime.fromisoformat(due_at) - first) // programs.TICK
            if found != [first + at * programs.TICK for at in range(count)]:
                self.find(f"moments of the schedule until {due_at}: {[f'{moment:%H:%M:%S}' for moment in found]}")

    def _judge_runs(self) -> None:
        runs = self._read(
            "SELECT id, state, input, result, error, cancel_requested_at, progress FROM toolkit_run WHERE workflow = 'play'"
        )
        states = {row[0]: row[1] for row in runs}
        spared = {root.id for root in self._roots if not root.may_be_cancelled}
        for root in self._roots:
            if root.id is not None and root.is_cancelled and states[root.id] not in {"cancelled", "succeeded"}:
                self.find(f"cancelled run {root.id} is {states[root.id]}")
        continued = {id_ for (id_,) in self._read("SELECT id FROM toolkit_run WHERE continued_as IS NOT NULL")}
        for run_id, state, input_, result, error, cancel_requested_at, progress in runs:
            program = json.loads(input_)["program"]
            possible = outcomes.raises(program)
            if state == "cancelled" and (cancel_requested_at is None or run_id in spared):
                self.find(f"run {run_id} is cancelled, and nobody asked for it")
            if state == "failed" and True not in possible:
                self.find(f"run {run_id} failed: {(error or '')[:400]}")
            if state != "succeeded" or run_id in continued:
                continue
            if cancel_requested_at is not None:
                self.find(f"run {run_id} succeeded although it was cancelled")
            if False not in possible:
                self.find(f"run {run_id} succeeded; it had to fail")
            elif fault := outcomes.find_fault(program, json.loads(result)):
                self.find(f"run {run_id}: {fault}")
            if program[-1][0] == "progress" and json.loads(progress or "{}").get("done") != program[-1][1]:
                self.find(f"run {run_id} shows {progress}, its last word was {program[-1][1]}")

    def _judge_chains(self) -> None:
        """What a run goes on as has neither lost nor doubled an event."""
        rows = self._read(
            "SELECT id, input, continued_from FROM toolkit_run WHERE workflow = 'play' ORDER BY created_at, id"
        )
        first: dict[str, str] = {}
        inputs: dict[str, Any] = {}
        for id_, input_, before in rows:
            first[id_] = first[before] if before is not None else id_
            inputs.setdefault(first[id_], json.loads(input_)["program"])
        heard: dict[tuple[str, str], list[int]] = defaultdict(list)
        delivered = self._read(
            "SELECT run_id, name, result FROM toolkit_step WHERE event_seq IS NOT NULL AND path NOT LIKE 'continued/%' "
            "AND (name LIKE 'own%' OR name LIKE 'news%') ORDER BY ended_at, event_seq"
        )
        for run_id, key, payload in delivered:
            heard[first[run_id], key].append(int(payload))  # what is emitted to one run, or to all, counts up from 1
        for (run_id, key), numbers in heard.items():
            if len(set(numbers)) < len(numbers):
                self.find(f"events of {key!r} came twice to {run_id} or what it went on as: {numbers}")
            if outcomes.is_straight(inputs[run_id]) and numbers != list(range(1, len(numbers) + 1)):
                self.find(f"events of {key!r} came out of order to {run_id}, or were lost: {numbers}")

    def _judge_families(self) -> None:
        """Children follow their close policies, and whoever was cancelled is tidied up after, once."""
        rows = self._read(
            """SELECT c.id, c.state, c.close_policy, c.finished_at, c.cancel_requested_at, c.cancel_reason, p.finished_at
            FROM toolkit_run AS c JOIN toolkit_run AS p ON p.id = c.parent_id WHERE p.finished_at IS NOT NULL"""
        )
        for id_, state, policy, finished_at, cancelled_at, reason, parent_finished_at in rows:
            if policy == "abandon":
                if cancelled_at is not None and not str(reason).startswith("its deadline"):
                    self.find(f"abandoned child {id_} was cancelled: {reason}")
            elif (finished_at or "9") > parent_finished_at and state != "cancelled":
                self.find(f"child {id_} is {state}; it outlived its parent against its policy {policy}")
            elif cancelled_at is None and (finished_at or "9") > parent_finished_at:
                self.find(f"child {id_} outlived its parent unasked")
        tidied = Counter(
            json.loads(input_)["cancelled"]["run_id"]
            for (input_,) in self._read("SELECT input FROM toolkit_run WHERE workflow = 'tidy'")
        )
        cancelled = {
            id_ for (id_,) in self._read("SELECT id FROM toolkit_run WHERE workflow = 'play' AND state = 'cancelled'")
        }
        if tidied != Counter(cancelled):
            self.find(f"cancelled were {sorted(cancelled)}, tidied up after {sorted(tidied.items())}")

    def _judge_sections(self) -> None:
        """A shield that was entered was run to its end; a saga that did not end well was undone, and only then."""
        done: dict[str, dict[str, set[str]]] = defaultdict(lambda: {"work": set(), "revert": set()})
        shields: Counter[str] = Counter()
        for run_id, path, name, arguments in self._read(
            "SELECT run_id, path, name, arguments FROM toolkit_step WHERE state = 'succeeded' "
            "AND (name IN ('work', 'revert') OR path LIKE '%shield/%')"
        ):
            if re.fullmatch(r"(.+/)?shield/\d+", path):
                shields[run_id] += 1
            elif name in {"work", "revert"}:
                label = json.loads(arguments)["label"]
                if label in done[run_id][name]:
                    self.find(f"{name} {label} of {run_id} is on record twice")
                done[run_id][name].add(label)
        for run_id, input_ in self._read(
            "SELECT id, input FROM toolkit_run WHERE workflow = 'play' AND finished_at IS NOT NULL"
        ):
            worked, reverted = done[run_id]["work"], done[run_id]["revert"]
            whole = 0
            for operation, is_in_branch in outcomes.sections(json.loads(input_)["program"]):
                match operation:
                    case ["shield", steps]:
                        labels = {one[1] for one in steps if one[0] == "work"}
                        whole += labels <= worked
                        if labels & worked and not labels <= worked:
                            self.find(f"{run_id} left its shield: {sorted(labels & worked)} of {sorted(labels)}")
                    case ["saga", label, count, _, _]:
                        begun = {f"{label}-{at}" for at in range(count)} & worked
                        has_ended = f"{label}-end" in worked
                        undone = {one for one in reverted if one.startswith(f"{label}-")}
                        # A branch that is given up while that step is under way undoes all the same.
                        expected = [begun, set()] if has_ended and is_in_branch else [set() if has_ended else begun]
                        if undone not in expected:
                            self.find(f"saga {label} of {run_id} did {sorted(begun)} and undid {sorted(undone)}")
            if shields[run_id] > whole:
                self.find(f"{run_id} entered {shields[run_id]} shields and ended {whole}")

    def _judge_sessions(self) -> None:
        """What a step wrote is there once if the step is on record, and not at all otherwise."""
        entries = Counter(self._read("SELECT run_id, label FROM ledger"))
        expected: Counter[tuple[str, str]] = Counter()
        for run_id, arguments in self._read(
            "SELECT run_id, arguments FROM toolkit_step WHERE name = 'book' AND state = 'succeeded'"
        ):
            told = json.loads(arguments)
            expected[run_id, told["label"]] += told["entries"]
        if entries != expected:
            self.find(f"entries are {sorted(entries.items())}, the steps on record made {sorted(expected.items())}")

    def _judge_memory(self, process: Process) -> None:
        residents = process.engine.residents
        if residents.running or residents.active_count:
            self.find(f"{process.host.name} still runs {list(residents.running)} ({residents.active_count})")
        kept = {execution.task for execution in residents.warm.values()}
        for task in process.host.tasks:
            name = getattr(task.get_coro(), "__qualname__", "")
            if task not in kept and name == "perform":
                self.find(f"{process.host.name} leaks the coroutine of a run: {task}")
            if name.endswith("_branch") and not kept:
                self.find(f"{process.host.name} leaks a branch: {task}")


_NEVER = {
    "breach": "SELECT what, run_id, detail FROM breach",
    "an open wait of a finished run": """SELECT w.run_id, w.path, w.state FROM toolkit_wait AS w JOIN toolkit_run AS r
        ON r.id = w.run_id WHERE w.state IN ('open', 'resolved') AND r.state IN ('succeeded', 'failed', 'cancelled')""",
    "an event delivered twice to a run": """SELECT run_id, name, event_seq, count(*) FROM toolkit_step
        WHERE event_seq IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "an event without a number": "SELECT id FROM toolkit_event WHERE seq IS NULL",
    "two events of one number": "SELECT key, seq FROM toolkit_event GROUP BY 1, 2 HAVING count(*) > 1",
    "a wait without its checkpoint": """SELECT w.run_id, w.path, w.state FROM toolkit_wait AS w
        WHERE w.state IN ('delivered', 'expired') AND NOT EXISTS (SELECT 1 FROM toolkit_step AS s
        WHERE s.run_id = w.run_id AND s.path = w.path)""",
    # A decision may be made anew only as long as nothing that was done by it is on record.
    "a unit of work without the decision that it goes by": """SELECT u.run_id, u.path, u.result, d.result
        FROM toolkit_step AS u LEFT JOIN toolkit_step AS d ON d.run_id = u.run_id
        AND d.path = substr(u.path, 1, instr(u.path, '/unit:')) || 'decision' WHERE u.name LIKE 'unit:%'
        AND u.state = 'succeeded' AND u.result IS NOT d.result""",
    "two waits at one place": "SELECT run_id, path, count(*) FROM toolkit_wait GROUP BY 1, 2 HAVING count(*) > 1",
    # Steps of the workflow itself come one after the other: when the next begins, the branches before it are closed.
    "a wait of a branch that was given up before": """SELECT w.run_id, w.path, w.state, n.path FROM toolkit_step AS g
        JOIN toolkit_wait AS w ON w.run_id = g.run_id AND w.path LIKE g.path || '/%'
        JOIN toolkit_step AS n ON n.run_id = g.run_id AND n.started_at > g.ended_at
        WHERE g.name IN ('gather', 'race') AND g.path NOT LIKE '%/%' AND n.path NOT LIKE 'gather.%'
        AND n.path NOT LIKE 'race.%' AND n.path NOT LIKE '%/%/%'
        AND (w.ended_at IS NULL OR w.ended_at > n.started_at)""",
    "a parked run": "SELECT id, error FROM toolkit_run WHERE state = 'parked'",
    "a limit that passed before its time": """SELECT s.run_id, s.path, w.deadline_at, s.ended_at FROM toolkit_step AS s
        JOIN toolkit_wait AS w ON w.run_id = s.run_id AND w.path = s.path WHERE w.state = 'expired'
        AND s.ended_at < w.deadline_at""",
    "a deadline that passed before its time": """SELECT id, deadline_at, cancel_requested_at FROM toolkit_run AS r
        WHERE cancel_reason LIKE 'its deadline%' AND cancel_requested_at < deadline_at AND NOT EXISTS (
        SELECT 1 FROM toolkit_run AS p WHERE p.id = r.parent_id AND p.cancel_reason LIKE 'its deadline%')""",
    "a message told twice": """SELECT run_id, result, count(*) FROM toolkit_step WHERE name = 'message'
        GROUP BY 1, 2 HAVING count(*) > 1""",
    "a question without its answer's end": """SELECT q.id, q.state, w.state FROM question AS q
        JOIN toolkit_wait AS w ON w.id = q.wait_id WHERE q.state = 'open'
        OR (w.state = 'delivered') > (q.state = 'answered')""",
}
