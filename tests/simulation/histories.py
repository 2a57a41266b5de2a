"""One history: a few processes on one database, runs to play, faults on the way, and what must hold at the end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

from tests.simulation import loops, outcomes, programs
from tests.simulation.authors import Author
from tests.simulation.databases import SimulatedDatabase, Weather, store
from tests.simulation.judges import Judge
from tests.simulation.loops import Host, SimulatedClock, SimulatedLoop
from toolkit.errors import RunStateError, StorageError
from toolkit.workflows import Engine, EngineOptions, Runtime, attempts

_LEASE = 6.0
_LONGEST_PAUSE = 0.8  # between two attempts, in memory: the engine's own is longer than a history
_TROUBLE_SECONDS = (0.5, 1.5, 3.0, 8.0)
_LONGEST_SECONDS = 300.0
# How often a process hears that another has committed; whoever does not hear it looks from time to time.
_HEARING = (0.9, 0.9, 0.3)


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
    store().clear()
    # Not drawn: the histories without them are what they were before there were any.
    history = _History(random, has_schedule=seed % 6 == 0, has_deep_sections=seed % 4 == 3)
    with patch.object(attempts, "LONGEST_PAUSE", _LONGEST_PAUSE):
        loop = loops.run(random, history.play)
    return Report(seed, history.judge.faults + loop.complaints, history.trace, loop.time())


@dataclass
class Process:
    """One engine and its connections, as one operating system's process has them."""

    host: Host
    engine: Engine
    database: SimulatedDatabase
    gone: asyncio.Future[None]
    # It was held up for longer than its lease, or nearly.
    has_lapsed: bool = False
    is_ready: bool = False


@dataclass
class Root:
    """A run that the history started."""

    program: programs.Program
    key: str
    id: str | None = None
    is_cancelled: bool = False
    may_be_cancelled: bool = False


