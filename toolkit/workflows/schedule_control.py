"""What an operator does to schedules: look at them, pause and resume them, start a run by one now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.errors import Conflict, NotFound, StorageError
from toolkit.storage import OutcomeUnknown, Query, Script, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.definitions import RunHandle
from toolkit.workflows.keys import OwnKey
from toolkit.workflows.schedules import STARTED_BY, Schedule, ScheduleSummary, place_of

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

T = TypeVar("T")


class ScheduleControl:
    """The operator's door to the schedules of one installation, whichever processes fire them.

    Pausing and resuming are safe to repeat: what is so already is left as it is.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self) -> list[ScheduleSummary]:
        """Every schedule that a worker has had, by name; those whose code is gone as well."""
        rows = await self._engine.database.reader.read(Query(sql.SCHEDULES))
        return [_summary(row, self._known) for row in rows]

    async def get(self, name: str) -> ScheduleSummary:
        """One schedule.

        Raises:
            NotFound: no worker has had it yet.
        """
        rows = await self._engine.database.reader.read(Query(sql.SCHEDULE, [name]))
        if not rows:
            raise NotFound("schedule", name, known=[schedule.name for schedule in await self.list()])
        return _summary(rows[0], self._known)

    async def pause(self, name: str, *, by: str | None = None) -> bool:
        """Have a schedule start nothing until it is resumed; false if it was paused already.

        Raises:
            NotFound: no worker has had it yet.
        """
        return await self._change(name, _told(Query(sql.PAUSE_SCHEDULE, [name, by, self._engine.own_now()])))

    async def resume(self, name: str) -> bool:
        """Let a paused schedule go on with the next moment from now; false if it was not paused.

        Moments that came in the pause are not made up for.

        Raises:
            NotFound: no worker has had it yet.
            Conflict: this process has no code of it, and so does not know its next moment.
        """
        schedule = self._known.get(name)
        if schedule is None:
            await self.get(name)
            raise Conflict(
                f"schedule {name!r} is not registered here, so its next moment is unknown; register it, or leave it "
                "paused: without code it starts nothing",
                schedule=name,
            )
        return await self._change(name, _resume(schedule, self._engine.own_now()))

    async def trigger(self, name: str, *, by: str | None = None, idempotency_key: str | None = None) -> RunHandle[Any]:
        """Start one run now, with the arguments for now; the schedule itself goes on as if nothing had happened.

        ``by`` has started the run. A paused schedule can be triggered, and one whose last run is not over. The same key
        starts one run of this schedule, whatever the moment is by then.

        Raises:
            NotFound: it is not registered here.
            Conflict: its arguments cannot be made, or do not fit.
        """
        schedule = self._known.get(name)
        if schedule is None:
            raise NotFound("registered schedule", name, known=list(self._known))
        ((now,),) = await self._engine.read(Query(sql.NOW, [self._engine.own_now()]))
        moment = read_moment(now)
        assert moment is not None
        try:
            arguments = schedule.arguments_at(moment.astimezone(UTC))
        except Exception as error:
            raise Conflict(
                f"the arguments of schedule {name!r} could not be made ({type(error).__qualname__}: "
                f"{place_of(error)}); mend its arguments=",
                schedule=name,
            ) from error
        key = None if idempotency_key is None else OwnKey(f"{STARTED_BY}{name}:{idempotency_key}")
        try:
            return await self._engine.start_bound(
                schedule.workflow, arguments, idempotency_key=key, started_by=by or f"{STARTED_BY}{name}"
            )
        except Conflict as error:  # the key has started it before, at another moment and so with other arguments
            return RunHandle(self._engine, error.details["run_id"], schedule.workflow, is_new=False)

    @property
    def _known(self) -> Mapping[str, Schedule]:
        return self._engine.timetable.known

    async def _change(self, name: str, change: Script[bool]) -> bool:
        try:
            is_changed = await self._engine.run_script(change)
        except OutcomeUnknown as error:
            raise StorageError(
                "the database connection broke during the commit: it is unknown whether this was kept; ask again, it "
                "is done once"
            ) from error
        if not is_changed:
            await self.get(name)
        self._engine.timetable.stir()
        self._engine.poke()
        return is_changed


def _told(change: Query) -> Script[bool]:
    """Make the change, and let workers look again if it changed anything."""
    is_changed = bool((yield change))
    if is_changed:
        yield Query(sql.NOTIFY)
    return is_changed


def _resume(schedule: Schedule, own_now: datetime | None) -> Script[bool]:
    ((found,),) = yield Query(sql.NOW, [own_now])
    now = read_moment(found)
    assert now is not None
    next_at = schedule.timing.next_after(now)
    change = Query(sql.RESUME_SCHEDULE, [schedule.name, schedule.workflow.name, schedule.timing.text, next_at])
    return (yield from _told(change))


def _summary(row: Sequence[Any], known: Mapping[str, Schedule]) -> ScheduleSummary:
    name, workflow, timing, due_at, last_due_at, last_run_id, paused_at, paused_by, created_at = row
    moments = [read_moment(each) for each in (due_at, last_due_at, paused_at, created_at)]
    assert moments[0] is not None
    assert moments[3] is not None
    return ScheduleSummary(
        name=name,
        workflow=workflow,
        timing=timing,
        due_at=moments[0],
        last_due_at=moments[1],
        last_run_id=last_run_id,
        paused_at=moments[2],
        paused_by=paused_by,
        created_at=moments[3],
        is_registered=name in known,
    )
