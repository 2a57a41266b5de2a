"""What is done again and again goes on whatever it raises, and says so once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from toolkit.clock import SystemClock
from toolkit.periodic import Periodic


class CountedClock(SystemClock):
    """A clock on which every pause is over at once."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


async def test_it_goes_on_whatever_is_raised_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    raised: list[Exception | None] = [None, OSError("away"), OSError("still away"), KeyError("odd"), None, None]
    is_done = asyncio.Event()

    async def work() -> None:
        if not raised:
            is_done.set()
        elif error := raised.pop(0):
            raise error

    clock = CountedClock()
    periodic = Periodic("count", work, seconds=7, clock=clock)
    await periodic.open()
    await is_done.wait()
    await periodic.close()

    said = [(vars(record)["event"], vars(record)["periodic"]) for record in caplog.records]
    failed, recovered = ("periodic.failed", "count"), ("periodic.recovered", "count")
    assert said == [failed, failed, recovered]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError, KeyError]
    assert set(clock.pauses) == {7}


async def test_it_is_stopped_in_the_middle_of_a_turn_and_opened_again() -> None:
    began = asyncio.Queue[str]()

    async def work() -> None:
        await began.put("a turn")
        await asyncio.Event().wait()

    periodic = Periodic("stand", work, seconds=0, clock=CountedClock())
    for _ in range(2):
        await periodic.open()
        await periodic.open()  # once is enough
        await began.get()
        await periodic.close()
        await periodic.close()
    assert began.empty()


async def test_it_may_begin_late() -> None:
    clock = CountedClock()
    pauses_before: list[int] = []
    is_done = asyncio.Event()

    async def work() -> None:
        pauses_before.append(len(clock.pauses))
        is_done.set()

    periodic = Periodic("wait", work, seconds=3, clock=clock, is_begun_late=True)
    await periodic.open()
    await is_done.wait()
    await periodic.close()
    assert pauses_before[0] == 1
