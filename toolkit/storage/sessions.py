"""Sessions of SQLModel for the rooms and for authors, on the same database as the engine.

On SQLite a session begins no transaction before its first write; then it takes the ticket that it shares with the
engine's writer and begins as a writer. Beginning late keeps the engine moving while a session only reads, and beginning
as a writer cannot fail half-way with "database is locked". Reads before the first write are snapshots of their own, as
under READ COMMITTED.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.errors import SessionError
from toolkit.storage.connections import OutcomeUnknown, StorageUnavailable
from toolkit.storage.sqlite import is_passing_refusal

if TYPE_CHECKING:
    from toolkit.storage.database import Database

logger = logging.getLogger(__name__)

_REPORT_SECONDS, _LONGEST_SECONDS = 1.0, 5.0
_READING = ("SELECT", "PRAGMA", "EXPLAIN", "VALUES")


class Sessions:
    """Makes sessions for one database."""

    def __init__(self, database: Database) -> None:
        self.engine = _sqlite_engine(database) if database.dialect == "sqlite" else _postgresql_engine(database)
        # Where column types look for it: each engine has a dialect of its own, so two installations do not meet.
        self.engine.sync_engine.dialect.payloads = database.payloads  # type: ignore[attr-defined]

    def open(self) -> AsyncSession:
        """A session that writes nothing before it is told to: a flush is explicit or belongs to the commit."""
        return AsyncSession(self.engine, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A session that commits at the end of the block, or rolls back.

        Raises:
            StorageUnavailable: the database was away, full or busy; nothing was kept.
            OutcomeUnknown: it went away during the commit.
        """
        is_committing = False
        try:
            async with self.open() as session:
                yield session
                is_committing = True
                await uninterrupted(session.commit())
        except Exception as error:
            if not is_passing(error):
                raise
            if is_committing:
                raise OutcomeUnknown(f"the database went away during a commit: {error}") from error
            raise StorageUnavailable(f"the database could not be used: {error}") from error

    async def close(self) -> None:
        await self.engine.dispose()


def is_passing(error: BaseException) -> bool:
    """Whether an error of a session says that the database is away, full or busy: nothing was kept, and the same work
    may succeed later.
    """
    if isinstance(error, DBAPIError):
        if isinstance(error.orig, sqlite3.Error):
            return is_passing_refusal(error.orig)
        return error.connection_invalidated or _is_passing_state(error.orig)
    if isinstance(error, OSError):
        return _comes_from_the_driver(error)
    # While a connection is opened, SQLAlchemy passes on what the driver raises as it is.
    is_drivers = type(error).__module__.startswith("asyncpg.")
    return is_drivers and (_is_passing_state(error) or "connection is closed" in str(error))


def _is_passing_state(error: BaseException | None) -> bool:
    return str(getattr(error, "sqlstate", None) or "").startswith(("08", "53", "57P"))


