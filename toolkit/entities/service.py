"""Entities for callers: made, read, listed, changed and deleted; a change and its audit entry are one transaction."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json
from sqlalchemy import func, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.access import current_principal, record_audit
from toolkit.entities.bodies import read_body, validate_row
from toolkit.entities.descriptions import EntityDescription, Registration, describe_all
from toolkit.entities.queries import attribute, beyond, cursor_after, fit, read_filters, read_order, sorting
from toolkit.entities.refusals import explained
from toolkit.entities.tables import MoveRow, VersionRow
from toolkit.entities.triggers import Move
from toolkit.errors import Conflict, InvalidInput, NotFound, VersionMismatch
from toolkit.storage import Database

LONGEST_PAGE = 200
ANY_VERSION = "*"


@dataclass(frozen=True)
class EntityPage:
    """Some rows of a list, the cursor of the next page, and how many there are in all where that was asked."""

    items: list[Any]
    next: str | None
    count: int | None = None


class KeptVersion(BaseModel):
    """What an entity said in one version."""

    model_config = ConfigDict(frozen=True)

    version: int
    action: str
    at: datetime
    by: str
    values: dict[str, Any]


class EntityService:
    """The registered entities of one installation."""

    def __init__(self, database: Database, registrations: Iterable[Registration]) -> None:
        self._database = database
        self.descriptions = describe_all(registrations)

    def describe(self, name: str) -> EntityDescription:
        """What is known of the entity ``name``.

        Raises:
            NotFound: no entity of this name is registered.
        """
        try:
            return self.descriptions[name]
        except KeyError:
            raise NotFound("entity", name, known=list(self.descriptions)) from None

    # Reading. ---------------------------------------------------------------------------------------------------

    async def get(self, name: str, key: str) -> Any:
        """The row of entity ``name`` with the primary key ``key``.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        async with self._database.session() as session:
            return await self._find(session, self.describe(name), key)

    async def list_entities(
        self,
        name: str,
        *,
        filters: Iterable[tuple[str, str]] = (),
        sort: str | None = None,
        after: str | None = None,
        limit: int = 50,
        is_counted: bool = False,
        with_deleted: bool = False,
    ) -> EntityPage:
        """One page; ``filters`` are pairs such as ``("total.gt", "100")``, ``sort`` is such as ``"-total,number"``.

        Raises:
            InvalidInput: a filter, the order, the cursor or the limit does not fit.
            NotFound: no entity of this name is registered.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(
                f"limit is {limit}; expected 1 to {LONGEST_PAGE}",
                errors=[{"loc": "query.limit", "msg": f"expected 1 to {LONGEST_PAGE}", "type": "limit"}],
            )
        description, dialect = self.describe(name), self._database.dialect
        conditions = read_filters(description, filters, dialect=dialect)
        if description.is_soft_deleted and not with_deleted:
            conditions.append(description.entity.deleted_at.is_(None))
        orders = read_order(description, sort)
        query = select(description.entity).where(*conditions)
        page = query.order_by(*sorting(description, orders, dialect=dialect)).limit(limit + 1)
        if after is not None:
            page = page.where(beyond(description, orders, after, dialect=dialect))
        with explained(description.name):
            async with self._database.session() as session:
                found = list(await session.exec(page))
                count = None
                if is_counted:
                    counted = select(func.count()).select_from(description.entity).where(*conditions)
                    count = (await session.exec(counted)).one()
        is_last = len(found) <= limit
        items = found[:limit]
        return EntityPage(items, None if is_last else cursor_after(description, orders, items[-1]), count)

    async def list_related(
        self, name: str, key: str, relation: str, *, after: str | None = None, limit: int = 50
    ) -> tuple[EntityDescription, EntityPage]:
        """What stands behind ``relation``: the one row that a foreign key leads to, or a page of those that lead here.

        Raises:
            NotFound: there is no such row or relation.
        """
        description = self.describe(name)
        row = await self.get(name, key)
        if relation in description.children:
            child, field = description.children[relation]
            own = getattr(row, description.key.name)
            return self.describe(child), await self.list_entities(
                child, filters=[(field, str(own))], after=after, limit=limit
            )
        if relation in description.parents:
            parent, field = description.parents[relation]
            value = getattr(row, field)
            found = [] if value is None else [await self.get(parent, str(value))]
            return self.describe(parent), EntityPage(found, None)
        raise NotFound("relation", relation, known=[*description.parents, *description.children])

    async def list_moves(self, name: str, key: str, *, after: str | None = None, limit: int = 50) -> list[Move]:
        """The states that an entity went through, oldest first, but those of hidden fields.

        ``after`` is the id of the last move seen.

        Raises:
            NotFound: there is no such row.
        """
        description = self.describe(name)
        row = await self.get(name, key)
        query = (
            select(MoveRow)
            .where(col(MoveRow.entity) == description.table, col(MoveRow.entity_id) == str(_key(description, row)))
            .where(col(MoveRow.field).in_(description.life_cycles))
            .order_by(col(MoveRow.id))
            .limit(limit)
        )
        if after is not None:
            query = query.where(col(MoveRow.id) > after)
        async with self._database.session() as session:
            return [Move.model_validate(found.model_dump()) for found in await session.exec(query)]

    async def list_history(self, name: str, key: str, *, after: int = 0, limit: int = 50) -> list[KeptVersion]:
        """What an entity said from version ``after`` + 1 on, oldest first; also of one that was deleted.

        Raises:
            NotFound: this entity keeps no history, or there is none of this key.
        """
        description = self.describe(name)
        if not description.keeps_history:
            raise NotFound("history of the entity", name)
        query = (
            select(VersionRow)
            .where(col(VersionRow.entity) == description.table, col(VersionRow.entity_id) == key)
            .where(col(VersionRow.version) > after)
            .order_by(col(VersionRow.version))
            .limit(limit)
        )
        async with self._database.session() as session:
            found = list(await session.exec(query))
        if not found and after == 0:
            raise NotFound(name, key)
        return [self._read_version(description, row) for row in found]

    # Writing. ---------------------------------------------------------------------------------------------------

    async def create(self, name: str, body: str | bytes) -> Any:
        """A new row from a JSON object.

        Raises:
            InvalidInput: a field is unknown, read-only, missing or does not fit; one entry a field.
            Conflict: a constraint of the database says no.
        """
        description = self.describe(name)
        values = read_body(description, body, model=description.create_body)
        with explained(description.name):
            async with self._database.session() as session:
                row = validate_row(description, values)
                session.add(row)
                await session.flush()
                await session.refresh(row)  # as the database keeps it, so that its tag is the one of the next reader
                await self._audit(session, description, row, action="created", fields=sorted(values))
        return row

    async def update(self, name: str, key: str, body: str | bytes, *, if_match: str) -> Any:
        """The row with the fields of a JSON object changed; ``if_match`` is what :func:`tag_of` said of it, or ``*``.

        Raises:
            NotFound: there is no such row.
            VersionMismatch: somebody else has changed it.
            TransitionRefused: a status would go where its life cycle does not lead.
            InvalidInput, Conflict: as for :meth:`create`.
        """
        description = self.describe(name)
        values = read_body(description, body, model=description.patch_body)
        async with self._changing(description, key, if_match=if_match) as (session, row):
            before = {field: getattr(row, field) for field in description.entity.model_fields}
            checked = validate_row(description, {**before, **values})
            for field in values:
                setattr(row, field, getattr(checked, field))
            await session.flush()
            await session.refresh(row)
            await self._audit(session, description, row, action="updated", fields=sorted(values))
        return row

    async def delete(self, name: str, key: str, *, if_match: str) -> None:
        """Delete a row, or mark it as deleted where the entity says so.

        Raises:
            NotFound: there is no such row.
            VersionMismatch: somebody else has changed it.
            Conflict: other rows need it.
        """
        description = self.describe(name)
        async with self._changing(description, key, if_match=if_match) as (session, row):
            if description.is_soft_deleted:
                row.deleted_at, row.deleted_by = self._database.clock.now(), current_principal().id
            else:
                await session.delete(row)
            await session.flush()
            await self._audit(session, description, row, action="deleted")

    async def restore(self, name: str, key: str, *, if_match: str) -> Any:
        """Take back that a row is deleted.

        Raises:
            NotFound: there is no such row, or this entity is deleted for good.
            VersionMismatch: somebody else has changed it.
            Conflict: it is not deleted.
        """
        description = self.describe(name)
        if not description.is_soft_deleted:
            raise NotFound("deleted " + name, key)
        async with self._changing(description, key, if_match=if_match, with_deleted=True) as (session, row):
            if row.deleted_at is None:
                raise Conflict(f"{name} {key!r} is not deleted, so there is nothing to take back", entity=name, id=key)
            row.deleted_at = row.deleted_by = None
            await session.flush()
            await self._audit(session, description, row, action="restored")
        return row

    # How. -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _changing(
        self, description: EntityDescription, key: str, *, if_match: str, with_deleted: bool = False
    ) -> AsyncIterator[tuple[AsyncSession, Any]]:
        """The row, held so that nobody else changes it before the block ends."""
        with explained(description.name):
            async with self._database.session() as session:
                row = await self._find(session, description, key, is_locked=True, with_deleted=with_deleted)
                if not _matches(if_match, tag_of(description, row)):
                    raise VersionMismatch(
                        description.name, key, version=tag_of(description, row), expected=if_match[:200]
                    )
                yield session, row

    async def _find(
        self,
        session: AsyncSession,
        description: EntityDescription,
        key: str,
        *,
        is_locked: bool = False,
        with_deleted: bool = False,
    ) -> Any:
        try:
            value = fit(description.key, description.key.adapter.validate_strings(key))
        except ValueError:  # as no row has it, Pydantic's refusal included
            raise NotFound(description.name, key) from None
        query = select(description.entity).where(attribute(description, description.key) == value)
        if is_locked and self._database.dialect == "sqlite":
            # It has no row locks; the first write of a transaction makes it the only writer.
            await session.exec(text("UPDATE toolkit_schema SET version_num = version_num"))  # type: ignore[call-overload]
        elif is_locked:
            query = query.with_for_update()
        row = (await session.exec(query)).one_or_none()
        if row is None or (description.is_soft_deleted and row.deleted_at is not None and not with_deleted):
            raise NotFound(description.name, key)
        return row

    async def _audit(
        self, session: AsyncSession, description: EntityDescription, row: Any, *, action: str, **details: Any
    ) -> None:
        await record_audit(
            session,
            action=f"entity.{action}",
            object_kind=description.name,
            object_id=str(_key(description, row)),
            details=details,
        )

    def _read_version(self, description: EntityDescription, row: VersionRow) -> KeptVersion:
        hidden = description.registration.hidden_fields
        values = {name: value for name, value in from_json(row.values).items() if name not in hidden}
        return KeptVersion(version=row.version, action=row.action, at=row.at, by=row.by, values=values)


def tag_of(description: EntityDescription, row: Any) -> str:
    """The entity tag of ``row`` in double quotes: its version, or a digest where it has none."""
    if description.is_versioned:
        return f'"{row.version}"'
    return f'"{hashlib.sha256(description.show(row).model_dump_json().encode()).hexdigest()[:32]}"'


def _matches(if_match: str, tag: str) -> bool:
    """Strong comparison of RFC 9110, section 13.1.1: a weak tag matches nothing."""
    return if_match.strip() == ANY_VERSION or tag in re.findall(r'(?<![/\w])"[^"]*"', if_match[:4096])


def _key(description: EntityDescription, row: Any) -> Any:
    return getattr(row, description.key.name)
