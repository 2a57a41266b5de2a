"""What the storm's workers run, what it leaves in the database and outside, and what must hold of both."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from toolkit.errors import StorageError, WaitTimeout
from toolkit.storage import Database
from toolkit.workflows import (
    Engine,
    EngineOptions,
    RunState,
    gather,
    get_session,
    step,
    step_context,
    suspend,
    wait_for_event,
    workflow,
)

LEASE_SECONDS = 1.0
IN_FLIGHT = 60
_BOOKINGS = 4


class Outside:
    """The world that no transaction reaches: a file in which every effect and every first line of a step is a line."""

    def __init__(self) -> None:
        self._file: int | None = None

    def open(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *fields: object) -> None:
        assert self._file is not None
        os.write(self._file, (json.dumps([*fields]) + "\n").encode())  # one write, so lines of two processes do not mix


outside = Outside()


def _begin() -> str:
    context = step_context()
    assert context is not None
    outside.write("begin", context.run_id, context.path, time.time(), os.getpid())
    return context.idempotency_key


@step()
async def book(number: int, cents: int) -> int:
    """Writes to the database, in the transaction of the step's own checkpoint."""
    key = _begin()
    await asyncio.sleep(0.005)  # so long that a process can be ended in the middle
    connection = await get_session().connection()
    await connection.execute(
        text("INSERT INTO ledger (key, cents) VALUES (:key, :cents)"), {"key": key, "cents": cents}
    )
    return cents


@step()
async def send(number: int, letter: str) -> str:
    """Does something outside."""
    outside.write("send", number, letter, _begin())
    await asyncio.sleep(0.005)  # so long that a process can be ended in the middle
    return letter


@workflow()
async def review(number: int) -> str:
    await suspend(interval=0.05)
    return await send(number, "review")


@workflow()
async def settle(number: int) -> int:
    total = 0
    for cents in range(1, _BOOKINGS + 1):
        total += await book(number, cents)
    await gather(send(number, "left"), send(number, "right"), suspend(interval=0.1))
    await review(number)
    with suppress(WaitTimeout):
        await wait_for_event(f"go-{number % 7}", max_wait_time=0.1)
    return total


def make_engine(database: Database, *, is_worker: bool) -> Engine:
    """An engine whose leases are short; losses park nobody, because here they are the processes' fault."""
    options = EngineOptions(
        lease_seconds=LEASE_SECONDS,
        poll_seconds=0.1,
        concurrency=20,
        max_losses=10_000,
        max_total_losses=100_000,
        is_worker=is_worker,
    )
    return Engine(database, workflows=[settle, review], options=options)


async def work(url: str, folder: Path) -> None:
    """A worker, until it is ended."""
    outside.open(folder / "outside.jsonl")
    database = Database(url)
    await _persist(database.open)
    await make_engine(database, is_worker=True).open()
    await asyncio.Event().wait()


async def _persist(act: object) -> None:
    """Do ``act`` though the database may be away when it is first asked."""
    while True:
        try:
            return await act()  # type: ignore[operator,no-any-return]
        except StorageError:
            await asyncio.sleep(0.05)  # a server says nothing when it comes back


@dataclass
class Report:
    """What the client saw and what stands in the database at the end."""

    finished: int = 0
    steps: int = 0
    sent: int = 0
    sent_again: int = 0
    faults: list[str] = field(default_factory=list)


async def start_runs(url: str, folder: Path) -> None:
    """The client: keeps runs in flight until the file ``enough`` is there, waits for their ends and judges them."""
    outside.open(folder / "outside.jsonl")
    database = Database(url)
    await _persist(database.open)
    async with database.session() as session:
        await (await session.connection()).execute(text("CREATE TABLE IF NOT EXISTS ledger (key TEXT, cents INTEGER)"))
    engine = make_engine(database, is_worker=False)
    await engine.open()
    (folder / "ready").touch()
    started: dict[int, str] = {}
    under_way: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        while True:
            try:
                run = await engine.start(settle, number, idempotency_key=f"run-{number}")
                started[number] = run.id
                await run.result()
            except StorageError:
                await asyncio.sleep(0.05)  # the key sees that it is started once
            else:
                return

    number = 0
    while not (folder / "enough").exists():
        while len(under_way) < IN_FLIGHT:
            under_way.add(asyncio.create_task(one(number)))
            number += 1
        done, under_way = await asyncio.wait(under_way, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        (folder / "progress").write_text(str(number - len(under_way)), encoding="utf-8")
    if under_way:
        async with asyncio.timeout(120):
            await asyncio.gather(*under_way)
    report = await _judge(database, started, folder)
    (folder / "report.json").write_text(json.dumps(vars(report)), encoding="utf-8")
    await engine.close()
    await database.close()


async def _judge(database: Database, started: dict[int, str], folder: Path) -> Report:
    report = Report(finished=len(started))
    async with database.session() as session:
        connection = await session.connection()
        runs = (await connection.execute(text("SELECT id, workflow, state, result FROM toolkit_run"))).all()
        steps = (
            await connection.execute(text("SELECT run_id, path, ended_at FROM toolkit_step WHERE kind = 'compute'"))
        ).all()
        booked = Counter((await connection.execute(text("SELECT key FROM ledger"))).scalars().all())
    report.steps = len(steps)
    expected = sum(range(1, _BOOKINGS + 1))
    for id_, name, state, result in runs:
        if state != RunState.SUCCEEDED or (name == "settle" and result != str(expected)):
            report.faults.append(f"run {id_} of {name} is {state} with {result}")
    for id_ in started.values():
        for at in range(_BOOKINGS):
            if (times := booked.pop(f"{id_}:book/{at}", 0)) != 1:
                report.faults.append(f"booking {at} of run {id_} stands {times} times in the ledger")
    report.faults += [f"nobody's booking {key}" for key in booked]
    ended = {(run_id, path): _seconds(moment) for run_id, path, moment in steps}
    keys: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    just_released: set[int] = set()
    for line in (folder / "outside.jsonl").read_text(encoding="utf-8").splitlines():
        match json.loads(line):
            case ["goes on", pid]:
                just_released.add(pid)
            case ["begin", run_id, path, at, pid]:
                # Held up between its look at the lease and this line, a process cannot know; the next one it begins
                # it has looked for.
                may_not_know = pid in just_released
                just_released.discard(pid)
                if at > ended.get((run_id, path), at) and not may_not_know:
                    report.faults.append(f"step {path} of run {run_id} began after its checkpoint")
            case ["send", number, letter, key]:
                keys[number, letter].append(key)
    for number in started:
        for letter in ("left", "right", "review"):
            found = keys[number, letter]
            report.sent += 1
            report.sent_again += len(found) - 1
            if len(set(found)) != 1:
                report.faults.append(f"letter {letter!r} of {number} was sent with {len(set(found))} keys")
    return report


def _seconds(moment: object) -> float:
    from toolkit.storage import read_moment

    read = read_moment(moment)
    assert read is not None
    return read.timestamp()
