"""One SQLite file for all processes of a history; a connection may be slow, fail, or lose the word of a commit."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.simulation.loops import SimulatedClock
from toolkit.storage import Database, OutcomeUnknown, Query, Row, Script, StorageUnavailable
from toolkit.storage.schema import HEAD, statements_of
from toolkit.storage.sqlite import InlineConnection
from toolkit.workflows.states import FINAL, MOVES

T = TypeVar("T")

# What must hold in every transaction, whoever writes: a breach is noted beside the row and found at the end.
_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL))
_MOVES = " OR ".join(
    f"(old.state = '{source}' AND new.state IN ({', '.join(repr(str(target)) for target in sorted(targets))}))"
    for source, targets in MOVES.items()
    if targets
)
_GUARDS = f"""
CREATE TABLE breach (what TEXT, run_id TEXT, detail TEXT);
CREATE TRIGGER succeeded_step_changed BEFORE UPDATE ON toolkit_step WHEN old.state = 'succeeded'
BEGIN INSERT INTO breach VALUES ('a succeeded step was changed', old.run_id, old.path || ' to ' || new.state); END;
CREATE TRIGGER failed_step_reopened BEFORE UPDATE ON toolkit_step WHEN old.state = 'failed' AND new.state = 'running'
BEGIN INSERT INTO breach VALUES ('a failed step became running', old.run_id, old.path); END;
CREATE TRIGGER step_after_end BEFORE INSERT ON toolkit_step
WHEN (SELECT state FROM toolkit_run WHERE id = new.run_id) IN ({_FINAL})
BEGIN INSERT INTO breach VALUES ('a step was written after the end of its run', new.run_id, new.path); END;
CREATE TRIGGER stale_step BEFORE INSERT ON toolkit_step
WHEN new.epoch NOT IN (SELECT epoch + j.value FROM toolkit_run, json_each('[0, 1]') AS j WHERE toolkit_run.id = new.run_id)
BEGIN INSERT INTO breach VALUES ('a step was written in an old epoch', new.run_id, new.path || ' ' || new.state || ' ' || new.epoch); END;
CREATE TRIGGER finished_run_changed BEFORE UPDATE ON toolkit_run WHEN old.state IN ({_FINAL})
BEGIN INSERT INTO breach VALUES ('a finished run was changed', old.id, old.state || ' to ' || new.state); END;
CREATE TRIGGER epoch_went_back BEFORE UPDATE ON toolkit_run WHEN new.epoch < old.epoch
BEGIN INSERT INTO breach VALUES ('an epoch went back', old.id, old.epoch || ' to ' || new.epoch); END;
CREATE TRIGGER illegal_move BEFORE UPDATE ON toolkit_run WHEN old.state <> new.state AND NOT ({_MOVES})
BEGIN INSERT INTO breach VALUES ('an illegal move', old.id, old.state || ' to ' || new.state); END;
CREATE TRIGGER wait_reopened BEFORE UPDATE ON toolkit_wait WHEN old.state NOT IN ('open', 'resolved')
AND old.state <> new.state
BEGIN INSERT INTO breach VALUES ('an ended wait was changed', old.run_id, old.path || ' ' || old.state); END;
"""


@cache
def _template() -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE toolkit_schema (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.execute(f"INSERT INTO toolkit_schema (version_num) VALUES ('{HEAD}')")
    for statement in statements_of("sqlite"):
        connection.execute(statement)
    connection.executescript(_GUARDS)
    return connection.serialize()


def new_file() -> Path:
    """A database file with the toolkit's tables and our guards, in memory where the machine offers that."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory if memory.is_dir() else None))
    path = folder / "toolkit.db"
    path.write_bytes(_template())
    return path


def remove_file(path: Path) -> None:
    """Remove what :func:`new_file` made."""
    shutil.rmtree(path.parent, ignore_errors=True)


class Weather:
    """How badly the way to the database behaves; ``calm`` ends all faults."""

    def __init__(self, random: Random, *, fault_rate: float) -> None:
        self._random = random
        self.fault_rate = fault_rate

    def calm(self) -> None:
        self.fault_rate = 0.0

    async def delay(self) -> None:
        await asyncio.sleep(self._random.choice((0.0, 0.0, 0.001, 0.01, 0.05)))

    def strikes(self) -> bool:
        return self._random.random() < self.fault_rate

    def pick(self, *choices: str) -> str:
        return self._random.choice(choices)


class SlowConnection:
    """A connection whose calls take virtual time before and after they happen, and sometimes fail."""

    def __init__(self, path: Path, *, weather: Weather, committed: Callable[[], None]) -> None:
        self._inner = InlineConnection(path, synchronous="OFF")
        self._weather, self._committed = weather, committed
        self._turn = asyncio.Lock()

    async def run(self, script: Script[T]) -> T:
        return await _uninterrupted(self._run(script))

    async def read(self, query: Query) -> Sequence[Row]:
        return await _uninterrupted(self._read(query))

    async def close(self) -> None:
        await self._inner.close()

    async def _run(self, script: Script[T]) -> T:
        async with self._turn:
            await self._weather.delay()
            fault = self._weather.pick("away", "lost", "kept") if self._weather.strikes() else ""
            if fault == "away":
                script.close()
                raise StorageUnavailable("simulated: the database is away")
            if fault == "lost":
                script.close()
                raise OutcomeUnknown("simulated: the connection broke, nothing was kept")
            before = self._inner._connection.total_changes
            value = await self._inner.run(script)
            if self._inner._connection.total_changes != before:
                self._committed()
            await self._weather.delay()
            if fault == "kept":
                raise OutcomeUnknown("simulated: the connection broke, everything was kept")
            return value

    async def _read(self, query: Query) -> Sequence[Row]:
        async with self._turn:
            await self._weather.delay()
            if self._weather.strikes():
                raise StorageUnavailable("simulated: the database is away")
            rows = await self._inner.read(query)
            await self._weather.delay()
            return rows


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """As the real drivers: whoever is cancelled does not cut the work short."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


class SimulatedDatabase(Database):
    """The database as one process sees it: connections of its own to the file that all share."""

    def __init__(self, path: Path, *, weather: Weather, clock: SimulatedClock, committed: Callable[[], None]) -> None:
        super().__init__(f"sqlite:///{path}", clock=clock)
        self._weather, self._committed = weather, committed

    async def open(self) -> None:
        self._writer = SlowConnection(self.path, weather=self._weather, committed=self._committed)
        self._reader = SlowConnection(self.path, weather=self._weather, committed=lambda: None)
