"""One history: a few processes on one database, runs to play, faults on the way, and what must hold at the end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.simulation import loops, programs
from tests.simulation.databases import SimulatedDatabase, Weather, new_file, remove_file
from tests.simulation.loops import Host, SimulatedClock, SimulatedLoop
from toolkit.errors import RunStateError, StorageError
from toolkit.workflows import Engine, EngineOptions, RunState, Runtime
from toolkit.workflows.states import FINAL

_LEASE = 6.0
_TROUBLE_SECONDS = 60.0
_LONGEST_SECONDS = 600.0


@dataclass
class Report:
    """What a history came to: its faults (none is the hope), a trace of it, and a digest of the trace."""

    seed: int
    faults: list[str]
    trace: list[str]
    seconds: float

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


def play_history(seed: int) -> Report:
    """Play the history of ``seed`` to its end."""
    random = Random(seed)
    path = new_file()
    history = _History(random, path)
    try:
        loop = loops.run(random, history.play)
        return Report(seed, history.faults + loop.complaints, history.trace, loop.time())
    finally:
        history.observer.close()
        remove_file(path)


@dataclass
class _Process:
    host: Host
    engine: Engine
    database: SimulatedDatabase
    gone: asyncio.Future[None]
    # It was held up for longer than its lease, or nearly.
    has_lapsed: bool = False
    is_ready: bool = False


@dataclass
class _Root:
    """A run that the history started."""

    program: programs.Program
    key: str
    id: str | None = None
    is_cancelled: bool = False
    may_be_cancelled: bool = False


@dataclass
class _History:
    random: Random
    path: Path
    faults: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    processes: list[_Process] = field(default_factory=list)
    buried: list[_Process] = field(default_factory=list)
    bodies: dict[str, tuple[str, int]] = field(default_factory=dict)
    roots: list[_Root] = field(default_factory=list)
    made: int = 0

    async def play(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.clock = SimulatedClock(loop)
        self.weather = Weather(self.random, fault_rate=self.random.choice((0.0, 0.0, 0.01, 0.05)))
        self.observer = sqlite3.connect(self.path, isolation_level=None)
        self.options = EngineOptions(
            lease_seconds=_LEASE,
            poll_seconds=self.random.choice((1.0, 3.0)),
            concurrency=self.random.choice((1, 2, 1000)),
            warm_bytes=self.random.choice((0, 15_000, 24_000_000)),
            max_losses=10_000,
            max_total_losses=10_000,
        )
        programs.observers.append(self._observe)
        log = _Complaints(self)
        logging.getLogger("toolkit").addHandler(log)
        try:
            await self._play()
        finally:
            programs.observers.remove(self._observe)
            logging.getLogger("toolkit").removeHandler(log)
            for process in [*self.processes, *self.buried]:
                for execution in [*process.engine.residents.running.values(), *process.engine.residents.warm.values()]:
                    execution.is_dead = True
                await loop.bury(process.host)
                await process.database.close()

    async def _play(self) -> None:
        for _ in range(self.random.choice((1, 2, 3))):
            self._start_process()
        author = programs.Author(self.random)
        self.roots = [_Root(author.program(), key=f"root-{at}") for at in range(self.random.randint(1, 4))]
        drivers = [asyncio.ensure_future(self._drive(root)) for root in self.roots]
        drivers.append(asyncio.ensure_future(self._tell_news()))
        trouble = asyncio.ensure_future(self._make_trouble())
        await asyncio.wait([trouble])
        trouble.result()
        self.weather.calm()
        if not self._alive():
            self._start_process()
        self._note("calm")
        try:
            async with asyncio.timeout_at(_LONGEST_SECONDS):
                await asyncio.gather(*drivers)
                while self._unfinished():
                    await asyncio.sleep(1.0)
        except TimeoutError:
            for driver in drivers:
                driver.cancel()
            self.faults.append(f"unfinished: {self._unfinished()} at {self.loop.time():.0f} s")
        await asyncio.sleep(2 * _LEASE)
        self._judge()

    # Processes -----------------------------------------------------------------------------------------------------

    def _start_process(self) -> None:
        self.made += 1
        host = Host(f"p{self.made}")
        self._note(f"start {host.name}")
        database = SimulatedDatabase(
            self.path, weather=self.weather, clock=self.clock, committed=lambda: self._committed(process)
        )
        runtime = Runtime(
            clock=self.clock,
            random=Random(self.random.getrandbits(64)),
            in_thread=_inline,
            has_threads=False,
        )
        engine = Engine(database, workflows=[programs.play], options=self.options, runtime=runtime)
        process = _Process(host, engine, database, gone=self.loop.create_future())
        self.processes.append(process)
        self.loop.spawn_on(host, self._open(process))

    async def _open(self, process: _Process) -> None:
        await process.database.open()
        while True:
            with suppress(StorageError):
                await process.engine.open()
                process.is_ready = True
                return
            await asyncio.sleep(0.5)

    def _alive(self) -> list[_Process]:
        return [process for process in self.processes if process.host.is_alive]

    def _committed(self, by: _Process) -> None:
        """Other processes notice a commit soon, as the file tells them; sometimes they do not."""
        for other in self._alive():
            if other is not by and self.random.random() < 0.9:
                self.loop.call_later(self.random.choice((0.0, 0.01, 0.05)), self._poke, other)

    def _poke(self, process: _Process) -> None:
        if process.host.is_alive:
            process.database.on_foreign_commit()

    def _crash(self, process: _Process) -> None:
        self._note(f"crash {process.host.name}")
        self.loop.kill(process.host)
        self.processes.remove(process)
        self.buried.append(process)
        self.bodies = {body: (by, n) for body, (by, n) in self.bodies.items() if by != process.engine.worker_id}
        process.gone.set_result(None)

    async def _close(self, process: _Process) -> None:
        """An orderly end, as at a deployment."""
        if process not in self.processes:
            return
        self._note(f"close {process.host.name}")
        self.processes.remove(process)
        self.buried.append(process)
        task = self.loop.spawn_on(process.host, process.engine.close())
        await asyncio.wait([task], timeout=60.0)
        if not task.done():
            self.faults.append(f"{process.host.name} did not close within a minute")
        elif task.exception() is not None:
            self.faults.append(f"close failed: {task.exception()!r}")
        await asyncio.sleep(1.0)  # reads under way may end
        left = [task for task in process.host.tasks if not task.done()]
        if task.done() and left and not self.weather.fault_rate:
            self.faults.append(f"closing left tasks behind: {left[:3]}")
        self.loop.kill(process.host)
        process.gone.set_result(None)

    # Trouble -------------------------------------------------------------------------------------------------------

    async def _make_trouble(self) -> None:
        kinds = self.random.choice(
            (["crash"], ["pause"], ["evict"], ["close"], ["crash", "pause", "evict", "close"], [])
        )
        closing: list[asyncio.Task[None]] = []
        while kinds and self.loop.time() < _TROUBLE_SECONDS:
            await asyncio.sleep(self.random.choice((0.0, 0.003, 0.05, 0.5, 3.0, 10.0)))
            alive = self._alive()
            if not alive or (len(alive) < 3 and self.random.random() < 0.3):
                self._start_process()
                continue
            process = self.random.choice(alive)
            match self.random.choice(kinds):
                case "crash":
                    self._crash(process)
                case "pause":
                    seconds = self.random.choice((0.5, _LEASE * 0.8, _LEASE * 2.5))
                    self._note(f"pause {process.host.name} {seconds}")
                    process.has_lapsed = process.has_lapsed or seconds > _LEASE / 2
                    self.loop.pause(process.host, seconds)
                    await asyncio.sleep(seconds)
                case "evict":
                    self._note(f"evict {process.host.name}")
                    self.loop.spawn_on(process.host, _evict_one(process.engine, self.random))
                case "close" if process.is_ready:
                    closing.append(asyncio.ensure_future(self._close(process)))
        if closing:
            await asyncio.gather(*closing)
        await asyncio.sleep(max(_TROUBLE_SECONDS - self.loop.time(), 0.0) if kinds else 0.0)

    # What people and other programs do -----------------------------------------------------------------------------

    async def _ask(self, make: Any) -> Any:
        """The outcome of ``make(engine)`` in some process, or the StorageError or None of one that broke or died."""
        while not (alive := self._alive()):
            await asyncio.sleep(0.5)
        process = self.random.choice(alive)
        if not process.engine.is_open:
            await asyncio.sleep(0.2)
            return None
        task = self.loop.spawn_on(process.host, make(process.engine))
        await asyncio.wait([task, process.gone], return_when=asyncio.FIRST_COMPLETED)
        return task if task.done() else None

    async def _drive(self, root: _Root) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.5, 5.0, 30.0)))
        starters = [asyncio.ensure_future(self._start(root)) for _ in range(self.random.choice((1, 1, 2)))]
        ids = set(await asyncio.gather(*starters))
        if len(ids) > 1:
            self.faults.append(f"one key started {ids}")
        root.id = ids.pop()
        self._note(f"{root.key} is {root.id}")
        works = [
            self._emit_all(key, n, root.id)
            for key, n in programs.keys_awaited(root.program).items()
            if key.startswith("own")
        ]
        if self.random.random() < 0.25:
            works.append(self._cancel(root))
        await asyncio.gather(*works)

    async def _start(self, root: _Root) -> str:
        while True:
            task = await self._ask(lambda engine: engine.start(programs.play, root.program, idempotency_key=root.key))
            if task is not None and task.exception() is None:
                return str(task.result().id)
            await asyncio.sleep(0.3)

    async def _tell_news(self) -> None:
        wanted: Counter[str] = Counter()
        for root in self.roots:
            for program in (root.program, *programs.runs_below(root.program)):
                wanted |= programs.keys_awaited(program)
        works = [self._emit_all(key, n, None) for key, n in sorted(wanted.items()) if key.startswith("news")]
        await asyncio.gather(*works)

    async def _emit_all(self, key: str, count: int, run_id: str | None) -> None:
        for number in range(1, count + 1):
            await asyncio.sleep(self.random.choice((0.0, 0.01, 0.7, 6.0)))
            await self._emit(key, number, run_id)

    async def _emit(self, key: str, number: int, run_id: str | None) -> None:
        """Emit once: whose answer was lost looks before it says the same again."""
        while True:
            task = await self._ask(lambda engine: engine.emit_event(key, number, run_id=run_id))
            if task is not None and task.exception() is None:
                return
            await asyncio.sleep(30.0 if task is None else 0.1)  # what a dead or paused process sent may still arrive
            found = self.observer.execute(
                "SELECT 1 FROM toolkit_event WHERE key = ? AND payload = ? AND run_id IS ?", (key, str(number), run_id)
            )
            if found.fetchone():
                return

    async def _cancel(self, root: _Root) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.05, 1.0, 10.0)))
        root.may_be_cancelled = True
        for _ in range(20):
            task = await self._ask(lambda engine: engine.cancel(root.id))
            if task is None:
                return
            if isinstance(task.exception(), RunStateError):
                return
            if task.exception() is None:
                root.is_cancelled = True
                self._note(f"cancelled {root.id}")
                return
            await asyncio.sleep(0.1)

    # What must hold ------------------------------------------------------------------------------------------------

    def _observe(self, moment: str, worker_id: str, body: str, attempt: int) -> None:
        if moment == "end":
            if self.bodies.get(body, ("", 0))[0] == worker_id:
                del self.bodies[body]
            return
        self._note(f"body {body} {attempt}")
        run_id, path = body.split(":", 1)
        process = next((p for p in self.processes + self.buried if p.engine.worker_id == worker_id), None)
        if attempt > 4:
            self.faults.append(f"attempt {attempt} of {path} of {run_id}, at most 4 are allowed")
        if process is None:
            return
        row = self.observer.execute(
            "SELECT state FROM toolkit_step WHERE run_id = ? AND path = ?", (run_id, path)
        ).fetchone()
        if row is not None and row[0] in {"succeeded", "failed"}:
            self.faults.append(f"{path} of {run_id} began again although it is {row[0]}")
        row = self.observer.execute("SELECT state FROM toolkit_run WHERE id = ?", (run_id,)).fetchone()
        if RunState(row[0]) in FINAL:
            self.faults.append(f"{path} of {run_id} began although the run is {row[0]}")
        other = self.bodies.get(body)
        if other is not None and not self._may_linger(other[0]):
            self.faults.append(f"{path} of {run_id} runs twice at once")
        self.bodies[body] = (worker_id, attempt)

    def _may_linger(self, worker_id: str) -> bool:
        """A process that was held up inside the body of a step ends that body whenever it goes on."""
        return any(p.has_lapsed for p in self.processes + self.buried if p.engine.worker_id == worker_id)

    def _unfinished(self) -> list[str]:
        rows = self.observer.execute(
            "SELECT id || ' ' || state FROM toolkit_run WHERE state NOT IN ('succeeded', 'failed', 'cancelled') ORDER BY id"
        )
        return [text for (text,) in rows]

    def _judge(self) -> None:
        rows = self.observer.execute(
            "SELECT id, state, input, result, error, idempotency_key, parent_id FROM toolkit_run"
        )
        runs = {row[0]: row[1:] for row in rows}
        uncertain = {root.id for root in self.roots if root.may_be_cancelled or root.is_cancelled}
        for root in self.roots:
            if root.id is None:
                continue
            state = runs[root.id][0]
            if root.is_cancelled and state != "cancelled":
                self.faults.append(f"cancelled run {root.id} is {state}")
        for run_id, (state, input_, result, error, _, parent) in sorted(runs.items()):
            program = json.loads(input_)["program"]
            if parent is None and run_id not in uncertain:
                expected = "failed" if programs.raises(program) else "succeeded"
                if state != expected:
                    self.faults.append(f"run {run_id} is {state}, expected {expected}: {(error or '')[:300]}")
            if state == "succeeded" and (fault := programs.find_fault(program, json.loads(result))):
                self.faults.append(f"run {run_id}: {fault}")
        for what, query in _NEVER.items():
            for row in self.observer.execute(query).fetchall():
                self.faults.append(f"{what}: {row}")
        for process in self._alive():
            self._judge_memory(process)

    def _judge_memory(self, process: _Process) -> None:
        residents = process.engine.residents
        if self._unfinished():
            return
        if residents.running or residents.active_count:
            self.faults.append(f"{process.host.name} still runs {list(residents.running)} ({residents.active_count})")
        kept = {execution.task for execution in residents.warm.values()}
        for task in process.host.tasks:
            name = getattr(task.get_coro(), "__qualname__", "")
            if not task.done() and task not in kept and name == "perform":
                self.faults.append(f"{process.host.name} leaks the coroutine of a run: {task}")
            if not task.done() and name.endswith("_branch") and not kept:
                self.faults.append(f"{process.host.name} leaks a branch: {task}")

    def _note(self, text: str) -> None:
        self.trace.append(f"{self.loop.time():10.3f} {text}")


_NEVER = {
    "breach": "SELECT what, run_id, detail FROM breach",
    "an open wait of a finished run": """SELECT w.run_id, w.path, w.state FROM toolkit_wait AS w JOIN toolkit_run AS r
        ON r.id = w.run_id WHERE w.state IN ('open', 'resolved') AND r.state IN ('succeeded', 'failed', 'cancelled')""",
    "an event delivered twice to a run": """SELECT run_id, name, event_seq, count(*) FROM toolkit_step
        WHERE event_seq IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "an event without a number": "SELECT id FROM toolkit_event WHERE seq IS NULL",
    "two events of one number": "SELECT key, seq FROM toolkit_event GROUP BY 1, 2 HAVING count(*) > 1",
    "a wait without its checkpoint": """SELECT w.run_id, w.path, w.state FROM toolkit_wait AS w
        WHERE w.state IN ('delivered', 'expired') AND NOT EXISTS (SELECT 1 FROM toolkit_step AS s
        WHERE s.run_id = w.run_id AND s.path = w.path)""",
    "two waits at one place": "SELECT run_id, path, count(*) FROM toolkit_wait GROUP BY 1, 2 HAVING count(*) > 1",
    # Steps of the workflow itself come one after the other: when the next begins, the branches before it are closed.
    "a wait of a branch that was given up before": """SELECT w.run_id, w.path, w.state, n.path FROM toolkit_step AS g
        JOIN toolkit_wait AS w ON w.run_id = g.run_id AND w.path LIKE g.path || '/%'
        JOIN toolkit_step AS n ON n.run_id = g.run_id AND n.started_at > g.ended_at
        WHERE g.name = 'gather' AND g.path NOT LIKE '%/%' AND n.path NOT LIKE 'gather.%' AND n.path NOT LIKE '%/%/%'
        AND (w.ended_at IS NULL OR w.ended_at > n.started_at)""",
    "a parked run": "SELECT id, error FROM toolkit_run WHERE state = 'parked'",
}


class _Complaints(logging.Handler):
    """An error in the log is a fault."""

    def __init__(self, history: _History) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.getMessage()} {getattr(record, 'reason', '')}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._history.faults.append(f"logged: {text}")


async def _evict_one(engine: Engine, random: Random) -> None:
    warm = sorted(engine.residents.warm)
    if warm:
        engine.residents._evict_warm(random.choice(warm))


async def _inline(call: Any) -> Any:
    return call()


__all__ = ["Report", "play_history"]
