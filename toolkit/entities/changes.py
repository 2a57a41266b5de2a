"""Changes of entities at their flush: stamps, checked and recorded moves, history. In any session, step or script.

The rows are written on the connection of the flush, so they are kept exactly when the change is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, event, insert, inspect, select
from sqlalchemy.orm import Mapper, object_session

from toolkit.access import current_principal
from toolkit.entities.entity import Entity, History
from toolkit.entities.life_cycles import INFO_KEY, LifeCycle
from toolkit.entities.starts import start_in_transaction
from toolkit.entities.tables import MoveRow, VersionRow
from toolkit.entities.triggers import Move, Triggers
from toolkit.ids import new_id
from toolkit.workflows import current_engine, current_run

_MOVES: Any = inspect(MoveRow).local_table
_VERSIONS: Any = inspect(VersionRow).local_table


def life_cycles_of(entity: type[Any]) -> dict[str, LifeCycle]:
    """The life cycles of an entity's status fields, by field."""
    return {
        attribute.key: attribute.columns[0].info[INFO_KEY]
        for attribute in inspect(entity).column_attrs
        if INFO_KEY in getattr(attribute.columns[0], "info", {})
    }


def actor() -> str:
    """Who is changing things: the principal, or the run whose step it is."""
    principal, run = current_principal(), current_run()
    return f"run:{run.run_id}" if run is not None and principal.kind == "anonymous" else principal.id


@event.listens_for(Entity, "before_insert", propagate=True)
def _before_insert(_: Mapper[Any], connection: Connection, entity: Entity) -> None:
    now, by = datetime.now(UTC), actor()
    entity.created_at = entity.updated_at = now
    entity.created_by = entity.updated_by = by
    for field, cycle in life_cycles_of(type(entity)).items():
        state = getattr(entity, field)
        cycle.check_beginning(state, entity=_name(entity), entity_id=entity.id)
        _record_move(connection, entity, field, None, state, now=now, by=by)
    _keep_version(connection, entity, action="created", version=1, now=now, by=by)


@event.listens_for(Entity, "before_update", propagate=True)
def _before_update(_: Mapper[Any], connection: Connection, entity: Entity) -> None:
    session = object_session(entity)
    if session is None or not session.is_modified(entity, include_collections=False):
        return  # it was touched and says what it said before: there will be no UPDATE
    now, by = datetime.now(UTC), actor()
    for field, cycle in life_cycles_of(type(entity)).items():
        target = getattr(entity, field)
        source = _stored(connection, entity, field)
        if source != target:
            cycle.check_move(source, target, entity, entity=_name(entity), entity_id=entity.id)
            _record_move(connection, entity, field, source, target, now=now, by=by)
    entity.updated_at, entity.updated_by = now, by
    _keep_version(connection, entity, action="updated", version=entity.version + 1, now=now, by=by)


@event.listens_for(Entity, "before_delete", propagate=True)
def _before_delete(_: Mapper[Any], connection: Connection, entity: Entity) -> None:
    _keep_version(connection, entity, action="deleted", version=entity.version + 1, now=datetime.now(UTC), by=actor())


def _stored(connection: Connection, entity: Entity, field: str) -> Any:
    """What the status was before: as it was loaded, else as the database has it."""
    state = inspect(entity)
    assert state is not None, "an entity that is flushed is mapped"
    history = state.attrs[field].history
    if history.unchanged:
        return history.unchanged[0]
    if history.deleted:
        return history.deleted[0]
    table = state.mapper.local_table
    return connection.scalar(select(state.mapper.columns[field]).where(table.c.id == entity.id))


def _record_move(
    connection: Connection,
    entity: Entity,
    field: str,
    source: str | None,
    target: str,
    *,
    now: datetime,
    by: str,
) -> None:
    move = Move(
        id=new_id(),
        entity=_name(entity),
        entity_id=entity.id,
        field=field,
        from_state=source,
        to_state=target,
        at=now,
        by=by,
    )
    connection.execute(insert(_MOVES).values(**move.model_dump()))
    engine, session = current_engine(), object_session(entity)
    triggers = engine.resources.get(Triggers) if engine is not None else None
    if engine is None or session is None or not isinstance(triggers, Triggers):
        return
    for workflow in triggers.started_by(type(entity), move):
        start_in_transaction(
            connection,
            session,
            engine=engine,
            workflow=workflow,
            argument=move,
            idempotency_key=f"move:{move.id}",
            started_by=by,
            now=now,
        )


def _keep_version(connection: Connection, entity: Entity, *, action: str, version: int, now: datetime, by: str) -> None:
    if not issubclass(type(entity), History):
        return
    values = entity.model_dump() | {"version": version}
    connection.execute(
        insert(_VERSIONS).values(
            entity=_name(entity),
            entity_id=entity.id,
            version=version,
            action=action,
            values=to_json(values, fallback=str).decode(),
            at=now,
            by=by,
        )
    )


def _name(entity: Entity) -> str:
    return str(entity.__tablename__)
