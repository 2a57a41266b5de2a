"""When schedules are due: cron expressions in time zones whose clocks are put forward and back, and intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import DefinitionError
from toolkit.workflows.timings import Cron, Interval, Timing, cron_timing, interval_timing

BERLIN = ZoneInfo("Europe/Berlin")


def cron(expression: str, time_zone: str = "Europe/Berlin") -> Cron:
    return cron_timing(expression, time_zone=time_zone, what="the schedule of this test")


def moments(timing: Timing, first: datetime, last: datetime) -> list[datetime]:
    """Those after ``first`` and until ``last``."""
    found = []
    moment = timing.next_after(first)
    while moment <= last:
        found.append(moment)
        moment = timing.next_after(moment)
    return found


def shown(found: list[datetime], zone: ZoneInfo = BERLIN) -> list[str]:
    """As the wall clock shows them, with the offset from UTC."""
    return [moment.astimezone(zone).strftime("%d. %H:%M %z") for moment in found]


def test_a_weekday_morning_is_the_same_wall_time_in_summer_and_winter() -> None:
    found = moments(cron("0 6 * * mon-fri"), datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))

    assert shown(found) == ["27. 06:00 +0100", "30. 06:00 +0200"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["28. 02:30 +0100", "29. 03:00 +0200", "30. 02:30 +0200"]),
        ("15,45 2 * * *", ["28. 02:15 +0100", "28. 02:45 +0100", "29. 03:00 +0200", "30. 02:15 +0200"]),
        ("0 2,3 29 * *", ["29. 03:00 +0200"]),
        ("30 * 29 * *", ["29. 00:30 +0100", "29. 01:30 +0100", "29. 03:30 +0200", "29. 04:30 +0200"]),
        ("*/30 2 * * *", ["28. 02:00 +0100", "28. 02:30 +0100", "30. 02:00 +0200", "30. 02:30 +0200"]),
    ],
)
def test_when_the_clock_is_put_forward(expression: str, expected: list[str]) -> None:
    found = moments(cron(expression), datetime(2026, 3, 27, 22, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC))

    assert shown(found)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", ["24. 02:30 +0200", "25. 02:30 +0200", "26. 02:30 +0100"]),
        ("0 3 * * *", ["24. 03:00 +0200", "25. 03:00 +0100", "26. 03:00 +0100"]),
        (
            "30 * 25 * *",
            ["25. 00:30 +0200", "25. 01:30 +0200", "25. 02:30 +0200", "25. 02:30 +0100", "25. 03:30 +0100"],
        ),
        ("*/30 2 25 * *", ["25. 02:00 +0200", "25. 02:30 +0200", "25. 02:00 +0100", "25. 02:30 +0100"]),
    ],
)
def test_when_the_clock_is_put_back(expression: str, expected: list[str]) -> None:
    found = moments(cron(expression), datetime(2026, 10, 23, 22, tzinfo=UTC), datetime(2026, 10, 26, 12, tzinfo=UTC))

    assert shown(found)[: len(expected)] == expected


def due_by_the_minute(expression: str, zone_name: str, first: datetime, last: datetime) -> list[datetime]:
    """The same rules, said the slow way: look at each minute that passes, and at each that the clock skips."""
    zone = ZoneInfo(zone_name)
    minute, hour = expression.split()[:2]
    is_fixed = not minute.startswith("*") and not hour.startswith("*")

    def fits(wall: datetime) -> bool:
        return next(CronSim(expression, wall - timedelta(seconds=1))) == wall

    found = []
    moment, wall = first, first.astimezone(zone).replace(tzinfo=None)
    while moment < last:
        moment += timedelta(minutes=1)
        here = moment.astimezone(zone)
        shown = here.replace(tzinfo=None, fold=0)
        skipped = [wall + timedelta(minutes=at) for at in range(1, (shown - wall) // timedelta(minutes=1))]
        if (fits(shown) and not (is_fixed and here.fold)) or (is_fixed and any(map(fits, skipped))):
            found.append(moment)
        wall = shown
    return found


CHANGES = {
    "Europe/Berlin": [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)],
    "America/New_York": [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)],
    "Australia/Lord_Howe": [
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    ],  # half an hour
    "America/Santiago": [datetime(2026, 4, 5, 3, tzinfo=UTC), datetime(2026, 9, 6, 4, tzinfo=UTC)],  # at midnight
}
MINUTES = st.one_of(st.just("*"), st.sampled_from(["*/7", "*/30", "0", "15", "0,30", "10-12"]))
HOURS = st.one_of(st.just("*"), st.sampled_from(["*/2", "*/3", "0", "1", "2", "3", "0,2", "1-3"]))


@settings(deadline=None, max_examples=25)
@given(data=st.data(), zone=st.sampled_from(sorted(CHANGES)), minute=MINUTES, hour=HOURS)
def test_around_a_change_of_the_clock_no_moment_is_lost_and_none_comes_twice(
    data: st.DataObject, zone: str, minute: str, hour: str
) -> None:
    change = data.draw(st.sampled_from(CHANGES[zone]))
    first, last = change - timedelta(hours=6), change + timedelta(hours=6)
    timing = cron(f"{minute} {hour} * * *", zone)
    expected = due_by_the_minute(timing.expression, zone, first, last)

    assert moments(timing, first, last) == expected
    seconds = data.draw(st.integers(min_value=0, max_value=12 * 3600))
    somewhere = first + timedelta(seconds=seconds, microseconds=data.draw(st.sampled_from([0, 1])))
    before = [moment for moment in expected if moment <= somewhere]
    assert timing.next_after(somewhere) == min(
        (moment for moment in expected if moment > somewhere), default=timing.next_after(last)
    )
    assert not before or timing.last_until(somewhere) == before[-1]


@pytest.mark.parametrize("timing", [cron("* * * * *"), cron("0-59 0-23 * * *"), Interval(timedelta(seconds=1))])
def test_the_last_moment_of_400_days_is_found_at_once(timing: Timing, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    step = CronSim.__next__

    def count(self: CronSim) -> datetime:
        nonlocal steps
        steps += 1
        return step(self)

    monkeypatch.setattr(CronSim, "__next__", count)
    for now in (datetime(2027, 2, 5, 8, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 3, 10, 30, tzinfo=UTC)):
        last = timing.last_until(now)

        assert last is not None
        assert now - timedelta(minutes=1) < last <= now
    assert steps < 1000


def test_intervals_are_counted_from_one_beginning_so_that_every_process_has_the_same() -> None:
    timing = interval_timing(timedelta(minutes=90), what="it")
    found = moments(timing, datetime(2026, 1, 1, 5, 59, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))

    assert found[0] == datetime(2026, 1, 1, 6, tzinfo=UTC)
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=90)}
    assert timing.last_until(found[3]) == found[3]
    assert timing.last_until(found[3] - timedelta(microseconds=1)) == found[2]
    assert (timing.text, Interval(timedelta(seconds=1.5)).text) == ("every 5400 s", "every 1.5 s")


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "0 field"),
        ("0 6 * *", "4 field"),
        ("0 0 6 * * mon", "6 field"),
        ("@daily", "1 field"),
        ("60 6 * * *", "minute cannot be read"),
        ("0 25 * * *", "hour cannot be read"),
        ("0 6 32 * *", "day-of-month cannot be read"),
        ("0 6 * 13 *", "month cannot be read"),
        ("0 6 * * monday", "day-of-week cannot be read"),
        ("0 6 30 2 *", "day-of-month cannot be read"),
        ("*/0 6 * * *", "minute cannot be read"),
    ],
)
def test_a_cron_expression_that_cannot_be_read_is_refused_with_what_is_wrong(expression: str, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        cron(expression)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="0123456789*/,-#LW monfriJAN?", max_size=24))
def test_whatever_is_written_as_a_cron_expression_works_or_is_refused(text: str) -> None:
    try:
        timing = cron(text)
    except DefinitionError:
        return
    assert timing.next_after(datetime(2026, 1, 1, tzinfo=UTC)) > datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "Europe", "", "../etc/passwd", "/etc/passwd", "CEST+1"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(DefinitionError, match="IANA name"):
        cron("0 6 * * *", zone)


@pytest.mark.parametrize("every", [timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=999)])
def test_an_interval_below_a_second_is_refused(every: timedelta) -> None:
    with pytest.raises(DefinitionError, match="a second or more"):
        interval_timing(every, what="it")
