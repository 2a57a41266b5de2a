"""A worker's timetable: it looks which schedules are due, and starts what they ask for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from toolkit.errors import DefinitionError
from toolkit.storage import DataRejected, OutcomeUnknown, Query, Rows, Script, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.operations import FireSchedule, NewRun
from toolkit.workflows.outcomes import Fate, Fired
from toolkit.workflows.schedules import STARTED_BY, Schedule, place_of

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=5)


class Timetable:
    """The schedules that this process has the code of; a worker fires those that are due.

    Any number of workers look at the same rows and try to fire the same moments: the row's lock and the moment that
    stands in it let one of them do it. One whose arguments cannot be made keeps its moment and is tried again, less
    and less often; what has passed by then is its ``catch_up``'s business.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.runtime.clock
        self._known: dict[str, Schedule] = {}
        self._kept: set[str] = set()  # those whose row is known to be there
        self._held_off: dict[str, tuple[timedelta, datetime]] = {}  # after a failure: how long, and until when
        self._next_due: datetime | None = None
        self._next_look = float("-inf")

    @property
    def known(self) -> Mapping[str, Schedule]:
        """The schedules, by name."""
        return self._known

    @property
    def awaited(self) -> list[str]:
        """The names of those that start something when they are due; the others have failed and are tried again."""
        return [name for name in self._known if name not in self._held_off]

    def add(self, schedule: Schedule) -> None:
        """Take in a schedule.

        Raises:
            DefinitionError: it is none, another one has its name, or its arguments do not fit.
        """
        if not isinstance(schedule, Schedule):
            raise DefinitionError(f"found {schedule!r} where a schedule was expected: Schedule(name, workflow, ...)")
        schedule.check_arguments()
        known = self._known.setdefault(schedule.name, schedule)
        if known is not schedule:
            raise DefinitionError(
                f"two schedules are called {schedule.name!r}: {known.source} and {schedule.source}; give one of them "
                "another name"
            )
        self.stir()

    def stir(self) -> None:
        """Look at the next turn, whatever the last look has found."""
        self._next_look = float("-inf")

    async def _keep_rows(self) -> None:
        """See that each schedule has its row, with the timing of this code."""
        new = [schedule for name, schedule in sorted(self._known.items()) if name not in self._kept]
        if new:
            await self._engine.run_script(_keep(new, self._engine.own_now()))
            self._kept.update(schedule.name for schedule in new)

    async def look(self) -> datetime | None:
        """Fire what is due; when to look again at the latest."""
        if not self._known:
            return None
        now = self._clock.now()
        if self._clock.monotonic() >= self._next_look or (self._next_due is not None and now >= self._next_due):
            self._next_look = self._clock.monotonic() + self._engine.options.poll_seconds
            await self._keep_rows()
            names = list(self._known)
            rows = await self._engine.read(Query(sql.SCHEDULES_TO_FIRE, [names, self._engine.own_now()]))
            moments = [await self._look_at(*row) for row in rows]
            self._next_due = min((moment for moment in moments if moment is not None), default=None)
        return self._next_due

    async def _look_at(self, name: str, workflow: str, timing: str, due: object, now: object) -> datetime | None:
        """Fire one schedule if it is due; the moment at which it is next."""
        schedule, due_at, read_at = self._known[name], read_moment(due), read_moment(now)
        assert due_at is not None
        assert read_at is not None
        if (workflow, timing) != (schedule.workflow.name, schedule.timing.text):
            return None  # a newer deployment has changed it: it is theirs
        if due_at > read_at:
            return due_at
        if name in self._held_off and self._held_off[name][1] > read_at:
            return self._held_off[name][1]
        return await self._fire(schedule, due_at, read_at)

    async def _fire(self, schedule: Schedule, due_at: datetime, now: datetime) -> datetime:
        due = schedule.due(due_at, now)
        try:
            runs = [self._new_run(schedule, moment) for moment in due.moments]
        except Exception as error:  # noqa: BLE001 - the author's function may raise anything
            return self._hold_off(schedule, error, due_at=due_at, now=now)
        operation = FireSchedule(
            schedule.name,
            schedule.workflow.name,
            schedule.timing.text,
            due_at,
            due.next_at,
            runs,
            due.moments[-1] if due.moments else None,
            waits_its_turn=schedule.overlap == "skip",
        )
        try:
            fired: Fired = await self._engine.submit(operation)
        except DataRejected as error:
            return self._hold_off(schedule, error, due_at=due_at, now=now)
        except OutcomeUnknown:
            return now  # the next look shows whether it was kept
        self._held_off.pop(schedule.name, None)
        if fired.fate is not Fate.KEPT:
            return now  # somebody else has it; the next look shows to what moment it was moved
        if not due.moments or fired.is_skipped:
            reason = "its last run is not over" if fired.is_skipped else "it came too late"
            logger.info(
                "A moment of a schedule was left out",
                extra={"event": "schedule.left_out", "schedule": schedule.name, "due_at": due_at, "reason": reason},
            )
        return due.next_at

    def _new_run(self, schedule: Schedule, moment: datetime) -> NewRun:
        arguments = schedule.arguments_at(moment)
        return schedule.workflow.new_run(self._engine, arguments, started_by=f"{STARTED_BY}{schedule.name}")

    def _hold_off(self, schedule: Schedule, error: Exception, *, due_at: datetime, now: datetime) -> datetime:
        """Keep the moment for later. What the arguments are, or were to be, stands in no log."""
        pause = self._held_off[schedule.name][0] * 2 if schedule.name in self._held_off else _FIRST_PAUSE
        again_at = now + min(pause, _LONGEST_PAUSE)
        self._held_off[schedule.name] = (min(pause, _LONGEST_PAUSE), again_at)
        logger.error(
            "The arguments of a schedule could not be made; its run waits until they can",
            extra={
                "event": "schedule.failed",
                "schedule": schedule.name,
                "due_at": due_at,
                "error_type": type(error).__qualname__,
                "place": place_of(error),
                "again_at": again_at,
            },
        )
        return again_at


def _keep(schedules: Sequence[Schedule], own_now: datetime | None) -> Script[None]:
    rows = yield Query(sql.NOW, [own_now])
    now = read_moment(rows[0][0])
    assert now is not None
    found = yield Query(sql.TIMINGS_OF_SCHEDULES, [[schedule.name for schedule in schedules]])
    known = {name: (workflow, timing) for name, workflow, timing in found}
    changed = [
        (schedule.name, schedule.workflow.name, schedule.timing.text, schedule.timing.next_after(now), now)
        for schedule in schedules
        if known.get(schedule.name) != (schedule.workflow.name, schedule.timing.text)
    ]
    if changed:
        yield Rows(sql.KEEP_SCHEDULES, changed)
