"""The rows of files: every statement on ``toolkit_file`` but the sweep's look-up of keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.access import record_audit
from toolkit.errors import NotFound
from toolkit.files.tables import FileRow
from toolkit.storage import Database

LONGEST_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class FileFilter:
    """Which files are wanted; what is ``None`` does not matter."""

    content_type: str | None = None
    """Such as ``image/png``, or ``image/*``."""
    created_by: str | None = None
    filename: str | None = None
    """Any part of the name, in any case; SQLite knows the cases of A to Z alone."""
    sha256: str | None = None
    storage: str | None = None
    state: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    size_from: int | None = None
    size_to: int | None = None
    after: str | None = None
    """The id of the last file seen."""

    def conditions(self) -> list[Any]:
        """What a row must fulfil, as conditions of SQLAlchemy."""
        return [
            _CONDITIONS[field.name](value) for field in fields(self) if (value := getattr(self, field.name)) is not None
        ]


def _is_of_type(wanted: str) -> Any:
    column = col(FileRow.content_type)
    return column.startswith(wanted[:-1], autoescape=True) if wanted.endswith("/*") else column == wanted


_CONDITIONS: dict[str, Any] = {
    "content_type": _is_of_type,
    "created_by": lambda value: col(FileRow.created_by) == value,
    "filename": lambda value: col(FileRow.filename).icontains(value, autoescape=True),
    "sha256": lambda value: col(FileRow.sha256) == value,
    "storage": lambda value: col(FileRow.storage) == value,
    "state": lambda value: col(FileRow.state) == value,
    "created_from": lambda value: col(FileRow.created_at) >= value,
    "created_before": lambda value: col(FileRow.created_at) < value,
    "size_from": lambda value: col(FileRow.size) >= value,
    "size_to": lambda value: col(FileRow.size) <= value,
    "after": lambda value: col(FileRow.id) < value,
}


class FileRows:
    """The rows of one installation. Several rows may share an object: equal content that is stored once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, file_id: str) -> FileRow:
        """Raises ``NotFound``."""
        async with self._database.session() as session:
            row = await session.get(FileRow, file_id)
        if row is None:
            raise NotFound("file", file_id)
        return row

    async def list(self, wanted: FileFilter, *, limit: int) -> list[FileRow]:
        """Newest first."""
        query = select(FileRow).where(*wanted.conditions()).order_by(col(FileRow.id).desc()).limit(limit)
        async with self._database.session() as session:
            return [*await session.exec(query)]

    async def each(self, *conditions: Any) -> AsyncIterator[FileRow]:
        """Every row that fulfils ``conditions``, oldest first, page by page; of those that come meanwhile some."""
        after = ""
        while True:
            query = select(FileRow).where(col(FileRow.id) > after, *conditions)
            async with self._database.session() as session:
                rows = [*await session.exec(query.order_by(col(FileRow.id)).limit(LONGEST_PAGE))]
            for row in rows:
                yield row
            if len(rows) < LONGEST_PAGE:
                return
            after = rows[-1].id

    async def find_equal(self, row: FileRow) -> str | None:
        """The key of the oldest file of the same storage with equal content."""
        query = select(FileRow.key).where(*_equal_to(row)).order_by(col(FileRow.id)).limit(1)
        async with self._database.session() as session:
            return (await session.exec(query)).first()

    async def insert(self, row: FileRow, *, shares: str | None = None, replaces: str | None = None) -> None:
        """Keep ``row`` with its audit entry.

        It gets the object ``shares`` of a file with equal content, if that is still there. Files whose object
        ``replaces`` is damaged get the one of ``row``.
        """
        async with self._database.session() as session:
            if shares is not None and await _lock_equal(session, row, key=shares):
                row.key = shares
            if replaces is not None:
                for id_ in await _move(session, storage=row.storage, key=replaces, to=(row.storage, row.key)):
                    details = {"from": row.id}
                    await record_audit(
                        session, action="file.restored", object_kind="file", object_id=id_, details=details
                    )
            session.add(row)
            await record_audit(
                session,
                action="file.uploaded",
                object_kind="file",
                object_id=row.id,
                details={"size": row.size, "content_type": row.content_type, "sha256": row.sha256},
            )

    async def move(self, row: FileRow, *, storage: str, key: str) -> int:
        """Say that the object of ``row`` is elsewhere now.

        How many files share it; 0 if it was moved or deleted meanwhile.
        """
        async with self._database.session() as session:
            ids = await _move(session, storage=row.storage, key=row.key, to=(storage, key))
            for id_ in ids:
                details = {"from": row.storage, "to": storage}
                await record_audit(session, action="file.moved", object_kind="file", object_id=id_, details=details)
        return len(ids)


async def lock_row(session: AsyncSession, file_id: str) -> FileRow:
    """The row, held until the transaction ends; on SQLite a write that changes nothing makes it the only writer.

    Raises ``NotFound``.
    """
    await session.exec(update(FileRow).where(col(FileRow.id) == file_id).values(id=file_id))
    row = await session.get(FileRow, file_id)
    if row is None:
        raise NotFound("file", file_id)
    return row


async def is_shared(session: AsyncSession, row: FileRow) -> bool:
    """Whether another file has its bytes in the same object."""
    query = select(FileRow.id).where(
        col(FileRow.storage) == row.storage, col(FileRow.key) == row.key, col(FileRow.id) != row.id
    )
    return (await session.exec(query.limit(1))).first() is not None


async def _move(session: AsyncSession, *, storage: str, key: str, to: tuple[str, str]) -> list[str]:
    """Say of all files that have the object ``key`` that it is elsewhere; which these are."""
    sharing = (col(FileRow.storage) == storage, col(FileRow.key) == key)
    # An upload that is about to share the object holds one of its rows: after this nobody does, and the second
    # statement sees the row that it wrote.
    await session.exec(update(FileRow).where(*sharing).values(key=key))
    new_storage, new_key = to
    moved = await session.exec(
        update(FileRow).where(*sharing).values(storage=new_storage, key=new_key).returning(col(FileRow.id))
    )
    return sorted(id_ for (id_,) in moved)


def _equal_to(row: FileRow) -> tuple[Any, ...]:
    return (col(FileRow.sha256) == row.sha256, col(FileRow.size) == row.size, col(FileRow.storage) == row.storage)


async def _lock_equal(session: AsyncSession, row: FileRow, *, key: str) -> bool:
    """Whether a file with equal content has the object ``key``; it stays there until the transaction ends."""
    oldest = (
        select(col(FileRow.id))
        .where(*_equal_to(row), col(FileRow.key) == key)
        .order_by(col(FileRow.id))
        .limit(1)
        .scalar_subquery()
    )
    # Looked at again when the row is ours: it may have been moved while we waited for it.
    held = update(FileRow).where(col(FileRow.id) == oldest, *_equal_to(row), col(FileRow.key) == key)
    return (await session.exec(held.values(sha256=row.sha256).returning(col(FileRow.id)))).first() is not None
