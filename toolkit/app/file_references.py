"""What alive refers to a file: runs that go on, tasks that are open, entities. Only here is every room known.

References travel inside JSON texts, so the texts are searched for the file's id; ids are long enough to be no accident.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.files import File, References, StubsOf
    from toolkit.storage import Database

_MOST = 20
_LIVE = "('pending', 'running', 'suspended', 'parked')"
_QUERIES = {
    "run": (
        f"SELECT id FROM toolkit_run WHERE state IN {_LIVE} AND (input LIKE :id OR id IN "  # noqa: S608
        "(SELECT run_id FROM toolkit_step WHERE result LIKE :id OR arguments LIKE :id) OR id IN "
        "(SELECT run_id FROM toolkit_wait WHERE state = 'open' AND arguments LIKE :id)) ORDER BY id"
    ),
    "task": (
        "SELECT id FROM toolkit_task WHERE state IN ('open', 'claimed') AND "
        "(files LIKE :id OR input LIKE :id OR suggested_data LIKE :id) ORDER BY id"
    ),
}


def references_in(entities: Iterable[type[Any]]) -> References:
    """Who needs a file: asked of runs, tasks and those ``entities`` that have a column for files."""
    known = list(entities)

    async def references(file: File, session: AsyncSession) -> Sequence[str]:
        from sqlalchemy import text

        found: list[str] = []
        for kind, query in _QUERIES.items():
            rows = await session.exec(text(f"{query} LIMIT {_MOST}").bindparams(id=f"%{file.id}%"))  # type: ignore[call-overload]
            found += [f"{kind} {row[0]}" for row in rows]
        for entity in known:
            found += await _in_entity(entity, file, session)
        return found

    return references


def stubs_in(database: Database) -> StubsOf:
    """Which large values the journals of runs hold."""

    async def stubs_of(run_ids: Sequence[str]) -> set[str]:
        from sqlalchemy import bindparam, text

        query = text("SELECT result FROM toolkit_step WHERE run_id IN :runs AND result LIKE '@values:%'")
        async with database.session() as session:
            rows = await session.exec(query.bindparams(bindparam("runs", list(run_ids), expanding=True)))  # type: ignore[call-overload]
            return {row[0] for row in rows}

    return stubs_of


async def _in_entity(entity: type[Any], file: File, session: AsyncSession) -> list[str]:
    from sqlalchemy import Text, cast, inspect, or_, select

    from toolkit.entities import JsonOf

    mapper = inspect(entity)
    columns = [column for column in mapper.local_table.columns if isinstance(column.type, JsonOf)]
    if not columns:
        return []
    fits = [cast(column, Text).contains(file.id, autoescape=True) for column in columns]
    query = select(*mapper.primary_key).where(or_(*fits)).limit(_MOST)
    rows = (await (await session.connection()).execute(query)).all()
    return [f"{entity.__name__} {'/'.join(map(str, row))}" for row in rows]
