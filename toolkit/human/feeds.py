"""The feed: what happens to any task, numbered in the order in which it was committed.

The ids of changes are made before their commits, so one that is read late may have a low id: whoever reads on after the
highest id has lost it. A number is given once a change is committed, by one who gives numbers at a time; so whoever has
read up to a number has read everything below it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sqlmodel import col, select

from toolkit.human.tables import ChangeRow
from toolkit.human.tasks import Change
from toolkit.storage import Query, Script, Statement, both

if TYPE_CHECKING:
    from toolkit.storage import Database

_PAGE: Final = 1000

_UNNUMBERED = both("unnumbered changes", "SELECT 1 FROM toolkit_task_change WHERE number IS NULL LIMIT 1")
_LAST = both("last change", "SELECT coalesce(max(number), 0) FROM toolkit_task_change")
# On SQLite there is one writer anyway.
_LOCK = Statement(
    "lock numbers of changes",
    sqlite="SELECT 1",
    postgresql="SELECT pg_advisory_xact_lock(hashtextextended('toolkit:numbers of task changes', 0))::text",
)
_NUMBER = both(
    "number changes",
    f"""UPDATE toolkit_task_change SET number = fresh.number FROM (
            SELECT id, (SELECT coalesce(max(number), 0) FROM toolkit_task_change)
                       + row_number() OVER (ORDER BY id) AS number
            FROM (SELECT id FROM toolkit_task_change WHERE number IS NULL ORDER BY id LIMIT {_PAGE}) AS u) AS fresh
        WHERE toolkit_task_change.id = fresh.id""",  # noqa: S608
)


async def number_changes(database: Database) -> None:
    """Number what has none yet, page by page."""
    while await database.reader.read(Query(_UNNUMBERED)):
        await database.run(_number_page())


def _number_page() -> Script[None]:
    yield Query(_LOCK)
    yield Query(_NUMBER)


async def last_number(database: Database) -> int:
    """The number of the last change that is committed now, 0 if there is none."""
    await number_changes(database)
    return int((await database.reader.read(Query(_LAST)))[0][0])


async def changes_after(database: Database, number: int, *, limit: int) -> list[tuple[int, Change]]:
    """Up to ``limit`` changes above ``number``, each with its own, in order."""
    await number_changes(database)
    query = select(ChangeRow).where(col(ChangeRow.number) > number).order_by(col(ChangeRow.number)).limit(limit)
    async with database.session() as session:
        return [(row.number or 0, change_of(row)) for row in (await session.exec(query)).all()]


def change_of(row: ChangeRow) -> Change:
    """A change as it is shown."""
    return Change(**{**row.model_dump(exclude={"number"}), "details": json.loads(row.details)})
