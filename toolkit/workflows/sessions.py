"""The author's database session inside a step: what it writes and the step's checkpoint are one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.errors import SerializationError, SessionError
from toolkit.ids import new_id as any_id
from toolkit.serialization import check_keys
from toolkit.storage import Payloads, Statement, adapt, payloads_of, uninterrupted
from toolkit.workflows import statements as sql
from toolkit.workflows.current import current_engine
from toolkit.workflows.operations import StepRecord

if TYPE_CHECKING:
    from toolkit.workflows.executions import Execution


logger = logging.getLogger(__name__)


class StepSession(AsyncSession):
    """A session whose commit belongs to the step."""

    def __init__(self, execution: Execution, *, is_read_only: bool = False) -> None:
        self._execution = execution
        self.is_read_only = is_read_only
        self._database = execution.engine.database
        self.has_written = False
        super().__init__(self._database.sessions.engine, expire_on_commit=False, autoflush=False)
        event.listen(self.sync_session, "before_flush", self._refuse_writes)
        event.listen(self.sync_session, "after_flush", self._note_flush)
        event.listen(self.sync_session, "do_orm_execute", self._note_execute)

    async def commit(self) -> NoReturn:
        raise SessionError(
            "the session of a step is committed by the step, together with its checkpoint; leave out the commit"
        )

    def _note_flush(self, *_: Any) -> None:
        self.has_written = True

    def _note_execute(self, state: Any) -> None:
        if not state.is_select:
            self._refuse_writes()
            self.has_written = True

    def _refuse_writes(self, *_: Any) -> None:
        if self.is_read_only:
            raise SessionError("the session of this step only reads; ask for get_session() to write")

    async def commit_with(self, record: StepRecord) -> None:
        """Commit what the step wrote and its checkpoint, if the run is still ours and has no such checkpoint.

        Raises:
            asyncio.CancelledError: it is not, or nobody knows whether the commit was kept; the run is read again.
        """
        self._execution.check_alive()
        try:
            await self.flush()
            is_ours = await self._write_checkpoint(record)
            if is_ours:
                await self._commit()
        except BaseException:
            await self.give_up()
            raise
        if not is_ours:
            await self.give_up()
            self._lose("another process owns the run")
        await self.close()

    async def _write_checkpoint(self, record: StepRecord) -> bool:
        connection, dialect = await self.connection(), self._database.dialect
        fence = (record.run_id, record.epoch)
        # On PostgreSQL the run is locked before its journal, as in every batch. On SQLite the first write begins the
        # transaction, and a fence that was read before it could be out of date.
        if dialect == "postgresql" and not await _execute(connection, _FENCE, fence, dialect):
            return False
        written = await _perform(connection, sql.INSERT_STEPS, record, dialect)
        if written.rowcount == 0:  # an earlier commit of this step was kept after all: what it wrote is there
            return False
        return dialect == "postgresql" or bool(await _execute(connection, _FENCE, fence, dialect))

    async def _commit(self) -> None:
        try:
            await uninterrupted(super().commit())
        except (DataError, IntegrityError, ProgrammingError):
            raise  # the server has answered: a deferred constraint, for instance
        except (DBAPIError, OSError) as error:
            logger.warning(
                "The commit of a step's session has an unknown outcome",
                extra={"event": "storage.outcome_unknown", "run_id": self._execution.run.id, "reason": str(error)},
            )
            self._lose("the outcome of a commit is unknown; the run is read again")

    def _lose(self, why: str) -> NoReturn:
        self._execution.engine.residents.abandon(self._execution)
        raise asyncio.CancelledError(why)

    async def give_up(self) -> None:
        """Roll back and let go of the connection."""
        try:
            await uninterrupted(self.close())
        except (DBAPIError, OSError) as error:  # there is nothing left to roll back
            logger.info("A step's connection is gone", extra={"event": "storage.cut_off", "reason": str(error)})


def get_session(*, is_read_only: bool = False) -> AsyncSession:
    """The database session of the step that is running; the step commits it together with its checkpoint.

    ``is_read_only`` refuses whatever would write; a step has one session, so the first call decides.

    Raises:
        SessionError: outside the body of a step; the step's session only reads and writing was asked for.
    """
    from toolkit.workflows.scopes import current_scope

    scope = current_scope()
    if scope is None or scope.step is None:
        raise SessionError(
            "get_session() belongs in the body of a step; elsewhere use `async with app.session() as session`"
        )
    scope.check_task("get_session")
    if scope.step.session is None:
        scope.step.session = StepSession(scope.execution, is_read_only=is_read_only)
    elif scope.step.session.is_read_only and not is_read_only:
        raise SessionError("this step has asked for a session that only reads; ask for get_session() first of all")
    return scope.step.session


async def insert_event(
    session: AsyncSession,
    *,
    key: str,
    payload: str,
    run_id: str | None = None,
    wait_id: str | None = None,
    new_id: Callable[[], str] | None = None,
    idempotency_key: str | None = None,
) -> None:
    """Leave an event, without its number, in the caller's transaction; an engine numbers and delivers it after.

    Raises:
        InvalidInput: a key holds characters that no database keeps.
    """
    check_keys(key=key, idempotency_key=idempotency_key, run_id=run_id)
    connection = await session.connection()
    dialect = "sqlite" if connection.dialect.name == "sqlite" else "postgresql"
    make_id = new_id or any_id
    if idempotency_key is not None and dialect == "postgresql":
        # Whoever emits under this key next waits for our commit here; a batch, which cannot wait, only tries the lock.
        await _execute(connection, _LOCK_KEY, (f"event:{key}",), dialect)
    await _execute(connection, _LEAVE_EVENT, (make_id(), key, run_id, wait_id, payload, idempotency_key), dialect)


async def resolve_wait(session: AsyncSession, *, wait_id: str, payload_json: str) -> bool:
    """End an open wait with ``payload_json`` in the caller's transaction; false if it has ended already.

    One compare-and-set: of any number of callers one wins. Call :meth:`Engine.poke` after the commit.
    """
    connection = await session.connection()
    dialect = "sqlite" if connection.dialect.name == "sqlite" else "postgresql"
    rows = await _execute(connection, _RESOLVE, (wait_id,), dialect)
    if not rows:
        return False
    ((run_id, key),) = rows
    await insert_event(session, key=key, payload=payload_json, run_id=run_id, wait_id=wait_id)
    return True


_FENCE = Statement(
    "fence",
    sqlite="SELECT 1 FROM toolkit_run WHERE id = ?1 AND epoch = ?2 AND state = 'running'",
    postgresql="SELECT 1 FROM toolkit_run WHERE id = $1 AND epoch = $2 AND state = 'running' FOR NO KEY UPDATE",
)
_LEAVE_EVENT = Statement(
    "leave event",
    sqlite="INSERT INTO toolkit_event (id, key, run_id, wait_id, payload, idempotency_key, created_at) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')) "
    "ON CONFLICT (key, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING",
    postgresql="INSERT INTO toolkit_event (id, key, run_id, wait_id, payload, idempotency_key, created_at) "
    "VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, clock_timestamp()) "
    "ON CONFLICT (key, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING",
    payloads=((4, "payload"),),
)
_LOCK_KEY = Statement(
    "lock key",
    sqlite="SELECT ?1",
    postgresql="SELECT pg_advisory_xact_lock(hashtextextended('toolkit:' || $1::text, 0))::text",
)
_RESOLVE = Statement(
    "resolve wait",
    sqlite="UPDATE toolkit_wait SET state = 'resolved', ended_at = strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now') "
    "WHERE id = ?1 AND state = 'open' RETURNING run_id, event_key",
    postgresql="UPDATE toolkit_wait SET state = 'resolved', ended_at = clock_timestamp() "
    "WHERE id = $1 AND state = 'open' RETURNING run_id, event_key",
)


async def _execute(connection: Any, statement: Statement, values: Any, dialect: str) -> list[Any]:
    """The rows of one of the engine's statements for one row of values on a session's connection."""
    result = await _perform(connection, statement, values, dialect)
    return list(result.all()) if result.returns_rows else []


async def _perform(connection: Any, statement: Statement, values: Any, dialect: str) -> Any:
    """Run one of the engine's statements; returns SQLAlchemy's result."""
    if (payloads := _payloads_for(connection)) is not None:
        values = payloads.encoded_values(statement, values)
    try:
        if dialect == "sqlite":
            return await connection.exec_driver_sql(statement.sqlite, tuple(adapt(values)))
        return await connection.exec_driver_sql(statement.postgresql_lone or statement.postgresql, tuple(values))
    except UnicodeEncodeError as error:
        raise SerializationError(f"a text holds characters that no database takes: {error}") from error


def _payloads_for(connection: Any) -> Payloads | None:
    """What encodes payloads here; a session that is not the toolkit's own writes for whoever is running."""
    if hasattr(connection.dialect, "payloads"):
        return payloads_of(connection.dialect)
    engine = current_engine()
    return None if engine is None else engine.database.payloads
