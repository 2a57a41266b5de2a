"""The database of one installation: its address, its connections, its schema and its sessions."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from toolkit.clock import Clock, SystemClock
from toolkit.errors import ConfigurationError, StorageError
from toolkit.storage import schema
from toolkit.storage.connections import Connection
from toolkit.storage.payloads import PayloadCodec, Payloads
from toolkit.storage.statements import Script

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.storage.postgresql import Listener, SideChannel
    from toolkit.storage.sessions import Sessions
    from toolkit.storage.sqlite import SqliteConnection

T = TypeVar("T")

Dialect = Literal["sqlite", "postgresql"]


class Database:
    """One database, SQLite or PostgreSQL. Open it on the event loop that will use it.

    ``url`` is ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``postgresql://user:password@host/name``.
    ``synchronous`` is SQLite's: ``FULL`` survives a power cut, ``NORMAL`` only the end of a process.
    """

    def __init__(
        self,
        url: str,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        clock: Clock | None = None,
        payload_codec: PayloadCodec | None = None,
    ) -> None:
        self.url = url
        self.dialect: Dialect = _dialect_of(url)
        self.synchronous = synchronous
        self.clock: Clock = clock or SystemClock()
        # On PostgreSQL time is the server's, unless a test turns a clock of its own.
        self.is_own_time = self.dialect == "sqlite" or not isinstance(self.clock, SystemClock)
        # Sessions and the engine's writer take turns on SQLite, first come first served: waiting here costs nothing,
        # waiting inside SQLite blocks a thread and starves whoever is unlucky.
        self.ticket = asyncio.Lock()
        self.on_foreign_commit: Callable[[], None] = _nothing
        self.payloads: Payloads | None = None
        if payload_codec is not None:
            self.use_codec(payload_codec)
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._sessions: Sessions | None = None

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return sqlite_path(self.url)

    @property
    def writer(self) -> Connection:
        """The engine's connection; every engine transaction goes through it."""
        assert self._writer is not None, "the database is not open"
        return self._writer

    @property
    def reader(self) -> Connection:
        """A connection for statements that only read."""
        assert self._reader is not None, "the database is not open"
        return self._reader

    def use_codec(self, codec: PayloadCodec) -> None:
        """Encode payloads with ``codec`` from when the database is opened."""
        self.payloads = Payloads(codec)

    async def open(self) -> None:
        """Connect and make the toolkit's tables where they are missing.

        Raises:
            StorageError: the database cannot be used; the message says why.
        """
        if self.dialect == "sqlite":
            from toolkit.storage.sqlite import SqliteConnection

            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"the folder of the database {str(self.path)!r} cannot be made: {error}") from error
            self._writer = SqliteConnection(
                self.path,
                synchronous=self.synchronous,
                on_foreign_commit=self._hear_foreign_commit,
                payloads=self.payloads,
            )
            self._reader = SqliteConnection(self.path, synchronous=self.synchronous, payloads=self.payloads)
        else:
            from toolkit.storage.postgresql import PostgresqlConnection

            self._writer = PostgresqlConnection(
                self.url, application="toolkit engine", plans_once=True, payloads=self.payloads
            )
            self._reader = PostgresqlConnection(self.url, application="toolkit reader", payloads=self.payloads)
        await schema.create(self._writer, self.dialect)

    async def close(self) -> None:
        """Let go of every connection. Nothing may be under way."""
        if self._sessions is not None:
            await self._sessions.close()
            self._sessions = None
        for connection in (self._writer, self._reader):
            if connection is not None:
                await connection.close()
        self._writer = self._reader = None

    @property
    def sessions(self) -> Sessions:
        """The sessions of SQLAlchemy; loaded when first asked for."""
        if self._sessions is None:
            from toolkit.storage.sessions import Sessions

            self._sessions = Sessions(self)
        return self._sessions

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session that commits when the block ends, and rolls back when it ends with an error.

        Keep it short and await nothing slow inside: on SQLite everybody else's writes wait for it.
        """
        async with self.sessions.begin() as session:
            yield session

    async def run(self, script: Script[T], *, in_own_task: bool = True) -> T:
        """Run ``script`` in a transaction of its own, in turn with everybody else here who writes.

        Raises:
            StorageUnavailable, OutcomeUnknown, DataRejected: as for a connection.
        """
        if self.dialect == "sqlite":
            async with self.ticket:
                return await self.writer.run(script)
        return await self.writer.run(script, in_own_task=in_own_task)

    def listener(self, heard: Callable[[], None]) -> Listener | None:
        """On PostgreSQL, what hears other processes; on SQLite the writer's connection notices them itself."""
        if self.dialect == "sqlite":
            return None
        from toolkit.storage.postgresql import Listener

        return Listener(self.url, channel="toolkit", heard=heard)

    def _hear_foreign_commit(self) -> None:
        self.on_foreign_commit()  # whoever has set it since the database was opened

    def side_channel(self) -> SqliteConnection | SideChannel:
        """A blocking way to run scripts from a thread other than the event loop's."""
        if self.dialect == "sqlite":
            return self._writer  # type: ignore[return-value]  # its own thread serves any caller
        from toolkit.storage.postgresql import SideChannel

        return SideChannel(self.url)


def sqlite_path(url: str) -> Path:
    """The file that a ``sqlite:///`` URL names."""
    return Path(url.removeprefix("sqlite:///"))


def _dialect_of(url: str) -> Dialect:
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        _check_file(url.removeprefix("sqlite:///"))
        return "sqlite"
    if scheme in {"postgresql", "postgres"} and separator:
        _check_ports(rest)
        return "postgresql"
    found = (
        f"begins with {scheme!r}"
        if separator and re.fullmatch(r"[A-Za-z][\w+.-]*", scheme)
        else "names no kind of database"
    )
    raise ConfigurationError(
        f"the database URL {found}; expected sqlite:///path/to/file.db or postgresql://user:password@host/name",
        key="database.url",
    )


def _check_file(path: str) -> None:
    """Refuse what the engine and the sessions would not read as one and the same file."""
    if path == ":memory:":
        found = "is a database in memory, of which each connection would have its own"
    elif path.startswith("file:"):
        found = "begins with 'file:'"
    elif "?" in path:
        found = "has a '?', as options do, and there are none"
    else:
        return
    raise ConfigurationError(
        f"the path in the database URL {found}; expected the plain path of a file, as in sqlite:///path/to/file.db",
        key="database.url",
    )


def _check_ports(rest: str) -> None:
    """Refuse a port that is none, as a slash makes of a password, before a driver does so and quotes it."""
    for host in re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not port.isdecimal():
            raise ConfigurationError(
                "the port in the database URL is no number; in a password / is written %2F, ? is %3F, # is %23 and @ "
                "is %40",
                key="database.url",
            )


def _nothing() -> None:
    return None


assert sqlite3.threadsafety >= 1, "this build of SQLite cannot be used from threads"
