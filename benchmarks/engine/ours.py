"""The workloads on this engine: ``python -m benchmarks.engine.ours WORKLOAD URL`` prints its figures as a JSON line."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from pydantic import BaseModel

from benchmarks.engine import sizes
from benchmarks.engine.figures import Figures, a_millisecond, per_step, resident_bytes, spread
from toolkit.garbage import collect_rarely
from toolkit.storage import Database, Query, both
from toolkit.workflows import Engine, Workflow, gather, step, wait_for_event, workflow


class Reading(BaseModel):
    number: int
    note: str = ""


@step()
async def add_one(reading: Reading) -> Reading:
    return Reading(number=reading.number + 1, note=reading.note)


@workflow()
async def five_steps(reading: Reading) -> Reading:
    for _ in range(sizes.STEPS):
        reading = await add_one(reading)
    return reading


@workflow()
async def waits(key: str) -> str:
    return await wait_for_event(key, payload_type=str)


@workflow()
async def many_steps(steps: int) -> list[float]:
    """How long each step took, in seconds."""
    reading, took = Reading(number=0), []
    for _ in range(steps):
        began = perf_counter()
        reading = await add_one(reading)
        took.append(perf_counter() - began)
    return took


about_to_wait: asyncio.Queue[None] = asyncio.Queue()


@workflow()
async def many_steps_and_waits(steps: int) -> list[float]:
    reading, took = Reading(number=0), []
    for at in range(1, steps + 1):
        began = perf_counter()
        reading = await add_one(reading)
        if at % sizes.STEPS_A_WAIT == 0:
            about_to_wait.put_nowait(None)
            await wait_for_event("go")
        took.append(perf_counter() - began)
    return took


@workflow()
async def child(number: int) -> int:
    return (await add_one(Reading(number=number))).number


@workflow()
async def parent(children: int) -> int:
    return len(await gather(*(child(number) for number in range(children))))


WORKFLOWS: list[Workflow[..., Any]] = [five_steps, waits, many_steps, many_steps_and_waits, child, parent]


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Engine]:
    """An engine with its defaults in a process that serves for long, warmed up: every statement has been prepared."""
    database = Database(url)
    await database.open()
    engine = Engine(database, workflows=WORKFLOWS)
    await engine.open()
    await asyncio.gather(*(one_run(engine) for _ in range(20)))
    collect_rarely()
    yield engine
    await engine.close()
    await database.close()


async def one_run(engine: Engine) -> None:
    handle = await engine.start(five_steps, Reading(number=1))
    await handle.result()


async def throughput(engine: Engine) -> Figures:
    began = perf_counter()
    await asyncio.gather(*(one_run(engine) for _ in range(sizes.THROUGHPUT_RUNS)))
    return {"steps_per_second": sizes.THROUGHPUT_RUNS * sizes.STEPS / (perf_counter() - began)}


async def latency(engine: Engine) -> Figures:
    took = []
    for _ in range(sizes.LATENCY_RUNS):
        began = perf_counter()
        await one_run(engine)
        took.append(perf_counter() - began)
    return spread(took)


async def wakeup(engine: Engine) -> Figures:
    took = []
    for at in range(sizes.WAKEUPS):
        handle = await engine.start(waits, f"wakeup-{at}")
        await asyncio.sleep(0.005 + random.random() * 0.005)
        began = perf_counter()
        await engine.emit_event(f"wakeup-{at}", "go on")
        await handle.result()
        took.append(perf_counter() - began)
    return spread(took)


async def waiting(engine: Engine) -> Figures:
    """Rounds of runs: what the last adds to memory is what a run costs when the caches, ours and SQLite's, are full."""
    for at in range(5):
        await start_waiting(engine, f"warm-{at}", sizes.WAITING_RUNS)
    before, first = resident_bytes(), engine.new_id()
    started_in = await start_waiting(engine, "measured", sizes.WAITING_RUNS)
    grown = resident_bytes() - before
    began = perf_counter()
    await asyncio.gather(*(engine.emit_event(f"measured-{at}", "yes") for at in range(sizes.WAITING_RUNS)))
    await until(engine, sizes.WAITING_RUNS, "succeeded", first)
    completed_in = perf_counter() - began
    return {
        "starts_per_second": sizes.WAITING_RUNS / started_in,
        "completions_per_second": sizes.WAITING_RUNS / completed_in,
        "bytes_per_run": grown / sizes.WAITING_RUNS,
    }


async def start_waiting(engine: Engine, key: str, runs: int) -> float:
    """Seconds until that many runs more are started and wait."""
    first = engine.new_id()
    began = perf_counter()
    await asyncio.gather(*(engine.start(waits, f"{key}-{at}") for at in range(runs)))
    await until(engine, runs, "suspended", first)
    return perf_counter() - began


_COUNT = both("benchmark count", "SELECT count(*) FROM toolkit_run WHERE state = $1 AND id > $2")


async def until(engine: Engine, runs: int, state: str, first: str) -> None:
    """Return when that many of the runs since ``first``, an id, are in ``state``: the database is what tells."""
    while (await engine.read(Query(_COUNT, [state, first])))[0][0] < runs:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def long(engine: Engine) -> Figures:
    began = perf_counter()
    handle = await engine.start(many_steps, sizes.LONG_STEPS)
    took = await handle.result()
    return per_step(took, perf_counter() - began)


async def long_wait(engine: Engine) -> Figures:
    began = perf_counter()
    handle = await engine.start(many_steps_and_waits, sizes.LONG_WAIT_STEPS)
    for _ in range(sizes.LONG_WAIT_STEPS // sizes.STEPS_A_WAIT):
        await about_to_wait.get()
        await a_millisecond()
        await engine.emit_event("go", run_id=handle.id)
    took = await handle.result()
    return per_step(took, perf_counter() - began)


async def fanout(engine: Engine) -> Figures:
    began = perf_counter()
    handle = await engine.start(parent, sizes.CHILDREN)
    assert await handle.result() == sizes.CHILDREN
    return {"children_per_second": sizes.CHILDREN / (perf_counter() - began)}


MEASURES: dict[str, Callable[[Engine], Awaitable[Figures]]] = {
    measure.__name__: measure for measure in (throughput, latency, wakeup, waiting, long, long_wait, fanout)
}


async def main(workload: str, url: str) -> None:
    async with running(url) as engine:
        print(json.dumps(await MEASURES[workload](engine)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
