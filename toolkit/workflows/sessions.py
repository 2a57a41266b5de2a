"""The author's database session inside a step: what it writes and the step's checkpoint are one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import event
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.errors import SerializationError, SessionError
from toolkit.ids import new_id as any_id
from toolkit.storage import Statement, adapt, uninterrupted
from toolkit.workflows import statements as sql
from toolkit.workflows.operations import StepRecord

if TYPE_CHECKING:
    from toolkit.workflows.executions import Execution


class StepSession(AsyncSession):
    """A session whose commit belongs to the step."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._database = execution.engine.database
        self.has_written = False
        super().__init__(self._database.sessions.engine, expire_on_commit=False, autoflush=False)
        event.listen(self.sync_session, "after_flush", self._note_flush)
        event.listen(self.sync_session, "do_orm_execute", self._note_execute)

    async def commit(self) -> NoReturn:
        raise SessionError(
            "the session of a step is committed by the step, together with its checkpoint; leave out the commit"
        )

    def _note_flush(self, *_: Any) -> None:
        self.has_written = True

    def _note_execute(self, state: Any) -> None:
        self.has_written = self.has_written or not state.is_select

    async def commit_with(self, record: StepRecord) -> None:
        """Commit what the step wrote and its checkpoint, if the run is still ours."""
        try:
            await self.flush()
            connection = await self.connection()
            # The checkpoint goes in before the fence is read: on SQLite the first write begins the transaction.
            await _execute(connection, sql.INSERT_STEPS, record, self._database.dialect)
            is_ours = bool(await _execute(connection, _FENCE, (record.run_id, record.epoch), self._database.dialect))
            if is_ours:
                await uninterrupted(super().commit())
        except BaseException:
            await self.give_up()
            raise
        if not is_ours:
            await self.give_up()
            self._execution.engine.residents.abandon(self._execution)
            self._execution.check()
        await self.close()

    async def give_up(self) -> None:
        """Roll back and let go of the connection."""
        await uninterrupted(self.close())


def get_session() -> AsyncSession:
    """The database session of the step that is running; the step commits it together with its checkpoint.

    Raises:
        SessionError: outside the body of a step.
    """
    from toolkit.workflows.scopes import current_scope

    scope = current_scope()
    if scope is None or scope.step is None:
        raise SessionError(
            "get_session() belongs in the body of a step; elsewhere use `async with app.session() as session`"
        )
    scope.check_task("get_session")
    if scope.step.session is None:
        scope.step.session = StepSession(scope.execution)
    return scope.step.session


async def insert_event(
    session: AsyncSession,
    *,
    key: str,
    payload: str,
    run_id: str | None = None,
    wait_id: str | None = None,
    new_id: Callable[[], str] | None = None,
) -> None:
    """Leave an event, without its number, in the caller's transaction; an engine numbers and delivers it after."""
    connection = await session.connection()
    dialect = "sqlite" if connection.dialect.name == "sqlite" else "postgresql"
    make_id = new_id or any_id
    await _execute(connection, _LEAVE_EVENT, (make_id(), key, run_id, wait_id, payload), dialect)


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
    sqlite="INSERT INTO toolkit_event (id, key, run_id, wait_id, payload, created_at) "
    "VALUES (?1, ?2, ?3, ?4, ?5, strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now'))",
    postgresql="INSERT INTO toolkit_event (id, key, run_id, wait_id, payload, created_at) "
    "VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, clock_timestamp())",
)
_RESOLVE = Statement(
    "resolve wait",
    sqlite="UPDATE toolkit_wait SET state = 'resolved', ended_at = strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now') "
    "WHERE id = ?1 AND state = 'open' RETURNING run_id, event_key",
    postgresql="UPDATE toolkit_wait SET state = 'resolved', ended_at = clock_timestamp() "
    "WHERE id = $1 AND state = 'open' RETURNING run_id, event_key",
)


async def _execute(connection: Any, statement: Statement, values: Any, dialect: str) -> list[Any]:
    """Run one of the engine's statements for one row of values on a session's connection."""
    try:
        if dialect == "sqlite":
            result = await connection.exec_driver_sql(statement.sqlite, tuple(adapt(values)))
        else:
            is_many = "unnest(" in statement.postgresql
            bound = tuple([value] for value in values) if is_many else tuple(values)
            result = await connection.exec_driver_sql(statement.postgresql, bound)
    except UnicodeEncodeError as error:
        raise SerializationError(f"a text holds characters that no database takes: {error}") from error
    return list(result.all()) if result.returns_rows else []
