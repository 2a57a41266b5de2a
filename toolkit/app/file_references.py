"""What alive refers to a file: runs that go on, tasks that are open, entities. Only here is every room known.

References travel inside JSON texts, so the texts are searched for the file's id; ids are long enough to be no accident.
A history of an agent is a reference too, to messages in which files may be: who has one of those needs them as well.
What a codec has encoded is decoded and searched here, page by page: the database cannot look into it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.files import File, References, StubsOf
    from toolkit.storage import Database, Payloads

_MOST = 20
_PAGE = 500
_IDS_AT_ONCE = 50
"""Of histories that hold one file there may be many; SQLite takes a thousand terms in one expression."""


@dataclass(frozen=True)
class _Place:
    """Rows that may refer to a file: whose they are, by what they are told apart, and the columns to look into."""

    kind: str
    rows: str
    owner: str
    key: str
    columns: Sequence[str]

    def query(self, count: int) -> str:
        """A page of what may hold one of ``count`` ids: rows that do, and rows that are encoded."""
        wanted = ["mark", *(f"id{number}" for number in range(count))]
        held = " OR ".join(f"{column} LIKE :{name}" for column in self.columns for name in wanted)
        order = f"{self.owner}, {self.key}"
        return (
            f"SELECT {order}, {', '.join(self.columns)} FROM {self.rows} AND ({held}) "  # noqa: S608 - names are our own
            f"AND ({order}) > (:owner, :key) ORDER BY {order} LIMIT {_PAGE}"
        )


_LIVE = "('pending', 'running', 'suspended', 'parked')"
_OF_RUN = f"JOIN toolkit_run AS r ON r.id = run_id WHERE r.state IN {_LIVE}"
_OF_TASK = "JOIN toolkit_task AS t ON t.id = task_id WHERE t.state IN ('open', 'claimed')"
_PLACES = (
    _Place("run", f"toolkit_run WHERE state IN {_LIVE}", "id", "id", ["input"]),
    _Place("run", f"toolkit_step AS s {_OF_RUN}", "s.run_id", "s.path", ["s.result", "s.arguments"]),
    _Place("run", f"toolkit_wait AS w {_OF_RUN} AND w.state = 'open'", "w.run_id", "w.id", ["w.arguments"]),
    # What is meant for one run is that run's before it has received it; what is meant for any run is nobody's yet.
    _Place("run", f"toolkit_event AS e {_OF_RUN}", "e.run_id", "e.id", ["e.payload"]),
    _Place(
        "task",
        "toolkit_task WHERE state IN ('open', 'claimed')",
        "id",
        "id",
        ["files", "input", "suggested_data"],
    ),
    _Place("task", f"toolkit_task_vote AS v {_OF_TASK}", "v.task_id", "v.voter", ["v.output", "v.evidence"]),
    _Place("task", f"toolkit_task_draft AS d {_OF_TASK}", "d.task_id", "d.person", ["d.output"]),
)
_HISTORIES = _Place("history", "toolkit_agent_history WHERE id IS NOT NULL", "id", "id", ["messages"])


def references_in(entities: Iterable[type[Any]]) -> References:
    """Who needs a file: asked of runs, tasks and those ``entities`` that have a column for files."""
    known = list(entities)

    async def references(file: File, session: AsyncSession) -> Sequence[str]:
        found: dict[str, None] = {}
        sought = [file.id, *[history async for history in _owners(_HISTORIES, [file.id], session)]]
        for place in _PLACES:
            count = 0
            async for owner in _owners(place, sought, session):
                count += f"{place.kind} {owner}" not in found
                found[f"{place.kind} {owner}"] = None
                if count >= _MOST:
                    break
        for entity in known:
            found |= dict.fromkeys(await _in_entity(entity, sought, session))
        return list(found)

    return references


async def _owners(place: _Place, sought: Sequence[str], session: AsyncSession) -> AsyncIterator[str]:
    """Whose rows hold one of the ids that are ``sought``; some more than once."""
    for start in range(0, len(sought), _IDS_AT_ONCE):
        async for owner in _owners_of_some(place, sought[start : start + _IDS_AT_ONCE], session):
            yield owner


async def _owners_of_some(place: _Place, sought: Sequence[str], session: AsyncSession) -> AsyncIterator[str]:
    from sqlalchemy import text

    from toolkit.storage import MARK, payloads_of

    payloads = payloads_of((await session.connection()).dialect)
    after = {"owner": "", "key": ""}
    ids = {f"id{number}": f"%{one}%" for number, one in enumerate(sought)}
    while True:
        query = text(place.query(len(sought))).bindparams(mark=f"{MARK}%", **ids, **after)
        rows = [tuple(row) for row in await session.exec(query)]  # type: ignore[call-overload]
        if payloads is None:
            holding = _holding(rows, sought, payloads, place)
        else:
            holding = await asyncio.to_thread(_holding, rows, sought, payloads, place)
        for owner in holding:
            yield owner
        if len(rows) < _PAGE:
            return
        after = {"owner": rows[-1][0], "key": rows[-1][1]}


def _holding(
    rows: Sequence[tuple[Any, ...]], sought: Sequence[str], payloads: Payloads | None, place: _Place
) -> list[str]:
    """The owners of the rows that hold one of the ids.

    Raises:
        PayloadNotDecoded: a row cannot be looked into, so nobody knows; the file must not go.
    """
    from toolkit.storage import readable

    found = []
    for owner, _, *cells in rows:
        for cell in cells:
            what = f"a payload of the {place.kind} {owner}"
            plain = readable(cell, what=what) if payloads is None or cell is None else payloads.decode(cell, what=what)
            if plain is not None and any(one in plain for one in sought):
                found.append(owner)
                break
    return found


def stubs_in(database: Database) -> StubsOf:
    """Which large values the journals of runs hold. Their stubs are not encoded: they say nothing of the value."""

    async def stubs_of(run_ids: Sequence[str]) -> set[str]:
        from sqlalchemy import bindparam, text

        query = text("SELECT result FROM toolkit_step WHERE run_id IN :runs AND result LIKE '@values:%'")
        async with database.session() as session:
            rows = await session.exec(query.bindparams(bindparam("runs", list(run_ids), expanding=True)))  # type: ignore[call-overload]
            return {row[0] for row in rows}

    return stubs_of


async def _in_entity(entity: type[Any], sought: Sequence[str], session: AsyncSession) -> list[str]:
    from sqlalchemy import Text, cast, inspect, or_, select

    from toolkit.entities import JsonOf

    mapper = inspect(entity)
    columns = [column for column in mapper.local_table.columns if isinstance(column.type, JsonOf)]
    if not columns:
        return []
    found: list[str] = []
    for start in range(0, len(sought), _IDS_AT_ONCE):
        some = sought[start : start + _IDS_AT_ONCE]
        fits = [cast(column, Text).contains(one, autoescape=True) for column in columns for one in some]
        query = select(*mapper.primary_key).where(or_(*fits)).limit(_MOST)
        rows = (await (await session.connection()).execute(query)).all()
        found += [f"{entity.__name__} {'/'.join(map(str, row))}" for row in rows]
    return found[:_MOST]
