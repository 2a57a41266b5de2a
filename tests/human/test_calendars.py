"""A calendar says when an office works, across summer time, weekends and holidays."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from toolkit.errors import DefinitionError
from toolkit.human import Calendar, WorkingTime

BERLIN = Calendar("Europe/Berlin", holidays="DE")
ZONE = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.mark.parametrize(
    ("start", "length", "end"),
    [
        ("2027-03-26T10:00", WorkingTime(days=1), "2027-03-31T09:00"),  # Good Friday: counted from Tuesday's opening
        ("2027-03-25T10:00", WorkingTime(days=1), "2027-03-30T10:00"),  # over Easter and the change to summer time
        ("2027-06-07T16:00", WorkingTime(hours=2), "2027-06-08T10:00"),
        ("2027-06-07T17:00", WorkingTime(hours=8), "2027-06-08T17:00"),
        ("2027-06-07T09:00", WorkingTime(hours=8), "2027-06-07T17:00"),
        ("2027-06-05T12:00", WorkingTime(hours=1), "2027-06-07T10:00"),  # Saturday
        ("2027-06-07T20:00", WorkingTime(days=1), "2027-06-09T09:00"),  # after hours: the next day is the first
        ("2027-06-07T07:00", WorkingTime(days=1), "2027-06-08T09:00"),
        ("2027-12-23T12:00", WorkingTime(days=2), "2027-12-27T12:00"),  # over Christmas
        ("2027-06-04T10:00", timedelta(days=1), "2027-06-05T10:00"),  # by the clock, weekend or not
    ],
)
def test_working_time_passes_in_office_hours(start: str, length: WorkingTime | timedelta, end: str) -> None:
    assert BERLIN.after(at(start), length) == at(end)


def test_an_hour_that_the_clock_skips_is_not_worked() -> None:
    nights = Calendar("Europe/Berlin", weekdays=(5, 6), opens=time(0), closes=time(8))
    saturday, sunday = at("2027-03-27T07:00"), at("2027-03-28T08:00")  # the night is an hour short

    assert nights.after(saturday, WorkingTime(hours=8)) == sunday.astimezone(UTC)


def test_an_hour_that_comes_twice_is_worked_twice() -> None:
    nights = Calendar("Europe/Berlin", weekdays=(5, 6), opens=time(0), closes=time(8))

    end = nights.after(at("2027-10-30T07:00"), WorkingTime(hours=10))

    assert end == at("2027-10-31T08:00").astimezone(UTC)


def test_days_off_are_an_offices_own() -> None:
    calendar = Calendar("Europe/Berlin", days_off=frozenset({date(2027, 6, 8)}))

    assert calendar.after(at("2027-06-07T10:00"), WorkingTime(days=1)) == at("2027-06-09T10:00")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"time_zone": "Europe/Nowhere"}, "time zone"),
        ({"holidays": "XX"}, "holidays of 'XX'"),
        ({"holidays": "DE-XX"}, "holidays of 'DE-XX'"),
        ({"weekdays": ()}, "weekdays"),
        ({"opens": time(18)}, "opens before it closes"),
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Calendar(**({"time_zone": "Europe/Berlin"} | wrong))  # type: ignore[arg-type]


def test_a_calendar_without_a_working_day_is_said_and_not_searched_for_ever() -> None:
    with pytest.raises(DefinitionError, match="no working day"):
        calendar = Calendar(
            "UTC", weekdays=(0,), days_off=frozenset(date(2027, 1, 4) + timedelta(weeks=w) for w in range(600))
        )
        calendar.after(datetime(2027, 1, 1, tzinfo=UTC), WorkingTime(days=1))
