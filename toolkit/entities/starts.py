"""Runs that begin in somebody else's transaction: their row goes in with the caller's own, a worker finds it after."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, column, event, insert, table
from sqlalchemy.orm import Session

from toolkit.storage import UtcDateTime
from toolkit.workflows import Engine, RunState, Workflow

_RUNS = table(
    "toolkit_run",
    column("id"),
    column("workflow"),
    column("version"),
    column("state"),
    column("input"),
    column("input_digest"),
    column("idempotency_key"),
    column("priority"),
    column("epoch"),
    column("due_at", UtcDateTime),
    column("losses"),
    column("total_losses"),
    column("started_by"),
    column("created_at", UtcDateTime),
)


def start_in_transaction(
    connection: Connection,
    session: Session,
    *,
    engine: Engine,
    workflow: Workflow[Any, Any],
    argument: Any,
    idempotency_key: str,
    started_by: str,
    now: datetime,
) -> str:
    """Write the row of a run that is due at once, and have the engine look when ``session`` has committed."""
    engine.require(workflow)
    run = workflow.new_run(engine, workflow.signature.bind((argument,), {}))
    connection.execute(
        insert(_RUNS).values(
            id=run.id,
            workflow=run.workflow,
            version=run.version,
            state=RunState.PENDING.value,
            input=run.input,
            input_digest=run.input_digest,
            idempotency_key=idempotency_key,
            priority=0,
            epoch=0,
            due_at=now,
            losses=0,
            total_losses=0,
            started_by=started_by,
            created_at=now,
        )
    )
    event.listen(session, "after_commit", lambda _: engine.poke(), once=True)
    return run.id
