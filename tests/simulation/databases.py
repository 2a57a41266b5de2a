"""One database in memory for all processes of a history; the way to it may be slow, fail, or lose the word of a commit."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from tests.simulation.loops import Host, SimulatedClock
from toolkit.storage import Database, OutcomeUnknown, Query, Row, Script, StorageUnavailable
from toolkit.storage.schema import statements_of
from toolkit.storage.sqlite import look, transact
from toolkit.workflows import tables
from toolkit.workflows.states import FINAL, MOVES

if TYPE_CHECKING:
    from toolkit.storage.sessions import Sessions

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
CREATE TRIGGER stale_step BEFORE INSERT ON toolkit_step WHEN new.path NOT LIKE 'continued/%'
AND new.epoch NOT IN (SELECT epoch + j.value FROM toolkit_run, json_each('[0, 1]') AS j WHERE toolkit_run.id = new.run_id)
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
# What the programs write beside the engine's own tables: entries of sessions, and questions to people.
_OWN_TABLES = """
CREATE TABLE ledger (id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, label TEXT NOT NULL);
CREATE TABLE question (id TEXT PRIMARY KEY, wait_id TEXT NOT NULL, run_id TEXT NOT NULL, state TEXT NOT NULL);
"""


# What a history writes to.
_WRITTEN = {"breach", "ledger", "question"} | {
    str(table.__tablename__) for table in vars(tables).values() if hasattr(table, "__tablename__")
}


class Store:
    """The database itself: one connection, on which a transaction takes no time, so that each is alone.

    Only a session of an author's step stays open for a while; ``holder`` is the process that has it, and everybody else
    waits for it, as writers do on SQLite.
    """

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=1024)
        for statement in statements_of("sqlite"):
            self.connection.execute(statement)
        self.connection.executescript(_OWN_TABLES + _GUARDS)
        rows = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self._tables = sorted(name for (name,) in rows if name in _WRITTEN)
        self.holder: Host | None = None

    def clear(self) -> None:
        """Empty every table for the next history; the connection keeps its prepared statements."""
        self.holder = None
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.connection.execute("PRAGMA foreign_keys = OFF")
        for table in self._tables:
            self.connection.execute(f"DELETE FROM {table}")
        self.connection.execute("PRAGMA foreign_keys = ON")

    def let_go(self, host: Host) -> None:
        """The process is dead: what it had begun is rolled back."""
        if self.holder is host:
            self.connection.execute("ROLLBACK")
            self.holder = None

    async def until_free(self) -> None:
        """Wait while another process's session has the database."""
        while self.holder is not None:
            await asyncio.sleep(0.001)


@cache
def store() -> Store:
    """The one of this Python process; histories are played in it one after the other."""
    return Store()


class Weather:
    """How badly the way to the database behaves; ``calm`` ends all faults, not the slowness."""

    def __init__(self, random: Random, *, fault_rate: float, delays: Sequence[float]) -> None:
        self._random = random
        self.fault_rate = fault_rate
        self._delays = delays
        self.is_slow = len(delays) > 1

    def calm(self) -> None:
        self.fault_rate = 0.0

    async def delay(self) -> None:
        if self.is_slow or self._random.random() < 0.7:
            await asyncio.sleep(self._random.choice(self._delays))

    def strikes(self) -> bool:
        return self.fault_rate > 0.0 and self._random.random() < self.fault_rate

    def pick(self, *choices: str) -> str:
        return self._random.choice(choices)


class SlowConnection:
    """A connection whose calls take virtual time before and after they happen, and sometimes fail."""

    def __init__(self, *, weather: Weather, committed: Callable[[], None]) -> None:
        self._store = store()
        self._weather, self._committed = weather, committed
        self._turn = asyncio.Lock()

    async def run(self, script: Script[T], *, in_own_task: bool = True) -> T:
        return await (_uninterrupted(self._run(script)) if self._weather.is_slow else self._run(script))

    async def read(self, query: Query) -> Sequence[Row]:
        return await (_uninterrupted(self._read(query)) if self._weather.is_slow else self._read(query))

    async def close(self) -> None:
        """The store stays."""

    async def _run(self, script: Script[T]) -> T:
        async with self._turn:
            await self._weather.delay()
            await self._store.until_free()
            fault = self._weather.pick("away", "lost", "kept") if self._weather.strikes() else ""
            if fault == "away":
                script.close()
                raise StorageUnavailable("simulated: the database is away")
            if fault == "lost":
                script.close()
                raise OutcomeUnknown("simulated: the connection broke, nothing was kept")
            before = self._store.connection.total_changes
            value = transact(self._store.connection, script)
            if self._store.connection.total_changes != before:
                self._committed()
            await self._weather.delay()
            if fault == "kept":
                raise OutcomeUnknown("simulated: the connection broke, everything was kept")
            return value

    async def _read(self, query: Query) -> Sequence[Row]:
        async with self._turn:
            await self._weather.delay()
            await self._store.until_free()
            if self._weather.strikes():
                raise StorageUnavailable("simulated: the database is away")
            rows = look(self._store.connection, query)
            await self._weather.delay()
            return rows


async def _uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """As the real drivers: whoever is cancelled does not cut the work short."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(task)


class SimulatedDatabase(Database):
    """The database as one process sees it: connections of its own to what all share."""

    def __init__(self, *, host: Host, weather: Weather, clock: SimulatedClock, committed: Callable[[], None]) -> None:
        super().__init__("sqlite:///simulated.db", clock=clock)
        self._host, self._weather, self.note_commit = host, weather, committed

    async def open(self) -> None:
        self._writer = SlowConnection(weather=self._weather, committed=self.note_commit)
        self._reader = SlowConnection(weather=self._weather, committed=lambda: None)

    @property
    def sessions(self) -> Sessions:
        if self._sessions is None:
            from tests.simulation.drivers import simulated_sessions

            self._sessions = simulated_sessions(self, host=self._host, weather=self._weather, store=store())
        return self._sessions
