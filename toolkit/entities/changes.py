"""Changes of entities at their flush: stamps, checked and recorded moves, history. In any session, step or script.

The rows are written on the connection of the flush, so they are kept exactly when the change is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from pydantic_core import to_json
from sqlalchemy import Connection, event, func, insert, inspect, select
from sqlalchemy.orm import Mapper, object_session

from toolkit.access import current_principal
from toolkit.entities.entity import Entity, History
from toolkit.entities.life_cycles import INFO_KEY, LifeCycle
from toolkit.entities.tables import MoveRow, VersionRow
from toolkit.entities.triggers import Move, Triggers
from toolkit.ids import new_id
from toolkit.workflows import OwnKey, current_engine, current_run, start_on

_MOVES: Any = inspect(MoveRow).local_table
_CHANGE = "toolkit_change"
_VERSIONS: Any = inspect(VersionRow).local_table


def life_cycles_of(entity: type[Any]) -> dict[str, LifeCycle]:
    """The life cycles of an entity's status fields, by field."""
    return {
        attribute.key: attribute.columns[0].info[INFO_KEY]
        for attribute in inspect(entity).column_attrs
        if INFO_KEY in getattr(attribute.columns[0], "info", {})
    }


def actor() -> str:
    """Who is changing things: the run whose step it is, whoever woke it, else the principal."""
    run = current_run()
    return f"run:{run.run_id}" if run is not None else current_principal().id


@dataclass(frozen=True)
class Change:
    """What a flush is about to do to an entity; recorded when its statement has found the row that it meant."""

    action: str
    at: datetime
    by: str
    version: int
    moves: tuple[tuple[str, str | None, str], ...] = ()
    """Field, state before, state after."""


@event.listens_for(Entity, "before_insert", propagate=True)
def _before_insert(_: Mapper[Any], connection: Connection, entity: Entity) -> None:
    now, by = datetime.now(UTC), actor()
    entity.created_at = entity.updated_at = now
    entity.created_by = entity.updated_by = by
    moves = []
    for field, cycle in life_cycles_of(type(entity)).items():
        state = getattr(entity, field)
        cycle.check_beginning(state, entity=_name(entity), entity_id=entity.id)
        moves.append((field, None, state))
    entity.version = _first_version(connection, entity)
    _announce(entity, Change("created", now, by, version=entity.version, moves=tuple(moves)))


@event.listens_for(Entity, "before_update", propagate=True)
def _before_update(_: Mapper[Any], connection: Connection, entity: Entity) -> None:
    session = object_session(entity)
    if session is None or not session.is_modified(entity, include_collections=False):
        _announce(entity, None)  # it was touched and says what it said before: there will be no UPDATE
        return
    now, by = datetime.now(UTC), actor()
    moves = []
    for field, cycle in life_cycles_of(type(entity)).items():
        target = getattr(entity, field)
        source = _stored(connection, entity, field)
        if source != target:
            cycle.check_move(source, target, entity, entity=_name(entity), entity_id=entity.id)
            moves.append((field, source, target))
    entity.updated_at, entity.updated_by = now, by
    entity.version = (_stored(connection, entity, "version") or 0) + 1  # of none that is left, the UPDATE will tell
    _announce(entity, Change("updated", now, by, version=entity.version, moves=tuple(moves)))


@event.listens_for(Entity, "before_delete", propagate=True)
def _before_delete(_: Mapper[Any], connection: Connection, entity: Entity) -> None:
    _announce(entity, Change("deleted", datetime.now(UTC), actor(), version=entity.version + 1))


# A statement that finds the row in another version has raised StaleDataError before these are called.
@event.listens_for(Entity, "after_insert", propagate=True)
@event.listens_for(Entity, "after_update", propagate=True)
@event.listens_for(Entity, "after_delete", propagate=True)
def _record(_: Mapper[Any], connection: Connection, entity: Entity) -> None:
    change: Change | None = _info(entity).pop(_CHANGE, None)
    if change is None:
        return
    for field, source, target in change.moves:
        _record_move(connection, entity, field, source, target, now=change.at, by=change.by)
    _keep_version(connection, entity, change)


def _announce(entity: Entity, change: Change | None) -> None:
    _info(entity)[_CHANGE] = change


def _info(entity: Entity) -> dict[Any, Any]:
    state = inspect(entity)
    assert state is not None, "an entity that is flushed is mapped"
    return cast("dict[Any, Any]", state.info)


def _stored(connection: Connection, entity: Entity, field: str) -> Any:
    """What a field said before: as it was loaded, else as the database has it."""
    state = inspect(entity)
    assert state is not None, "an entity that is flushed is mapped"
    history = state.attrs[field].history
    if history.unchanged:
        return history.unchanged[0]
    if history.deleted:
        return history.deleted[0]
    table = state.mapper.local_table
    return connection.scalar(select(state.mapper.columns[field]).where(table.c.id == entity.id))


def _first_version(connection: Connection, entity: Entity) -> int:
    """Where the versions of a new row begin: after those that are kept of one of the same key, which was deleted."""
    if not issubclass(type(entity), History):
        return 1
    kept = select(func.max(_VERSIONS.c.version)).where(
        _VERSIONS.c.entity == _name(entity), _VERSIONS.c.entity_id == entity.id
    )
    return int(connection.scalar(kept) or 0) + 1


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
        start_on(
            connection,
            workflow,
            move,
            session=session,
            engine=engine,
            idempotency_key=OwnKey(f"move:{move.id}"),
            started_by=by,
        )


def _keep_version(connection: Connection, entity: Entity, change: Change) -> None:
    if not issubclass(type(entity), History):
        return
    values = entity.model_dump() | {"version": change.version}
    connection.execute(
        insert(_VERSIONS).values(
            entity=_name(entity),
            entity_id=entity.id,
            version=change.version,
            action=change.action,
            values=to_json(values, fallback=str, bytes_mode="base64").decode(),  # as a view shows them
            at=change.at,
            by=change.by,
        )
    )


def _name(entity: Entity) -> str:
    return str(entity.__tablename__)
