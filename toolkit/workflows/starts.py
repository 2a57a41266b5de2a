"""Runs that begin in a caller's own transaction: there if it commits, and only then.

Such a run is written ``pending`` and never claimed in advance; a worker finds it after the commit. A keyed start takes
the lock of its key before it looks, and waits there for whoever has it; an engine's batch, which cannot wait, tries the
same lock and comes back later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.errors import Conflict, WrongContext
from toolkit.storage import Statement, adapt
from toolkit.workflows.attributes import SET_ATTRIBUTES
from toolkit.workflows.current import current_engine
from toolkit.workflows.definitions import RunHandle, Workflow
from toolkit.workflows.operations import NewRun
from toolkit.workflows.sessions import StepSession
from toolkit.workflows.signatures import UNSAID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toolkit.workflows.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")

_COLUMNS = "id, workflow, version, input, input_digest, priority, idempotency_key, started_by, close_policy, on_cancel"
_START = Statement(
    "start in transaction",
    sqlite=f"""INSERT INTO toolkit_run ({_COLUMNS}, deadline_at, due_at, created_at, state, epoch, losses, total_losses)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 'pending', 0, 0, 0)
               ON CONFLICT (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING id""",  # noqa: S608
    postgresql=f"""INSERT INTO toolkit_run
                   ({_COLUMNS}, deadline_at, due_at, created_at, state, epoch, losses, total_losses)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::timestamptz,
                           coalesce($12::timestamptz, clock_timestamp()), coalesce($13::timestamptz, clock_timestamp()),
                           'pending', 0, 0, 0)
                   ON CONFLICT (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING id""",  # noqa: S608
    payloads=((3, "input"),),
)
_LOCK_KEY = Statement(
    "lock key of start",
    sqlite="SELECT ?1",
    postgresql="SELECT pg_advisory_xact_lock(hashtextextended('toolkit:' || $1::text, 0))::text",
)
# A statement of its own: what the insert ran into may have been committed after that statement began.
_FIND = Statement(
    "find keyed run",
    sqlite="SELECT id, input_digest FROM toolkit_run WHERE workflow = ?1 AND idempotency_key = ?2",
    postgresql="SELECT id, input_digest FROM toolkit_run WHERE workflow = $1 AND idempotency_key = $2",
)


async def start_in(
    session: AsyncSession,
    workflow: Workflow[P, R],
    /,
    *args: Any,
    idempotency_key: str | None = UNSAID,
    started_by: str | None = UNSAID,
    engine: Engine | None = None,
    **kwargs: Any,
) -> RunHandle[R]:
    """Start a run in the transaction of ``session``: it exists if and only if that commits.

    Workers learn of it when the session has committed. ``engine`` is the one that the caller stands in, unless given.
    In a step it is the step's session, so that the run begins with the step's checkpoint or not at all. Where the
    workflow itself has a parameter ``idempotency_key`` or ``started_by``, that is meant.

    Raises:
        Conflict: the key started a run with other arguments.
        NotFound: the workflow is not registered.
        WrongContext: nothing says in which installation.
    """
    connection = await session.connection()
    if isinstance(session, StepSession):
        session.has_written = True

    def start(connection: Connection) -> RunHandle[R]:
        return start_on(
            connection,
            workflow,
            *args,
            session=session.sync_session,
            idempotency_key=idempotency_key,
            started_by=started_by,
            engine=engine,
            **kwargs,
        )

    return await connection.run_sync(start)


def start_on(
    connection: Connection,
    workflow: Workflow[P, R],
    /,
    *args: Any,
    session: Session | None = None,
    idempotency_key: str | None = UNSAID,
    started_by: str | None = UNSAID,
    engine: Engine | None = None,
    **kwargs: Any,
) -> RunHandle[R]:
    """Like :func:`start_in`, where only SQLAlchemy's plain connection is at hand, as in an event of a flush.

    With the ``session`` behind it workers are told after its commit; otherwise they find the run when they next look.

    Raises:
        Conflict, NotFound, WrongContext: as for :func:`start_in`.
    """
    engine = engine or current_engine()
    if engine is None:
        raise WrongContext(
            f"{workflow.name!r} was to be started where no Toolkit is running; give it engine=app.services.engine"
        )
    engine.require(workflow)
    arguments, options = workflow.signature.bind_beside(
        args, kwargs, idempotency_key=idempotency_key, started_by=started_by
    )
    run = workflow.new_run(engine, arguments, **options)
    run_id, is_new = _insert(connection, run, engine=engine)
    if session is not None and is_new:
        event.listen(session, "after_commit", lambda _: engine.announce(), once=True)
    return RunHandle(engine, run_id, workflow, is_new=is_new)


def _insert(connection: Connection, run: NewRun, *, engine: Engine) -> tuple[str, bool]:
    """Write the run, or find the one that its key has started; its id, and whether it is new."""
    now = engine.own_now()
    if run.idempotency_key is not None and connection.dialect.name == "postgresql":
        _execute(connection, _LOCK_KEY, (f"start:{run.workflow}:{run.idempotency_key}",))
    values = (
        run.id,
        run.workflow,
        run.version,
        run.input,
        run.input_digest,
        run.priority,
        run.idempotency_key,
        run.started_by,
        run.close_policy,
        run.on_cancel,
        run.deadline_at,
        run.due_at or now,
        now,
    )
    # The engine's, not the session's: that may be of an engine that the author has made for the same database.
    payloads = engine.database.payloads
    stored = values if payloads is None else payloads.encoded_values(_START, values)
    if not _execute(connection, _START, stored):
        ((known_id, digest),) = _execute(connection, _FIND, (run.workflow, run.idempotency_key))
        if digest != run.input_digest:
            raise Conflict(
                f"the idempotency key {run.idempotency_key!r} has started run {known_id} of {run.workflow!r} with "
                "other arguments; use another key, or the same arguments",
                run_id=known_id,
                idempotency_key=run.idempotency_key,
            )
        return known_id, False
    for row in run.attributes:
        _execute(connection, SET_ATTRIBUTES, (run.id, *row))
    return run.id, True


def _execute(connection: Connection, statement: Statement, values: Sequence[Any]) -> list[Any]:
    """The rows of one of the engine's statements for one row of values."""
    if connection.dialect.name == "sqlite":
        result = connection.exec_driver_sql(statement.sqlite, tuple(adapt(values)))
    else:
        result = connection.exec_driver_sql(statement.postgresql_lone or statement.postgresql, tuple(values))
    return list(result.all()) if result.returns_rows else []
