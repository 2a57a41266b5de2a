"""PostgreSQL: a dedicated ``asyncpg`` connection that comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from toolkit.errors import ConfigurationError
from toolkit.storage.connections import DataRejected, OutcomeUnknown, StorageUnavailable
from toolkit.storage.payloads import Payloads
from toolkit.storage.statements import Query, Request, Row, Rows, Script, Together, in_one

T = TypeVar("T")

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0


def _asyncpg() -> Any:
    try:
        import asyncpg
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "the database is PostgreSQL but its driver is not installed; run: "
            "pip install 'process-toolkit[postgresql]'",
            key="database.url",
        ) from error
    return asyncpg


async def connect(url: str, *, application: str = "toolkit", plans_once: bool = False) -> Any:
    """A new asyncpg connection; see :class:`PostgresqlConnection` for ``plans_once``.

    Raises:
        StorageUnavailable: no server answers, or it refuses us.
    """
    asyncpg = _asyncpg()
    try:
        connection = await asyncpg.connect(
            url, timeout=_CONNECT_SECONDS, server_settings={"application_name": application, "timezone": "UTC"}
        )
        if plans_once:
            await _plan_once(connection)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise StorageUnavailable(f"PostgreSQL could not be reached: {error}") from error
    return connection


async def _plan_once(connection: Any) -> None:
    """Not among the settings that a connection begins with: a pooler in between refuses those that it does not know."""
    try:
        await connection.execute("SET plan_cache_mode TO force_generic_plan")
    except BaseException:
        connection.terminate()
        raise


class PostgresqlConnection:
    """One connection, opened when first used and opened again after it was lost."""

    def __init__(
        self, url: str, *, application: str = "toolkit", plans_once: bool = False, payloads: Payloads | None = None
    ) -> None:
        """With ``plans_once`` the server plans each statement once, not for each execution: for statements of which one
        plan is right whatever their parameters are.
        """
        self._url = url
        self._application = application
        self._plans_once = plans_once
        self._payloads = payloads
        self._connection: Any = None
        self._lock = asyncio.Lock()

    async def run(self, script: Script[T], *, in_own_task: bool = True) -> T:
        if not in_own_task:
            return await self._run(script)
        return cast("T", await _uninterrupted(self._run(script)))

    async def read(self, query: Query) -> Sequence[Row]:
        return cast("list[Row]", await _uninterrupted(self._read(query)))

    async def close(self) -> None:
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close(timeout=2)

    async def _run(self, script: Script[T]) -> T:
        async with self._lock:
            connection = await self._connected()
            try:
                value, has_begun = await _advance(connection, script, self._payloads)
            except BaseException as error:
                script.close()
                await self._roll_back()
                raise _as_storage_error(error) from error
            if not has_begun:
                return value
            try:
                await connection.execute("COMMIT")
            except BaseException as error:
                self._discard()
                if _is_refusal(error):  # the server answered: it rolled back, for a deferred constraint for instance
                    raise _as_storage_error(error) from error
                raise OutcomeUnknown(f"the connection to PostgreSQL broke during a commit: {error}") from error
            return value

    async def _read(self, query: Query) -> Sequence[Row]:
        async with self._lock:
            connection = await self._connected()
            try:
                rows = await perform(connection, query)
                return rows if self._payloads is None else self._payloads.decoded(rows)
            except BaseException as error:
                if connection.is_closed():
                    self._discard()
                raise _as_storage_error(error) from error

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, application=self._application, plans_once=self._plans_once)
        return self._connection

    async def _roll_back(self) -> None:
        if self._connection is None or self._connection.is_closed():
            return
        try:
            await self._connection.execute("ROLLBACK")
        except (OSError, _asyncpg().PostgresError, _asyncpg().InterfaceError):
            self._discard()  # the server rolls back when it sees that we are gone

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()


async def _uninterrupted(work: Any) -> Any:
    """Await ``work`` to its end even when the caller is cancelled: a commit cut short has an unknown outcome."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen; the canceller is not waiting for it
        raise


async def _advance(connection: Any, script: Script[T], payloads: Payloads | None) -> tuple[T, bool]:
    """What the script returns, and whether there is a transaction to commit."""
    has_begun = False
    try:
        request = next(script)
        while True:
            if payloads is not None:
                request = payloads.encoded(request)
            if not isinstance(request, Together) and request.is_alone:
                request = script.send(await _perform_alone(connection, request))
                continue
            if not has_begun:
                await connection.execute("BEGIN")
                has_begun = True
            rows = await perform(connection, request)
            request = script.send(rows if payloads is None else payloads.decoded(rows))
    except StopIteration as end:
        return end.value, has_begun


