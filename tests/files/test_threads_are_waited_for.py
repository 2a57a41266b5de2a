"""Work in threads keeps its order, says what went wrong, and is never left alone with a file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial

import pytest

from toolkit.files.threads import Lane, in_thread, read_ahead


async def test_blocks_are_taken_in_order_and_all_of_them() -> None:
    taken: list[bytes] = []
    lane = Lane(taken.append)

    for number in range(1000):
        await lane.put(str(number).encode())
    await lane.drain()

    assert taken == [str(number).encode() for number in range(1000)]


async def test_a_caller_waits_when_too_much_is_waiting() -> None:
    may_go_on, taken = threading.Event(), list[int]()

    def take(block: bytes) -> None:
        may_go_on.wait(10)
        taken.append(len(block))

    lane = Lane(take)
    await lane.put(b"first")
    await lane.put(bytes(1024 * 1024))
    filling = asyncio.create_task(lane.put(bytes(1024 * 1024)))
    await asyncio.sleep(0)

    assert not filling.done()
    may_go_on.set()
    await filling
    await lane.drain()
    assert taken == [5, 1024 * 1024, 1024 * 1024]


async def test_an_error_is_heard_and_nothing_is_taken_after_it() -> None:
    taken: list[bytes] = []

    def take(block: bytes) -> None:
        if block == b"bad":
            raise OSError("disk full")
        taken.append(block)

    lane = Lane(take)
    with pytest.raises(OSError, match="disk full"):
        for block in (b"good", b"bad", b"late"):
            await lane.put(block)
        await lane.drain()
    await lane.settle()

    assert taken == [b"good"]


async def test_a_cancelled_caller_goes_on_only_when_the_thread_is_done() -> None:
    began, may_end, has_ended = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(began.set)
        may_end.wait(10)
        has_ended.set()

    task = asyncio.create_task(in_thread(work))
    await began.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()  # asked twice, it still waits
    may_end.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert has_ended.is_set()


async def test_reading_ahead_keeps_the_order_and_reads_one_further() -> None:
    made: list[int] = []

    def call(number: int) -> int:
        made.append(number)
        return number

    calls: list[Callable[[], int]] = [partial(call, number) for number in range(5)]
    found = [number async for number in read_ahead(iter(calls))]
    assert found == made == [0, 1, 2, 3, 4]

    made.clear()
    ahead = read_ahead(iter(calls))
    assert await anext(ahead) == 0
    await ahead.aclose()
    assert made == [0, 1]


async def test_an_error_while_reading_ahead_comes_in_its_place() -> None:
    calls: list[Callable[[], int]] = [lambda: 1, lambda: 1 // 0, lambda: 3]
    found = []

    with pytest.raises(ZeroDivisionError):
        async for number in read_ahead(iter(calls)):
            found.append(number)  # noqa: PERF401 - what came before the error counts

    assert found == [1]
