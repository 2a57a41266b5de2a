"""The tables of an author's entities, made at start where they are missing. A table that exists is never changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.storage import Database


async def create_missing_tables(database: Database, entities: Iterable[type[Any]]) -> None:
    """Make the tables of ``entities`` in one transaction; of several processes that start together one does it."""
    from sqlalchemy import MetaData, Table, text

    tables: dict[MetaData, list[Table]] = defaultdict(list)
    for entity in entities:
        tables[entity.__table__.metadata].append(entity.__table__)
    if not tables:
        return
    async with database.session() as session:
        connection = await session.connection()
        # A write to the schema's one row is a lock in both dialects, so that looking and making are one.
        await connection.execute(text("UPDATE toolkit_schema SET version = version"))
        for metadata, wanted in tables.items():
            await connection.run_sync(metadata.create_all, tables=wanted, checkfirst=True)
