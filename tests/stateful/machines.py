"""The machine: what people and programs may do to an installation, done to the engine and to the model alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from tests.stateful import workflows
from tests.stateful.models import Model, ModelSchedule, Plan
from toolkit.errors import Conflict, RunStateError
from toolkit.storage import Query
from toolkit.testing import Process, VirtualClock, running_process
from toolkit.workflows import Engine, RunHandle, Schedule

T = TypeVar("T")

_KEYS = ("a", "b")
_HOURS = st.integers(min_value=1, max_value=30)
_DIVISORS = st.sampled_from((1, 2, 5, 8))  # of the hours of a day at which a schedule is due
_CATCH_UPS = st.sampled_from(("latest", "all", "none"))
_LIMITS = st.none() | _HOURS


def plans() -> st.SearchStrategy[Plan]:
    """A few operations of each kind; labels are made unique by the machine."""
    operations = st.one_of(
        st.tuples(st.just("step"), st.just(0)),
        st.tuples(st.just("nap"), _HOURS),
        st.tuples(st.just("event"), st.sampled_from(_KEYS), _LIMITS),
        st.tuples(st.just("event"), st.sampled_from(_KEYS), _LIMITS),
        st.tuples(st.just("ask"), st.just(""), _LIMITS),
    )
    return st.lists(operations.map(list), min_size=1, max_size=4)


class Place:
    """One database for all examples of a test, and the time that has passed on it: clocks never go back there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.examples = 0


