"""SQLite: a thread that owns one plain connection.

WAL with ``synchronous=FULL`` by default: what was committed survives a power cut. Every transaction that will write
begins as a writer (``BEGIN IMMEDIATE``); one that reads first and then wants to write fails with "database is locked"
however long it is willing to wait.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

from toolkit.errors import StorageError
from toolkit.storage.connections import DataRejected, Outcome, OutcomeUnknown, StorageUnavailable
from toolkit.storage.payloads import Payloads
from toolkit.storage.statements import ROWS_AT_ONCE, Query, Request, Row, Script, Together, adapt

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

logger = logging.getLogger(__name__)

# How often an idle writer looks whether another process has committed; one look takes about 2 microseconds.
_WATCH_SECONDS = 0.02
_BUSY_SECONDS = 30.0

# Errors that may pass without a change of the statement: the disk, the memory, another process.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


def connect(path: Path, *, synchronous: str = "FULL") -> sqlite3.Connection:
    """A connection as this toolkit uses it: WAL, foreign keys, our own transactions.

    Raises:
        StorageError: the file system does not support WAL.
    """
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=_BUSY_SECONDS
        )
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"SQLite cannot use {str(path)!r}: {error}") from error
    if mode != "wal":
        connection.close()
        raise StorageError(
            f"SQLite could not use write-ahead logging for {str(path)!r} (it is {mode!r}); "
            "put the file on a local disk, or use PostgreSQL"
        )
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.create_function("toolkit_lower", 1, lambda text: text and text.lower(), deterministic=True)
    return connection


def transact(connection: sqlite3.Connection, script: Script[T], payloads: Payloads | None = None) -> T:
    """Run ``script`` in one write transaction on ``connection``, here and now."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        script.close()
        raise StorageUnavailable(f"SQLite did not begin a transaction: {error}") from error
    try:
        value = _advance(connection, script, payloads)
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise _as_storage_error(error) from error
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:  # a commit that failed cleanly can be taken back, and then nothing was kept
            connection.execute("ROLLBACK")
            raise StorageUnavailable(f"SQLite did not commit: {error}") from error
        raise OutcomeUnknown(f"SQLite failed during a commit: {error}") from error
    return value


def _advance(connection: sqlite3.Connection, script: Script[T], payloads: Payloads | None) -> T:
    try:
        request = next(script)
        while True:
            if payloads is None:
                request = script.send(perform(connection, request))
            else:
                request = script.send(payloads.decoded(perform(connection, payloads.encoded(request))))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def look(connection: sqlite3.Connection, query: Query, payloads: Payloads | None = None) -> list[Row]:
    """The rows of one reading statement, outside a transaction."""
    try:
        rows = perform(connection, query)
    except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
        raise _as_storage_error(error) from error
    return rows if payloads is None else payloads.decoded(rows)


def perform(connection: sqlite3.Connection, request: Request) -> list[Row]:
    """Execute one request of a script."""
    if isinstance(request, Query):
        return connection.execute(request.statement.sqlite, adapt(request.parameters)).fetchall()
    if isinstance(request, Together):
        return [row for part in request.requests for row in perform(connection, part)]
    statement, rows = request.statement, [adapt(row) for row in request.rows]
    returned: list[Row] = []
    at = 0
    if statement.sqlite_many is not None:
        while len(rows) - at >= ROWS_AT_ONCE:
            values = list(chain.from_iterable(rows[at : at + ROWS_AT_ONCE]))
            returned += connection.execute(statement.sqlite_many, values)
            at += ROWS_AT_ONCE
    for row in rows[at:]:
        returned += connection.execute(statement.sqlite, row)
    return returned


def is_passing_refusal(error: sqlite3.Error) -> bool:
    """Whether SQLite may take the same statement later; what Python's module refuses by itself has no code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _PASSING


def _as_storage_error(error: BaseException) -> BaseException:
    if isinstance(error, sqlite3.OperationalError) and is_passing_refusal(error):
        return StorageUnavailable(f"SQLite refused: {error}")
    if isinstance(error, sqlite3.Error | OverflowError | UnicodeEncodeError):
        return DataRejected(f"SQLite refused: {error}")
    return error


class SqliteConnection:
    """A connection in a thread of its own; the event loop never waits for the disk."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str = "FULL",
        on_foreign_commit: Callable[[], None] | None = None,
        payloads: Payloads | None = None,
    ) -> None:
        """``on_foreign_commit`` is called on the event loop after another process (or connection) has committed.

        ``payloads`` are encoded and decoded on the connection's own thread.
        """
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Job, Callable[[Any, BaseException | None], None]] | None] = (
            queue.SimpleQueue()
        )
        self._on_foreign_commit = on_foreign_commit
        self._payloads = payloads
        self._connection = connect(path, synchronous=synchronous)
        self._thread = threading.Thread(target=self._serve, name="toolkit-sqlite", daemon=True)
        self._thread.start()

    async def run(self, script: Script[T], *, in_own_task: bool = True) -> T:
        return cast("T", await self._submit(lambda connection: transact(connection, script, self._payloads)))

    async def read(self, query: Query) -> Sequence[Row]:
        return cast("list[Row]", await self._submit(lambda connection: look(connection, query, self._payloads)))

    def run_blocking(self, script: Script[T]) -> T:
        """Like :meth:`run`, for another thread (the heartbeat); waits there."""
        done = threading.Event()
        box: list[Any] = [None, None]

        def settle(value: Any, error: BaseException | None) -> None:
            box[:] = value, error
            done.set()

        self._jobs.put((lambda connection: transact(connection, script, self._payloads), settle))
        done.wait()
        if box[1] is not None:
            raise box[1]
        return box[0]  # type: ignore[no-any-return]

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._connection.close()

    async def _submit(self, job: Job) -> Any:
        future = Outcome(loop=self._loop)

        def settle(value: Any, error: BaseException | None) -> None:
            if self._loop.is_closed():
                return  # nobody is left to hear of it
            self._loop.call_soon_threadsafe(_resolve, future, value, error)

        self._jobs.put((job, settle))
        return await future

    def _serve(self) -> None:
        version = self._data_version()
        while True:
            try:
                entry = self._jobs.get(timeout=_WATCH_SECONDS if self._on_foreign_commit else None)
            except queue.Empty:
                seen = self._data_version()
                if seen != version and self._on_foreign_commit and not self._loop.is_closed():
                    version = seen
                    self._loop.call_soon_threadsafe(self._on_foreign_commit)
                continue
            if entry is None:
                return
            job, settle = entry
            try:
                value = job(self._connection)
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, who is on another thread
                settle(None, error)
            else:
                settle(value, None)

    def _data_version(self) -> int:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)


def _resolve(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


class InlineConnection:
    """The same promises without a thread, for simulation and for tools that have no event loop to spare."""

    def __init__(self, path: Path, *, synchronous: str = "FULL", payloads: Payloads | None = None) -> None:
        self._connection = connect(path, synchronous=synchronous)
        self._payloads = payloads

    async def run(self, script: Script[T], *, in_own_task: bool = True) -> T:
        return transact(self._connection, script, self._payloads)

    async def read(self, query: Query) -> Sequence[Row]:
        return look(self._connection, query, self._payloads)

    async def close(self) -> None:
        self._connection.close()