async def _perform_alone(connection: Any, request: Rows | Query) -> list[Row]:
    """One statement, which the server commits by itself; it returns no payload.

    A query looks at what such a statement has left: when it fails, that is on record and nobody has heard of it.
    """
    try:
        return await perform(connection, request)
    except BaseException as error:
        is_refused = _is_refusal(error) or isinstance(_as_storage_error(error), DataRejected)
        if is_refused and isinstance(request, Rows):
            raise
        if is_refused:
            raise OutcomeUnknown(f"PostgreSQL refused to look at what was committed: {error}") from error
        connection.terminate()
        raise OutcomeUnknown(f"the connection to PostgreSQL broke during a commit: {error}") from error


async def perform(connection: Any, request: Request) -> list[Row]:
    """Execute one request of a script; many rows travel as one array a column, a single one as it is."""
    if isinstance(request, Query):
        return [tuple(row) for row in await connection.fetch(request.statement.postgresql, *request.parameters)]
    parts = request.requests if isinstance(request, Together) else [request]
    texts, parameters = [], list[Any]()
    for part in parts:
        lone = part.statement.postgresql_lone if len(part.rows) == 1 else None
        texts.append(lone or part.statement.postgresql)
        parameters += part.rows[0] if lone else map(list, zip(*part.rows, strict=True))
    text = in_one(tuple(texts)) if len(texts) > 1 else texts[0]
    return [tuple(row) for row in await connection.fetch(text, *parameters)]


def _is_refusal(error: BaseException) -> bool:
    asyncpg = _asyncpg()
    if not isinstance(error, asyncpg.PostgresError):
        return False
    state = getattr(error, "sqlstate", None) or ""
    return not state.startswith(("08", "57P"))  # those mean that the server went away


def _as_storage_error(error: BaseException) -> BaseException:
    asyncpg = _asyncpg()
    state = getattr(error, "sqlstate", None) or ""
    # 22 data exception, 23 integrity, 42 syntax or unknown name, 54 program limit: the same input fails the same way.
    if isinstance(error, asyncpg.PostgresError) and state[:2] in {"22", "23", "42", "54"}:
        return DataRejected(f"PostgreSQL refused: {error}")
    if isinstance(error, asyncpg.DataError | OverflowError | UnicodeEncodeError):
        return DataRejected(f"PostgreSQL refused a value: {error}")
    if isinstance(error, OSError | asyncpg.PostgresError | asyncpg.InterfaceError):
        return StorageUnavailable(f"PostgreSQL refused or went away: {error}")
    return error


class Listener:
    """Calls ``heard`` for each notification on ``channel``; comes back by itself when the connection is lost.

    A notification only shortens a wait: whoever listens also looks from time to time.
    """

    def __init__(self, url: str, *, channel: str, heard: Callable[[], None]) -> None:
        self._url, self._channel, self._heard = url, channel, heard
        self._connection: Any = None

    async def listen(self) -> None:
        """Connect if needed.

        Raises:
            StorageUnavailable: call again later.
        """
        if self._connection is not None and not self._connection.is_closed():
            return
        await _uninterrupted(self._open())  # cut short, it would leave a connection that nobody closes

    async def _open(self) -> None:
        connection = await connect(self._url, application="toolkit listener")
        try:
            await connection.add_listener(self._channel, self._on_notification)
        except (OSError, _asyncpg().PostgresError, _asyncpg().InterfaceError) as error:
            connection.terminate()
            raise StorageUnavailable(f"PostgreSQL went away: {error}") from error
        self._connection = connection  # only one that listens: another would be deaf for good

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with contextlib.suppress(OSError, TimeoutError, _asyncpg().PostgresError, _asyncpg().InterfaceError):
                await connection.close(timeout=2)

    def _on_notification(self, *_: Any) -> None:
        self._heard()


class SideChannel:
    """A connection for a thread other than the event loop's, with an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = PostgresqlConnection(url, application="toolkit heartbeat")

    def run_blocking(self, script: Script[T]) -> T:
        """Run ``script`` in one transaction and wait for it in this thread."""
        return self._runner.run(self._connection.run(script))

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()