class EngineMachine(RuleBasedStateMachine):
    """Plays one example: a process at a time, which may be closed or crash, and every run compared with its model."""

    place: Place
    runs: Bundle[str] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.place.examples += 1
        self.name = f"example {self.place.examples}"
        self.model = Model(hour_of_day=self.place.now.hour)
        self.schedules: dict[str, Schedule] = {}
        self.made = 0
        self.keyed: dict[str, tuple[str, Plan]] = {}
        workflows.performed.clear()
        self.runner = asyncio.Runner()
        self.clock = VirtualClock(self.place.now)
        self.stack = AsyncExitStack()
        self.process = self._await(self._open())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _open(self) -> Process:
        process = await self.stack.enter_async_context(
            running_process(self.place.url, workflows.follow, clock=self.clock, prepare=self._prepare)
        )
        await process.engine.run_script(workflows.make_table())
        await process.settle()
        return process

    def _prepare(self, engine: Engine) -> None:
        engine.closers[workflows.QUESTION] = workflows.close_questions
        for schedule in self.schedules.values():
            engine.register_schedule(schedule)

    def _key(self, key: str) -> str:
        """Keys of one example are its own."""
        return f"{self.name} {key}"

    def _plan(self, plan: Plan) -> Plan:
        """The plan with keys, labels and numbers of its own."""
        own: Plan = []
        for operation in plan:
            self.made += 1
            match operation:
                case ["step", _]:
                    own.append(["step", self.made])
                case ["event", key, hours]:
                    own.append(["event", self._key(key), hours])
                case ["ask", _, hours]:
                    own.append(["ask", str(self.made), hours])
                case _:
                    own.append(list(operation))
        return own

    # What may be done ------------------------------------------------------------------------------------------------

    @rule(target=runs, plan=plans())
    def start(self, plan: Plan) -> str:
        plan = self._plan(plan)
        run: RunHandle[Any] = self._await(self.process.start(workflows.follow, plan))
        self._await(self.process.settle())
        self.model.start(run.id, plan)
        return run.id

    @rule(target=runs, plan=plans(), key=st.sampled_from(("x", "y")))
    def start_with_a_key(self, plan: Plan, key: str) -> str:
        known = self.keyed.get(key)
        plan = self._plan(plan) if known is None else known[1]
        run: RunHandle[Any] = self._await(self.process.start(workflows.follow, plan, idempotency_key=self._key(key)))
        self._await(self.process.settle())
        if known is None:
            self.keyed[key] = (run.id, plan)
            self.model.start(run.id, plan)
        assert run.id == self.keyed[key][0]
        assert run.is_new == (known is None)
        return run.id

    @precondition(lambda self: self.keyed)
    @rule(data=st.data())
    def start_with_a_key_and_other_arguments(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.keyed)))
        other = [*self.keyed[key][1], ["step", 0]]
        with pytest.raises(Conflict, match=self.keyed[key][0]):
            self._await(self.process.start(workflows.follow, other, idempotency_key=self._key(key)))

    @rule(key=st.sampled_from(_KEYS), payload=st.integers(), is_lost=st.booleans())
    def emit(self, key: str, payload: int, is_lost: bool) -> None:
        """``is_lost``: the process is ended as soon as the event is durable, before anybody could have done a thing."""
        self._await(self.process.engine.emit_event(self._key(key), payload))
        if is_lost:
            self._restart(is_orderly=False)
        self._await(self.process.settle())
        self.model.emit(self._key(key), payload)

    @rule(run=runs, key=st.sampled_from(_KEYS), payload=st.integers())
    def emit_to_one(self, run: str, key: str, payload: int) -> None:
        self._await(self.process.engine.emit_event(self._key(key), payload, run_id=run))
        self._await(self.process.settle())
        self.model.emit(self._key(key), payload, run=run)

    @rule(key=st.sampled_from(_KEYS), payload=st.integers(), times=st.integers(min_value=2, max_value=3))
    def emit_once(self, key: str, payload: int, times: int) -> None:
        self.made += 1
        once = str(self.made)
        for _ in range(times):
            self._await(self.process.engine.emit_event(self._key(key), payload, idempotency_key=once))
        self._await(self.process.settle())
        self.model.emit(self._key(key), payload)

    @precondition(lambda self: self.model.questions)
    @rule(data=st.data(), payload=st.text(max_size=5).filter(lambda text: "\x00" not in text))
    def answer(self, data: st.DataObject, payload: str) -> None:
        run, label = data.draw(st.sampled_from(sorted(self.model.questions)))
        has_won = self._await(workflows.answer(self.process.engine, run, label, payload))
        self._await(self.process.settle())
        assert has_won == self.model.answer(run, label, payload)

    @rule(run=consumes(runs))
    def cancel(self, run: str) -> None:
        self._change(run, "cancel")

    @rule(run=runs)
    def pause(self, run: str) -> None:
        self._change(run, "pause")

    @rule(run=runs)
    def resume(self, run: str) -> None:
        self._change(run, "resume")

    def _change(self, run: str, what: str) -> None:
        engine = self.process.engine
        change = engine.cancel(run) if what == "cancel" else getattr(engine.control, what)(run)
        try:
            self._await(change)
        except RunStateError:
            is_done = False
        else:
            is_done = True
        self._await(self.process.settle())
        assert is_done == getattr(self.model, what)(run)

    # Schedules: only the code that a process has at its start is deployed, as in life.

    @precondition(lambda self: len(self.schedules) < 3)
    @rule(hours=_DIVISORS, catch_up=_CATCH_UPS, is_orderly=st.booleans())
    def deploy_a_schedule(self, hours: int, catch_up: str, is_orderly: bool) -> None:
        name = f"{self.name} {len(self.schedules)}".replace(" ", "-")
        self._deploy(name, hours, catch_up, is_orderly=is_orderly)
        self.model.schedules[name] = ModelSchedule(name, hours, catch_up)

    @precondition(lambda self: self.schedules)
    @rule(data=st.data(), hours=_DIVISORS, catch_up=_CATCH_UPS)
    def deploy_another_timing(self, data: st.DataObject, hours: int, catch_up: str) -> None:
        schedule = self._some_schedule(data)
        self._deploy(schedule.name, hours, catch_up, is_orderly=True)
        schedule.hours, schedule.catch_up = hours, catch_up

    def _deploy(self, name: str, hours: int, catch_up: str, *, is_orderly: bool) -> None:
        self.schedules[name] = workflows.schedule_of(name, hours=hours, catch_up=catch_up)
        self._restart(is_orderly=is_orderly)

    @precondition(lambda self: self.schedules)
    @rule(data=st.data())
    def pause_a_schedule(self, data: st.DataObject) -> None:
        schedule = self._some_schedule(data)
        assert self._await(self.process.engine.schedules.pause(schedule.name)) != schedule.is_paused
        schedule.is_paused = True

    @precondition(lambda self: self.schedules)
    @rule(data=st.data())
    def resume_a_schedule(self, data: st.DataObject) -> None:
        schedule = self._some_schedule(data)
        assert self._await(self.process.engine.schedules.resume(schedule.name)) == schedule.is_paused
        schedule.is_paused = False

    @precondition(lambda self: self.schedules)
    @rule(data=st.data())
    def trigger_a_schedule(self, data: st.DataObject) -> None:
        schedule = self._some_schedule(data)
        self._await(self.process.engine.schedules.trigger(schedule.name, by=f"who triggers {schedule.name}"))
        self._await(self.process.settle())
        schedule.triggers += 1

    def _some_schedule(self, data: st.DataObject) -> ModelSchedule:
        return self.model.schedules[data.draw(st.sampled_from(sorted(self.schedules)))]

    @rule(hours=_HOURS)
    def pass_time(self, hours: int) -> None:
        self._await(self.process.advance(timedelta(hours=hours)))
        self.model.pass_hours(hours)

    @rule(hours=_HOURS)
    def pass_time_while_everything_is_down(self, hours: int) -> None:
        self._restart(is_orderly=True, hours=hours)
        self.model.pass_hours(hours, is_anybody_up=False)

    @rule()
    def crash(self) -> None:
        self._restart(is_orderly=False)

    def _restart(self, *, is_orderly: bool, hours: int = 0) -> None:
        self._await(self.stack.aclose() if is_orderly else self._kill())
        self.clock.turn(timedelta(hours=hours))
        self.process = self._await(self._open())

    async def _kill(self) -> None:
        await self.process.kill()
        await self.stack.aclose()

    # What must hold --------------------------------------------------------------------------------------------------

    @invariant()
    def every_run_is_where_the_model_says(self) -> None:
        self._await(self._compare())

    async def _compare(self) -> None:
        engine = self.process.engine
        for run in self.model.runs.values():
            detail = await engine.get_run(run.id)
            state = "running" if not detail.summary.state.is_final else detail.summary.state.value
            assert state == run.state, f"{run} is {detail.summary.state}: {detail.error}"
            if run.state == "succeeded":
                assert json.loads(detail.result or "null") == run.results, run
            if run.has_ended:
                assert not detail.waits, detail.waits
        questions = {
            (run_id, label): state
            for run_id, label, state in await engine.read(Query(workflows.QUESTIONS))
            if run_id in self.model.runs
        }
        assert questions == self.model.questions
        for schedule in self.model.schedules.values():
            assert await self._moments_of(f"schedule:{schedule.name}") == schedule.moments, schedule
            assert len(await self._moments_of(f"who triggers {schedule.name}")) == schedule.triggers, schedule
        again = {place: times for place, times in workflows.performed.items() if times > 1}
        assert not again, f"steps were performed again: {again}"

    async def _moments_of(self, starter: str) -> list[float]:
        """Of the runs that ``starter`` has started, in hours since the example began."""
        rows = await self.process.engine.read(Query(workflows.TICKS, [starter]))
        moments = [datetime.fromisoformat(json.loads(text)["at"]) for (text,) in rows]
        return [(moment - self.place.now) / timedelta(hours=1) for moment in moments]

    def teardown(self) -> None:
        for run in self.model.runs.values():  # the next example has the database for itself
            if not run.has_ended:
                self._await(self.process.engine.cancel(run.id))
        self._await(self.process.settle())
        self._await(self.stack.aclose())
        # The next example begins at a full hour, half an hour away from whatever a schedule is due at.
        self.place.now = self.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        self.runner.close()
        super().teardown()


def machine_at(url: str) -> type[EngineMachine]:
    """A machine whose examples are played on the database ``url``."""
    return type("EngineMachineThere", (EngineMachine,), {"place": Place(url)})
