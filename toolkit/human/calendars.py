"""Calendars: what "in two working days" means to an office."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from toolkit.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Container

_LONGEST_SEARCH_DAYS = 4000


@dataclass(frozen=True, slots=True)
class WorkingTime:
    """A length of time that passes only while the office works; say ``days`` or ``hours``, not both.

    A working day is not eight, nor twenty-four, working hours: ``days=1`` is the same time of day on the next day on
    which somebody works.
    """

    days: int = 0
    hours: float = 0

    def __post_init__(self) -> None:
        if (self.days > 0) == (self.hours > 0) or self.days < 0 or self.hours < 0:
            raise DefinitionError(f"a working time is some days or some hours, found {self!r}")


Duration: TypeAlias = timedelta | WorkingTime
"""A plain ``timedelta`` passes by the clock, nights and holidays included."""


@dataclass(frozen=True)
class Calendar:
    """When an office works: on ``weekdays`` (Monday is 0) from ``opens`` to ``closes``, local time of ``time_zone``.

    ``holidays`` is a country or a part of one, as the `holidays` package knows them ("DE", "DE-BY", "US-CA"), and
    ``days_off`` are further dates.

    Raises:
        DefinitionError: the zone, the country or the hours are unknown or empty.
    """

    time_zone: str
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)
    opens: time = time(9)
    closes: time = time(17)
    holidays: str | None = None
    days_off: frozenset[date] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise DefinitionError(
                f"the time zone {self.time_zone!r} is not known; expected a name such as 'Europe/Berlin'"
            ) from error
        if not self.weekdays or not set(self.weekdays) <= set(range(7)):
            raise DefinitionError(f"weekdays are some of 0 (Monday) to 6 (Sunday), found {self.weekdays!r}")
        if self.opens >= self.closes:
            raise DefinitionError(f"an office opens before it closes, found {self.opens} to {self.closes}")
        if self.holidays is not None:
            self._holidays  # noqa: B018 - an unknown country is said where the calendar is written

    def after(self, moment: datetime, duration: Duration) -> datetime:
        """The moment at which ``duration`` has passed since ``moment`` (aware), in UTC."""
        if isinstance(duration, timedelta):
            return moment.astimezone(UTC) + duration
        return self._after_days(moment, duration.days) if duration.days else self._after_hours(moment, duration.hours)

    def is_working_day(self, day: date) -> bool:
        """Whether anybody works on ``day``."""
        return day.weekday() in self.weekdays and day not in self.days_off and day not in self._holidays

    def _after_days(self, moment: datetime, days: int) -> datetime:
        local = moment.astimezone(self._zone)
        if self.is_working_day(local.date()) and local.time() < self.closes:
            day, clock = local.date(), max(local.time(), self.opens)
        else:  # a working day begins when the office next opens
            day, clock = next(self._working_days(local.date() + timedelta(days=1))), self.opens
        following = self._working_days(day + timedelta(days=1))
        for _ in range(days):
            day = next(following)
        return self._moment(day, clock)

    def _after_hours(self, moment: datetime, hours: float) -> datetime:
        left = timedelta(hours=hours)
        now = moment.astimezone(UTC)
        for day in self._working_days(moment.astimezone(self._zone).date()):
            # Counted between moments, not between wall clocks: an hour that summer time skips is not worked.
            begins, ends = max(self._moment(day, self.opens), now), self._moment(day, self.closes)
            if ends <= begins:
                continue
            if left <= ends - begins:
                return begins + left
            left -= ends - begins
        raise AssertionError("an endless calendar ended")

    def _working_days(self, first: date) -> Iterator[date]:
        day, idle = first, 0
        while idle < _LONGEST_SEARCH_DAYS:
            if self.is_working_day(day):
                yield day
                idle = 0
            idle += 1
            day += timedelta(days=1)
        raise DefinitionError(f"this calendar has no working day in {_LONGEST_SEARCH_DAYS} days after {first}")

    def _moment(self, day: date, clock: time) -> datetime:
        """Wall time to UTC. A time that summer time skips is read as if the clock had not been changed yet."""
        return datetime.combine(day, clock.replace(tzinfo=None), tzinfo=self._zone).astimezone(UTC)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def _holidays(self) -> Container[date]:
        if self.holidays is None:
            return ()
        import holidays

        country, _, part = self.holidays.partition("-")
        try:
            return holidays.country_holidays(country, subdiv=part or None)
        except NotImplementedError as error:
            raise DefinitionError(
                f"the holidays of {self.holidays!r} are not known; expected a code such as 'DE' or 'DE-BY', "
                "or give the dates as days_off"
            ) from error


def check_durations(durations: Iterable[Duration], *, calendar: Calendar | None, what: str) -> None:
    """Refuse lengths that mean nothing here.

    Raises:
        DefinitionError: one is not longer than nothing, or counts working time without a calendar.
    """
    for duration in durations:
        if isinstance(duration, timedelta) and duration <= timedelta(0):
            raise DefinitionError(f"{what} must be longer than nothing, found {duration!r}")
        if isinstance(duration, WorkingTime) and calendar is None:
            raise DefinitionError(f"{what} is {duration!r}, which needs a calendar=")


def moment_after(moment: datetime, duration: Duration, *, calendar: Calendar | None) -> datetime:
    """The moment at which ``duration`` has passed; working time needs a calendar."""
    if isinstance(duration, WorkingTime):
        assert calendar is not None, "checked where the duration was given"
        return calendar.after(moment, duration)
    return moment.astimezone(UTC) + duration
