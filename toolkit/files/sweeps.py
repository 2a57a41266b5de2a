"""Sweeps: bytes without a row are found and deleted. A process that is killed during an upload leaves them behind."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from sqlmodel import col, select

from toolkit.files.storages import Storage, StoredObject
from toolkit.files.tables import FileRow
from toolkit.storage import Database

logger = logging.getLogger(__name__)

# Only what we can have written is touched; a folder or a bucket may hold other people's things too.
_FOLDERS: Final = (re.compile(r"\d{4}"), re.compile(r"\d{2}"), re.compile(r"\d{2}"))
_OBJECT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.part)?")


async def sweep_storage(database: Database, storage: Storage, *, before: datetime) -> int:
    """Delete the objects of ``storage`` that were last written ``before`` and have no row; how many there were.

    Goes from day to day, so that memory holds the names of one day and no more.
    """
    count = 0
    async for objects in _list_days(storage):
        old = [found.key for found in objects if found.modified_at is not None and found.modified_at < before]
        for key in await _find_orphans(database, storage, keys=old):
            await storage.delete(key)
            count += 1
    if count:
        logger.info(
            "Bytes without a file were deleted",
            extra={"event": "file.swept", "storage": storage.name, "count": count},
        )
    return count


async def _list_days(storage: Storage, folder: str = "", depth: int = 0) -> AsyncIterator[list[StoredObject]]:
    found = await storage.list_folder(folder)
    if depth == len(_FOLDERS):
        yield [item for item in found if not item.is_folder and _OBJECT.fullmatch(_name(item))]
        return
    for item in found:
        if item.is_folder and _FOLDERS[depth].fullmatch(_name(item)):
            async for objects in _list_days(storage, item.key, depth + 1):
                yield objects


async def _find_orphans(database: Database, storage: Storage, *, keys: Sequence[str]) -> list[str]:
    orphans: list[str] = []
    for start in range(0, len(keys), 500):
        batch = keys[start : start + 500]
        query = select(FileRow.key).where(col(FileRow.storage) == storage.name, col(FileRow.key).in_(batch))
        async with database.session() as session:
            kept = set(await session.exec(query))
        orphans += [key for key in batch if key not in kept]
    return orphans


def _name(item: StoredObject) -> str:
    return item.key.rpartition("/")[2]
