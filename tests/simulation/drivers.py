"""SQLAlchemy's asynchronous driver without threads: what `get_session()` stands on inside a history."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import event

from toolkit.storage.sessions import Sessions

if TYPE_CHECKING:
    from tests.simulation.databases import SimulatedDatabase, Store, Weather
    from tests.simulation.loops import Host


def simulated_sessions(database: SimulatedDatabase, *, host: Host, weather: Weather, store: Store) -> Sessions:
    """Sessions as the toolkit makes them, on a driver of our own."""
    sessions = Sessions(database)

    def connect_inline(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["async_creator_fn"] = creator

    async def creator(*_: Any, **__: Any) -> InlineDriver:
        return InlineDriver(store, host=host, weather=weather, committed=database.note_commit)

    event.listen(sessions.engine.sync_engine, "do_connect", connect_inline)
    return sessions


class InlineDriver:
    """A connection of one process to the store, with the methods of aiosqlite's that SQLAlchemy calls.

    Reads outside a transaction see what is committed. From its BEGIN to its end the store is this connection's alone.
    """

    def __init__(self, store: Store, *, host: Host, weather: Weather, committed: Callable[[], None]) -> None:
        self._store, self._host, self._weather, self._committed = store, host, weather, committed
        self._connection = store.connection  # aiosqlite's name: SQLAlchemy asks whether there is one
        self.isolation_level: str | None = None
        self._is_writing = False

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> InlineCursor:
        cursor = InlineCursor(self)
        await cursor.execute(statement, parameters)
        return cursor

    async def perform(self, statement: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        """Run a statement in turn with everybody else."""
        if statement.startswith("PRAGMA"):  # settings of a connection; the store has its own
            return self._connection.execute("SELECT 1 WHERE 0")
        await self._weather.delay()
        if not self._is_writing:
            await self._store.until_free()
        if statement == "BEGIN IMMEDIATE":
            self._is_writing, self._store.holder = True, self._host
        return self._connection.execute(statement, parameters)

    def cursor(self) -> InlineCursor:
        return InlineCursor(self)

    async def commit(self) -> None:
        if not self._is_writing:
            return
        fault = self._weather.pick("lost", "kept") if self._weather.strikes() else ""
        self._end("ROLLBACK" if fault == "lost" else "COMMIT")
        await self._weather.delay()
        if fault:
            error = sqlite3.OperationalError(f"simulated: the disk failed, the commit was {fault}")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

    async def rollback(self) -> None:
        if self._is_writing:
            self._end("ROLLBACK")

    async def close(self) -> None:
        await self.rollback()

    def stop(self) -> None:
        """As aiosqlite: the connection ends now, whatever it is at."""
        if self._is_writing:
            self._end("ROLLBACK")

    async def create_function(self, *_: Any, **__: Any) -> None:
        """SQLAlchemy's own functions are not needed here."""

    def _end(self, how: str) -> None:
        self._is_writing = False
        if self._store.holder is self._host:  # otherwise the process was ended, and its transaction with it
            self._connection.execute(how)
            self._store.holder = None
            if how == "COMMIT":
                self._committed()


class InlineCursor:
    """The results of one statement."""

    arraysize = 1

    def __init__(self, driver: InlineDriver) -> None:
        self._driver = driver
        self._cursor: sqlite3.Cursor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> InlineCursor:
        self._cursor = await self._driver.perform(statement, parameters)
        return self

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> InlineCursor:
        for row in rows:
            await self.execute(statement, row)
        return self

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall() if self._cursor is not None else []

    @property
    def description(self) -> Any:
        return self._cursor.description if self._cursor is not None else None

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount if self._cursor is not None else -1

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid if self._cursor is not None else None

    async def close(self) -> None:
        await asyncio.sleep(0)