@dataclass
class _History:
    random: Random
    has_schedule: bool = False
    has_deep_sections: bool = False
    trace: list[str] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    buried: list[Process] = field(default_factory=list)
    roots: list[Root] = field(default_factory=list)
    drivers: list[asyncio.Future[None]] = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        self.store = store()
        self.judge = Judge(self.store.connection, self.roots, self.everybody, self._note, longest_lag=3 * _LEASE)

    def everybody(self) -> list[Process]:
        """Every process that there was."""
        return [*self.processes, *self.buried]

    async def play(self, loop: SimulatedLoop) -> None:
        random, self.loop = self.random, loop
        self.clock = SimulatedClock(loop)
        self.judge.loop = loop
        self.weather = Weather(
            random,
            fault_rate=random.choice((0.0, 0.0, 0.01, 0.05)),
            delays=random.choice(((0.0,), (0.0,), (0.0, 0.0, 0.001), (0.0, 0.0, 0.001, 0.01, 0.05))),
        )
        self.hearing = random.choice(_HEARING)
        self.has_sessions = random.random() < 0.15
        self.options = EngineOptions(
            lease_seconds=_LEASE,
            poll_seconds=random.choice((1.0, 3.0)),
            concurrency=random.choice((1, 2, 1000)),
            warm_bytes=random.choice((0, 15_000, 24_000_000)),
            max_losses=10_000,
            max_total_losses=10_000,
        )
        log = _Complaints(self.judge)
        logging.getLogger("toolkit").addHandler(log)
        try:
            with self.judge.watching():
                await self._play()
        finally:
            log.is_over = True
            for process in self.everybody():
                for execution in [*process.engine.residents.running.values(), *process.engine.residents.warm.values()]:
                    execution.is_dead = True
                await loop.bury(process.host)
                await process.database.close()
            logging.getLogger("toolkit").removeHandler(log)

    async def _play(self) -> None:
        random = self.random
        for _ in range(random.choice((1, 1, 2, 2, 3))):
            self._start_process()
        author = Author(random, has_sessions=self.has_sessions, has_deep_sections=self.has_deep_sections)
        self.roots += [Root(author.program(), key=f"root-{at}") for at in range(random.choice((1, 1, 2, 3)))]
        self.drivers += [asyncio.ensure_future(self._drive(root)) for root in self.roots]
        self.drivers.append(asyncio.ensure_future(self._tell_news()))
        people = asyncio.ensure_future(self._answer_questions()) if self.has_sessions else None
        await self._make_trouble()
        self.weather.calm()
        if not self._alive():
            self._start_process()
        self._note("calm")
        try:
            async with asyncio.timeout_at(_LONGEST_SECONDS):
                await asyncio.gather(*self.drivers)
                if self.has_schedule:  # its runs would never end
                    await self._pause_schedule()
                while self.judge.unfinished():
                    await asyncio.sleep(0.2)
        except TimeoutError:
            for driver in self.drivers:
                driver.cancel()
            self.judge.find(f"unfinished: {self.judge.unfinished()} at {self.loop.time():.0f} s")
        if people is not None:
            people.cancel()
        await asyncio.sleep(random.choice((0.5, 0.5, 0.5, 2 * _LEASE)))
        self.judge.decide([process for process in self._alive() if process.host.is_running])

    # Processes -----------------------------------------------------------------------------------------------------

    def _start_process(self) -> None:
        self.made += 1
        host = Host(f"p{self.made}")
        self._note(f"start {host.name}")
        database = SimulatedDatabase(
            host=host, weather=self.weather, clock=self.clock, committed=lambda: self._committed(process)
        )
        runtime = Runtime(
            clock=self.clock,
            random=Random(self.random.getrandbits(64)),
            in_thread=_inline,
            has_threads=False,
        )
        engine = Engine(database, workflows=[programs.play], options=self.options, runtime=runtime)
        engine.closers[programs.QUESTION] = programs.close_questions
        if self.has_schedule:
            engine.register_schedule(programs.ticking())
        process = Process(host, engine, database, gone=self.loop.create_future())
        self.processes.append(process)
        self.loop.spawn_on(host, self._open(process))

    async def _open(self, process: Process) -> None:
        await process.database.open()
        while True:
            with suppress(StorageError):
                await process.engine.open()
                process.is_ready = True
                return
            await asyncio.sleep(0.5)

    def _alive(self) -> list[Process]:
        return [process for process in self.processes if process.host.is_alive]

    def _committed(self, by: Process) -> None:
        """Other processes notice a commit soon, as the file tells them; sometimes they do not."""
        for other in self._alive():
            if other is not by and self.random.random() < self.hearing:
                self.loop.call_later(self.random.choice((0.0, 0.01, 0.05)), self._poke, other)

    def _poke(self, process: Process) -> None:
        if process.host.is_alive:
            process.database.on_foreign_commit()

    def _crash(self, process: Process) -> None:
        self._note(f"crash {process.host.name}")
        self.loop.kill(process.host)
        self.store.let_go(process.host)
        self.processes.remove(process)
        self.buried.append(process)
        self.judge.forget_bodies(process.engine.worker_id)
        process.gone.set_result(None)

    async def _close(self, process: Process) -> None:
        """An orderly end, as at a deployment."""
        if process not in self.processes:
            return
        self._note(f"close {process.host.name}")
        self.processes.remove(process)
        self.buried.append(process)
        task = self.loop.spawn_on(process.host, process.engine.close())
        await asyncio.wait([task], timeout=60.0)
        if not task.done():
            self.judge.find(f"{process.host.name} did not close within a minute")
        elif task.exception() is not None:
            self.judge.find(f"close failed: {task.exception()!r}")
        await asyncio.sleep(1.0)  # reads under way may end
        left = process.host.tasks
        if task.done() and left and not self.weather.fault_rate:
            self.judge.find(f"closing left tasks behind: {left[:3]}")
        self.loop.kill(process.host)
        self.store.let_go(process.host)
        process.gone.set_result(None)

    # Trouble -------------------------------------------------------------------------------------------------------

    async def _make_trouble(self) -> None:
        kinds = self.random.choice(
            (["crash"], ["pause"], ["evict"], ["close"], ["crash", "pause", "evict", "close"], [])
        )
        closing: list[asyncio.Task[None]] = []
        end = self.random.choice(_TROUBLE_SECONDS)
        while kinds and self.loop.time() < end and not self._is_over():
            await asyncio.sleep(self.random.choice((0.0, 0.003, 0.02, 0.1, 0.3, 1.0)))
            alive = self._alive()
            if not alive or (len(alive) < 3 and self.random.random() < 0.3):
                self._start_process()
                continue
            process = self.random.choice(alive)
            match self.random.choice(kinds):
                case "crash":
                    if self.random.random() < 0.4:
                        await self._until_a_body_ends(process)
                    if process in self.processes:  # and has not begun to close meanwhile
                        self._crash(process)
                case "pause" if self.store.holder is not process.host:  # a held database would hold up everybody
                    seconds = self.random.choice(
                        (0.5, _LEASE * 0.8, self.random.uniform(_LEASE * 0.9, _LEASE * 1.5), _LEASE * 1.7)
                    )
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
        while kinds and self.loop.time() < end and not self._is_over():
            await asyncio.sleep(0.5)

    async def _until_a_body_ends(self, process: Process) -> None:
        """Between the end of a step's body and its checkpoint there is the most to lose."""
        ended = self.loop.create_future()
        wanted = "book/" if self.has_sessions else ""  # what writes to the database has more to lose

        def observe(moment: str, worker_id: str, body: str, attempt: int) -> None:
            is_it = moment == "end" and worker_id == process.engine.worker_id and wanted in body
            if is_it and not ended.done():
                ended.set_result(None)

        programs.observers.append(observe)
        try:
            await asyncio.wait([ended], timeout=0.5)
        finally:
            programs.observers.remove(observe)
        for _ in range(self.random.choice((0, 2, 5, 10, 20))):  # turns of the event loop, which take no time
            await asyncio.sleep(0.0)
        await asyncio.sleep(self.random.choice((0.0, 0.0, 0.001, 0.01)))

    def _is_over(self) -> bool:
        is_quiet = self.has_schedule or not self.judge.unfinished()
        return all(driver.done() for driver in self.drivers) and is_quiet

    # What people and other programs do -----------------------------------------------------------------------------

    async def _ask(self, make: Callable[[Engine], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any] | None:
        """The ended task of ``make(engine)`` in some process; ``None`` if that process was not there, or died."""
        while not (alive := self._alive()):
            await asyncio.sleep(0.5)
        process = self.random.choice(alive)
        if not process.engine.is_open:
            await asyncio.sleep(0.2)
            return None
        task = self.loop.spawn_on(process.host, make(process.engine))
        await asyncio.wait([task, process.gone], return_when=asyncio.FIRST_COMPLETED)
        return task if task.done() else None

    async def _insist(self, make: Callable[[Engine], Coroutine[Any, Any, Any]]) -> Any:
        """The outcome of ``make(engine)``, asked for until some process has given it; ``None`` for a run that has ended."""
        while True:
            task = await self._ask(make)
            if task is not None and task.exception() is None:
                return task.result()
            if task is not None and isinstance(task.exception(), RunStateError):
                return None
            await asyncio.sleep(0.1)

    async def _drive(self, root: Root) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.0, 0.1, 0.5, 2.0)))
        starters = [asyncio.ensure_future(self._start(root)) for _ in range(self.random.choice((1, 1, 2)))]
        ids = set(await asyncio.gather(*starters))
        if len(ids) > 1:
            self.judge.find(f"one key started {ids}")
        root.id = ids.pop()
        self._note(f"{root.key} is {root.id}")
        works = [
            self._emit_all(key, n, root.id)
            for key, n in sorted(outcomes.keys_awaited(root.program).items())
            if key.startswith("own")
        ]
        if self.random.random() < 0.3:
            works.append(self._cancel(root, root.id))
        if self.random.random() < 0.15:
            works.append(self._hold_up(root.id))
        await asyncio.gather(*works)

    async def _start(self, root: Root) -> str:
        handle = await self._insist(lambda engine: engine.start(programs.play, root.program, idempotency_key=root.key))
        return str(handle.id)

    async def _tell_news(self) -> None:
        wanted: Counter[str] = Counter()
        for root in self.roots:
            for program in (root.program, *outcomes.runs_below(root.program)):
                wanted |= outcomes.keys_awaited(program)
        works = [self._emit_all(key, n, None) for key, n in sorted(wanted.items()) if key.startswith(("news", "late"))]
        await asyncio.gather(*works)

    async def _emit_all(self, key: str, count: int, run_id: str | None) -> None:
        for number in range(1, count + 1):
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.01, 0.1, 0.6)))
            await self._emit(key, number, run_id)

    async def _emit(self, key: str, number: int, run_id: str | None) -> None:
        """Emit once, however often it is asked for: the idempotency key says so."""
        once = f"{run_id} {number}"
        await self._insist(lambda engine: engine.emit_event(key, number, run_id=run_id, idempotency_key=once))

    async def _cancel(self, root: Root, run_id: str) -> None:
        await asyncio.sleep(self.random.choice((0.0, 0.02, 0.2, 1.0)))
        root.may_be_cancelled = True
        if await self._insist(lambda engine: engine.cancel(run_id)) is not None:
            root.is_cancelled = True
            self._note(f"cancelled {run_id}")

    async def _hold_up(self, run_id: str) -> None:
        """An operator pauses a run and lets it go on later."""
        await asyncio.sleep(self.random.choice((0.0, 0.05, 0.5)))
        self._note(f"hold up {run_id}")
        await self._insist(lambda engine: engine.control.pause(run_id))
        await asyncio.sleep(self.random.choice((0.1, 1.0, 1.0, 4 * _LEASE)))
        self._note(f"let go on {run_id}")
        await self._insist(lambda engine: engine.control.resume(run_id))

    async def _answer_questions(self) -> None:
        """People: each open question gets its answer, in a transaction with what else is written about it."""
        while True:
            await asyncio.sleep(self.random.choice((0.02, 0.1, 0.4)))
            rows = self.store.connection.execute("SELECT id, wait_id FROM question WHERE state = 'open' ORDER BY id")
            for id_, wait_id in rows.fetchall():
                if self.random.random() < 0.5:
                    task = await self._ask(partial(programs.answer, id_=id_, wait_id=wait_id))
                    if task is not None and not isinstance(task.exception(), StorageError | None):
                        task.result()  # whatever else went wrong ends the history

    async def _pause_schedule(self) -> None:
        """Until it is paused: a process that was slow to begin may not have written it down yet."""
        while not self.store.connection.execute(
            "SELECT 1 FROM toolkit_schedule WHERE paused_at IS NOT NULL"
        ).fetchall():
            await self._insist(lambda engine: engine.schedules.pause("tick"))
            await asyncio.sleep(0.1)

    def _note(self, text: str) -> None:
        self.trace.append(f"{self.loop.time():10.3f} {text}")


class _Complaints(logging.Handler):
    """An error in the log is a fault."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(logging.ERROR)
        self._judge = judge
        self.is_over = False  # what processes say while they are taken down is nobody's news

    def emit(self, record: logging.LogRecord) -> None:
        if self.is_over:
            return
        text = f"{record.getMessage()} {getattr(record, 'reason', '')}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._judge.find(f"logged: {text}")


async def _evict_one(engine: Engine, random: Random) -> None:
    warm = sorted(engine.residents.warm)
    if warm:
        engine.residents._evict_warm(random.choice(warm))


async def _inline(call: Any) -> Any:
    return call()


__all__ = ["Report", "play_history"]