def _comes_from_the_driver(error: OSError) -> bool:
    """Whether the driver passed on what the network said; an author's own calls may say the same."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith("asyncpg."):
            return True
        trace = trace.tb_next
    return False


async def uninterrupted(commit: Coroutine[Any, Any, None]) -> None:
    """Await a commit to its end even when the caller is cancelled: cut short, its outcome would be unknown."""
    task = asyncio.ensure_future(commit)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):  # asked again; the first asking is raised when the commit is through
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen; the canceller is not waiting for it
        raise


def _postgresql_engine(database: Database) -> AsyncEngine:
    parts = urlsplit(database.url)
    return create_async_engine(
        urlunsplit(parts._replace(scheme="postgresql+asyncpg")),
        connect_args={"server_settings": {"application_name": "toolkit sessions", "timezone": "UTC"}},
        pool_size=8,
        max_overflow=24,
        pool_pre_ping=True,  # a server that was restarted leaves dead connections in the pool
        hide_parameters=True,  # errors are logged, and values may be what a document says
    )


def _sqlite_engine(database: Database) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+toolkit:///{database.path}",
        connect_args={"isolation_level": None, "timeout": 30},
        pool_size=8,
        max_overflow=24,
        hide_parameters=True,
    )
    turns = _Turns(database.ticket)
    dialect = engine.sync_engine.dialect
    assert isinstance(dialect, TurnTakingDialect)
    dialect.turns = turns

    def configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA synchronous={database.synchronous}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    def before_execute(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.lstrip()[:10].upper().startswith(_READING):
            turns.take(connection.connection.driver_connection)

    event.listen(engine.sync_engine, "connect", configure)
    event.listen(engine.sync_engine, "before_cursor_execute", before_execute)
    event.listen(engine.sync_engine, "close", lambda connection, _: turns.give_back(connection.driver_connection))
    return engine


class TurnTakingDialect(SQLiteDialect_aiosqlite):
    """aiosqlite, with the end of each transaction giving back its turn to write."""

    driver = "toolkit"
    supports_statement_cache = True
    turns: _Turns

    def do_commit(self, dbapi_connection: Any) -> None:
        self.turns.check(dbapi_connection.driver_connection)
        try:
            super().do_commit(dbapi_connection)  # type: ignore[no-untyped-call]
        except BaseException:
            self.do_rollback(dbapi_connection)  # its transaction is still open, and SQLAlchemy takes it for ended
            raise
        self.turns.give_back(dbapi_connection.driver_connection)

    def do_rollback(self, dbapi_connection: Any) -> None:
        try:
            super().do_rollback(dbapi_connection)  # type: ignore[no-untyped-call]
        finally:
            self.turns.give_back(dbapi_connection.driver_connection)


registry.register("sqlite.toolkit", __name__, "TurnTakingDialect")


class _Turns:
    """Who may write: one connection at a time, from its first write to the end of its transaction."""

    def __init__(self, ticket: asyncio.Lock) -> None:
        self._ticket = ticket
        self._timers: dict[Any, list[asyncio.TimerHandle]] = {}
        self._overrun: dict[Any, asyncio.Future[Any]] = {}

    def take(self, driver: Any) -> None:
        """Wait for the turn and begin as a writer; nothing to do for a connection that has it."""
        self.check(driver)
        if driver in self._timers:
            return
        await_only(self._ticket.acquire())
        try:
            await_only(driver.execute("BEGIN IMMEDIATE"))
        except BaseException:
            self._ticket.release()
            raise
        self._set_timers(driver)

    def _set_timers(self, driver: Any) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _LONGEST_SECONDS
        self._timers[driver] = [
            loop.call_later(_REPORT_SECONDS, _report),
            loop.call_at(due, self._end_turn, driver, due),
        ]

    def check(self, driver: Any) -> None:
        """Raise if this connection's transaction was taken from it."""
        if driver in self._overrun:
            raise SessionError(
                f"this session held up every writer of the database for {_LONGEST_SECONDS:g} s after a flush and was "
                "rolled back; do slow work before the first flush, or in a step of its own"
            )

    def give_back(self, driver: Any) -> None:
        """End the turn of ``driver``, if it has one."""
        self._overrun.pop(driver, None)
        timers = self._timers.pop(driver, None)
        if timers is None:
            return
        for timer in timers:
            timer.cancel()
        self._ticket.release()

    def _end_turn(self, driver: Any, due: float) -> None:
        if asyncio.get_running_loop().time() - due > _REPORT_SECONDS:
            self._set_timers(driver)  # the whole process stood still, which is not this session's fault
        else:
            self._stop(driver)

    def _stop(self, driver: Any) -> None:
        # The rollback is queued on the connection's own thread, behind whatever it is doing.
        rollback = asyncio.ensure_future(driver.rollback())
        self._overrun[driver] = rollback
        rollback.add_done_callback(lambda _: self._let_go(driver))

    def _let_go(self, driver: Any) -> None:
        if self._timers.pop(driver, None) is not None:
            self._ticket.release()


def _report() -> None:
    logger.warning(
        "A session has held up every writer for a second; flush late and await nothing slow after it",
        extra={"event": "session.slow", "seconds": _REPORT_SECONDS},
    )
