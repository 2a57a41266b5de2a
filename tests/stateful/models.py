"""What should become of runs, in plain Python: no database, no tasks, no crashes.

A plan is a list of operations, the input of its run. Time is counted in whole hours that a test lets pass; what the
engine itself takes is less than one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Operation = list[Any]
Plan = list[Operation]


@dataclass
class ModelEvent:
    """An event of one key, in the order of its emission; ``run`` is the one that it is meant for, if any."""

    key: str
    payload: int
    run: str | None = None


@dataclass
class ModelRun:
    """One run: how far it has come in its plan, and what it waits for."""

    id: str
    plan: Plan
    results: list[Any] = field(default_factory=list)
    state: str = "running"
    is_paused: bool = False
    cursors: dict[str, int] = field(default_factory=dict)
    is_waiting: bool = False
    deadline: int | None = None  # in hours
    delivered: Any = None  # what its wait has got while the run was paused
    is_delivered: bool = False

    @property
    def operation(self) -> Operation:
        return self.plan[len(self.results)]

    @property
    def has_ended(self) -> bool:
        return self.state != "running"


@dataclass
class ModelSchedule:
    """A schedule: due at half past, in every hour of the day that ``hours`` divides."""

    name: str
    hours: int
    catch_up: str
    is_paused: bool = False
    moments: list[float] = field(default_factory=list)  # that must have started a run, in hours
    triggers: int = 0

    def due_between(self, first: int, last: int, *, day_began: int) -> list[float]:
        """The moments from one full hour to another; ``day_began`` is the hour of the day at the hour 0."""
        return [hour + 0.5 for hour in range(first, last) if (day_began + hour) % 24 % self.hours == 0]


class Model:
    """Everything that runs should know of each other."""

    def __init__(self, *, hour_of_day: int) -> None:
        self.hours = 0
        self.hour_of_day = hour_of_day  # at the hour 0
        self.schedules: dict[str, ModelSchedule] = {}
        self.runs: dict[str, ModelRun] = {}
        self.events: list[ModelEvent] = []
        self.questions: dict[tuple[str, str], str] = {}  # (run, label) -> open, answered or closed

    # What is done to it ----------------------------------------------------------------------------------------------

    def start(self, id_: str, plan: Plan) -> None:
        self.runs[id_] = ModelRun(id_, plan)
        self._go_on(self.runs[id_])

    def emit(self, key: str, payload: int, *, run: str | None = None) -> None:
        self.events.append(ModelEvent(key, payload, run))
        for one in self.runs.values():
            if one.is_waiting and not one.is_delivered and one.operation[0] == "event" and one.operation[1] == key:
                self._look(one)
                self._go_on(one)

    def answer(self, id_: str, label: str, payload: str) -> bool:
        """False if the question was closed or answered before."""
        if self.questions[id_, label] != "open":
            return False
        self.questions[id_, label] = "answered"
        run = self.runs[id_]
        run.delivered, run.is_delivered = payload, True
        self._go_on(run)
        return True

    def cancel(self, id_: str) -> bool:
        """False if the run had ended."""
        run = self.runs[id_]
        if run.has_ended:
            return False
        run.state = "cancelled"
        self._close_question(run)
        return True

    def pause(self, id_: str) -> bool:
        run = self.runs[id_]
        run.is_paused = run.is_paused or not run.has_ended
        return not run.has_ended

    def resume(self, id_: str) -> bool:
        run = self.runs[id_]
        run.is_paused = False
        self._go_on(run)
        return not run.has_ended

    def pass_hours(self, hours: int, *, is_anybody_up: bool = True) -> None:
        """While somebody is up, whatever is due happens at its hour; otherwise all of it in the end."""
        for schedule in self.schedules.values():
            due = schedule.due_between(self.hours, self.hours + hours, day_began=self.hour_of_day)
            if not is_anybody_up and schedule.catch_up != "all":
                due = due[-1:] if schedule.catch_up == "latest" else []  # half an hour late is too late
            if not schedule.is_paused:
                schedule.moments += due
        for passing in [1] * hours if is_anybody_up else [hours]:
            self.hours += passing
            for run in self.runs.values():
                self._go_on(run)

    # How a run goes on -----------------------------------------------------------------------------------------------

    def _go_on(self, run: ModelRun) -> None:
        while not run.has_ended and not run.is_paused:
            if not run.is_waiting:
                self._begin(run)
            if not self._has_ended_waiting(run):
                return
            run.results.append(run.delivered)
            run.is_waiting, run.is_delivered, run.delivered, run.deadline = False, False, None, None
            if len(run.results) == len(run.plan):
                run.state = "succeeded"

    def _begin(self, run: ModelRun) -> None:
        run.is_waiting = True
        match run.operation:
            case ["step", number]:
                run.delivered, run.is_delivered = number, True
            case ["nap", hours]:
                run.deadline = self.hours + hours
            case ["event", _, hours]:
                run.deadline = None if hours is None else self.hours + hours
                self._look(run)
            case ["ask", label, hours]:
                run.deadline = None if hours is None else self.hours + hours
                self.questions[run.id, label] = "open"

    def _look(self, run: ModelRun) -> None:
        """The lowest event of the key above what the run has had."""
        key, cursor = run.operation[1], run.cursors.get(run.operation[1], 0)
        of_key = [event for event in self.events if event.key == key]
        for number, event in enumerate(of_key, 1):
            if number > cursor and event.run in {None, run.id}:
                run.cursors[key], run.delivered, run.is_delivered = number, event.payload, True
                return

    def _has_ended_waiting(self, run: ModelRun) -> bool:
        if run.is_delivered:
            return True
        if run.deadline is None or run.deadline > self.hours:
            return False
        self._close_question(run)
        run.delivered = None if run.operation[0] == "nap" else "timeout"
        return True

    def _close_question(self, run: ModelRun) -> None:
        if run.is_waiting and run.operation[0] == "ask":
            place = (run.id, run.operation[1])
            self.questions[place] = "closed" if self.questions[place] == "open" else self.questions[place]
