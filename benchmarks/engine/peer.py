"""The same workloads on DBOS, with its defaults: ``python -m benchmarks.engine.peer WORKLOAD URL``.

DBOS is called as its documentation shows, on the event loop. Where it polls, the moments at which it is asked to wake
up are spread over its interval.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from dbos import DBOS, DBOSConfig
from pydantic import BaseModel

from benchmarks.engine import sizes
from benchmarks.engine.figures import Figures, a_millisecond, per_step, resident_bytes, spread
from toolkit.garbage import collect_rarely

_POLL_SECONDS = 1.0
_FOR_EVER = 3600


class Reading(BaseModel):
    number: int
    note: str = ""


@DBOS.step()
async def add_one(reading: Reading) -> Reading:
    return Reading(number=reading.number + 1, note=reading.note)


@DBOS.workflow()
async def five_steps(reading: Reading) -> Reading:
    for _ in range(sizes.STEPS):
        reading = await add_one(reading)
    return reading


@DBOS.workflow()
async def waits() -> str:
    return str(await DBOS.recv_async("go", timeout_seconds=_FOR_EVER))


@DBOS.workflow()
async def many_steps(steps: int) -> list[float]:
    reading, took = Reading(number=0), []
    for _ in range(steps):
        began = perf_counter()
        reading = await add_one(reading)
        took.append(perf_counter() - began)
    return took


about_to_wait: asyncio.Queue[None] = asyncio.Queue()


@DBOS.workflow()
async def many_steps_and_waits(steps: int) -> list[float]:
    reading, took = Reading(number=0), []
    for at in range(1, steps + 1):
        began = perf_counter()
        reading = await add_one(reading)
        if at % sizes.STEPS_A_WAIT == 0:
            about_to_wait.put_nowait(None)
            await DBOS.recv_async("go", timeout_seconds=_FOR_EVER)
        took.append(perf_counter() - began)
    return took


@DBOS.workflow()
async def child(number: int) -> int:
    return (await add_one(Reading(number=number))).number


@DBOS.workflow()
async def parent(children: int) -> int:
    handles = [await DBOS.start_workflow_async(child, number) for number in range(children)]
    return len([await handle.get_result() for handle in handles])


async def one_run() -> None:
    handle = await DBOS.start_workflow_async(five_steps, Reading(number=1))
    await handle.get_result()


async def throughput() -> Figures:
    began = perf_counter()
    await asyncio.gather(*(one_run() for _ in range(sizes.THROUGHPUT_RUNS)))
    return {"steps_per_second": sizes.THROUGHPUT_RUNS * sizes.STEPS / (perf_counter() - began)}


async def latency() -> Figures:
    took = []
    for _ in range(sizes.LATENCY_RUNS):
        began = perf_counter()
        await one_run()
        took.append(perf_counter() - began)
    return spread(took)


async def wakeup() -> Figures:
    took = []
    for _ in range(sizes.PEER_WAKEUPS):
        handle = await DBOS.start_workflow_async(waits)
        await asyncio.sleep(0.05 + random.random() * _POLL_SECONDS)
        began = perf_counter()
        await DBOS.send_async(handle.workflow_id, "go on", "go")
        await handle.get_result()
        took.append(perf_counter() - began)
    return spread(took)


async def waiting() -> Figures:
    before = resident_bytes()
    began = perf_counter()
    handles: list[Any] = await asyncio.gather(
        *(DBOS.start_workflow_async(waits) for _ in range(sizes.PEER_WAITING_RUNS))
    )
    started_in = perf_counter() - began
    await asyncio.sleep(2 * _POLL_SECONDS)
    grown = resident_bytes() - before
    began = perf_counter()
    await asyncio.gather(*(DBOS.send_async(handle.workflow_id, "yes", "go") for handle in handles))
    await asyncio.gather(*(handle.get_result() for handle in handles))
    completed_in = perf_counter() - began
    return {
        "starts_per_second": sizes.PEER_WAITING_RUNS / started_in,
        "completions_per_second": sizes.PEER_WAITING_RUNS / completed_in,
        "bytes_per_run": grown / sizes.PEER_WAITING_RUNS,
    }


async def long() -> Figures:
    began = perf_counter()
    handle = await DBOS.start_workflow_async(many_steps, sizes.LONG_STEPS)
    return per_step(await handle.get_result(), perf_counter() - began)


async def long_wait() -> Figures:
    began = perf_counter()
    handle = await DBOS.start_workflow_async(many_steps_and_waits, sizes.PEER_LONG_WAIT_STEPS)
    for _ in range(sizes.PEER_LONG_WAIT_STEPS // sizes.STEPS_A_WAIT):
        await about_to_wait.get()
        await a_millisecond()
        await DBOS.send_async(handle.workflow_id, "go on", "go")
    return per_step(await handle.get_result(), perf_counter() - began)


async def fanout() -> Figures:
    began = perf_counter()
    handle = await DBOS.start_workflow_async(parent, sizes.CHILDREN)
    assert await handle.get_result() == sizes.CHILDREN
    return {"children_per_second": sizes.CHILDREN / (perf_counter() - began)}


MEASURES: dict[str, Callable[[], Awaitable[Figures]]] = {
    measure.__name__: measure for measure in (throughput, latency, wakeup, waiting, long, long_wait, fanout)
}


async def main(workload: str, url: str) -> None:
    config: DBOSConfig = {"name": "benchmark", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    await asyncio.gather(*(one_run() for _ in range(20)))
    collect_rarely()  # as in our own process: what is compared is not Python's garbage collector
    print(json.dumps(await MEASURES[workload]()), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
