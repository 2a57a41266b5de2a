"""When a schedule's moments are: by a cron expression in a time zone, or every so often. Pure; all moments are UTC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol

from toolkit.errors import DefinitionError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_LONGEST_SHIFT = timedelta(hours=3)  # by which a clock is put back; forward it may be a day, at the date line
_CRON_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")


class Timing(Protocol):
    """An endless row of moments, the same whatever moment one looks from."""

    @property
    def text(self) -> str:
        """What tells one timing from another; it is kept beside a schedule, to notice a change of the code."""

    def next_after(self, moment: datetime) -> datetime:
        """The first moment after ``moment``."""

    def last_until(self, moment: datetime) -> datetime | None:
        """The last moment that is not after ``moment``, found without stepping through those before it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so often, counted from the beginning of 1970 in UTC: each process has the same moments, at any time."""

    every: timedelta

    @property
    def text(self) -> str:
        seconds = self.every.total_seconds()
        return f"every {int(seconds) if seconds == int(seconds) else seconds} s"

    def next_after(self, moment: datetime) -> datetime:
        return self._floor(moment) + self.every

    def last_until(self, moment: datetime) -> datetime | None:
        return self._floor(moment)

    def _floor(self, moment: datetime) -> datetime:
        return _EPOCH + (moment - _EPOCH) // self.every * self.every


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression of five fields in a time zone, with the rules of Debian's cron for summer time.

    A fixed time that the clock skips comes when it has jumped, and one that it shows twice comes the first time. Where
    minute or hour begins with ``*`` the moments go by the time that passes: what is skipped is not there, what is shown
    twice comes twice.
    """

    expression: str
    zone_name: str
    zone: tzinfo

    @property
    def text(self) -> str:
        return f"cron {self.expression} {self.zone_name}"

    def next_after(self, moment: datetime) -> datetime:
        best: datetime | None = None
        for wall in self._walls(moment, is_reverse=False):
            moments = self._moments_at(wall)
            if best is not None and moments and moments[0] >= best:
                break
            best = min([*(found for found in moments if found > moment), *([best] if best else [])], default=None)
        assert best is not None, f"{self.text!r} has no moment after {moment}"
        return best

    def last_until(self, moment: datetime) -> datetime | None:
        best: datetime | None = None
        for wall in self._walls(moment, is_reverse=True):
            moments = self._moments_at(wall)
            if best is not None and moments and moments[-1] <= best:
                break
            best = max([*(found for found in moments if found <= moment), *([best] if best else [])], default=None)
        return best

    def _walls(self, moment: datetime, *, is_reverse: bool) -> Iterator[datetime]:
        """What the wall clock shows at the moments around ``moment``, from there on or from there back.

        cronsim counts on a clock that is never put forward or back: its own way with those that are finds other moments
        from other starting points (version 2.8, half an hour of summer time on Lord Howe Island).
        """
        from cronsim import CronSim

        here = moment.astimezone(self.zone)
        offsets = {(moment + shift).astimezone(self.zone).utcoffset() for shift in (-_LONGEST_SHIFT, _LONGEST_SHIFT)}
        # Beside a change of the clock an earlier wall time may be a later moment.
        margin = timedelta(0) if offsets == {here.utcoffset()} else _LONGEST_SHIFT
        start = here.replace(tzinfo=None, microsecond=0)
        yield from CronSim(
            self.expression, start + margin + _SECOND if is_reverse else start - margin, reverse=is_reverse
        )

    def _moments_at(self, wall: datetime) -> list[datetime]:
        """The moments at which the clock shows ``wall``, as far as they count: none, one or two."""
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return [first]
        minute, hour = self.expression.split()[:2]
        is_fixed = not minute.startswith("*") and not hour.startswith("*")
        if first < second:
            return [first] if is_fixed else [first, second]
        return [self._jump_between(second, first)] if is_fixed else []

    def _jump_between(self, before: datetime, after: datetime) -> datetime:
        """The moment at which the clock is put forward."""
        offset = before.astimezone(self.zone).utcoffset()
        while after - before > _SECOND:
            middle = before + (after - before) // _SECOND // 2 * _SECOND
            if middle.astimezone(self.zone).utcoffset() == offset:
                before = middle
            else:
                after = middle
        return after


def cron_timing(expression: str, *, time_zone: str, what: str) -> Cron:
    """A checked cron expression; ``what`` names its owner in errors.

    Raises:
        DefinitionError: it cannot be read, or has no moment at all.
    """
    from cronsim import CronSim, CronSimError

    zone = find_zone(time_zone, what=what)
    fields = expression.split()
    expected = f"expected five fields ({', '.join(_CRON_FIELDS)}), such as '0 6 * * mon-fri'"
    if len(fields) != len(_CRON_FIELDS):
        raise DefinitionError(f"cron= of {what} is {expression!r}, with {len(fields)} field(s); {expected}")
    try:
        # Of moments that exist the first comes within a few leap years, whatever day one looks from.
        next(CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        reason = str(error).removeprefix("Bad ").lower()
        raise DefinitionError(
            f"cron= of {what} is {expression!r}, whose {reason} cannot be read; {expected}"
        ) from error
    except StopIteration as error:
        raise DefinitionError(
            f"cron= of {what} is {expression!r}, a day that no calendar has; it would never start a run"
        ) from error
    return Cron(" ".join(fields), time_zone, zone)


def interval_timing(every: timedelta, *, what: str) -> Interval:
    """A checked interval; ``what`` names its owner in errors.

    Raises:
        DefinitionError: it is no length of time, or less than a second.
    """
    if not isinstance(every, timedelta):
        raise DefinitionError(f"every= of {what} is {every!r}; expected a timedelta, such as timedelta(hours=1)")
    if every < _SECOND:
        raise DefinitionError(
            f"every= of {what} is {every.total_seconds()} s; expected a second or more: what happens more often is a "
            "loop with `suspend` in one run"
        )
    return Interval(every)


def find_zone(name: str, *, what: str) -> tzinfo:
    """The time zone of an IANA name.

    Raises:
        DefinitionError: it is not known here.
    """
    from zoneinfo import ZoneInfo

    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, TypeError, OSError) as error:  # a folder of zones is an OSError
        raise DefinitionError(
            f"timezone= of {what} is {name!r}, which is not known here; expected an IANA name such as 'Europe/Berlin' "
            "(a machine without time zones needs the package `tzdata`)"
        ) from error
