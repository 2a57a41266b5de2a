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
    count = await storage.end_unfinished(before=before)
    async for objects in list_days(storage, named=_OBJECT):
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


async def list_days(storage: Storage, *, named: re.Pattern[str], folder: str = "") -> AsyncIterator[list[StoredObject]]:
    """The objects below ``folder`` whose names fit, day by day; folders that are no days are left alone."""
    async for day in _list_folders(storage, folder, depth=0):
        yield [item for item in day if not item.is_folder and named.fullmatch(_name(item))]


async def _list_folders(storage: Storage, folder: str, *, depth: int) -> AsyncIterator[list[StoredObject]]:
    found = await storage.list_folder(folder)
    if depth == len(_FOLDERS):
        yield found
        return
    for item in found:
        if item.is_folder and _FOLDERS[depth].fullmatch(_name(item)):
            async for objects in _list_folders(storage, item.key, depth=depth + 1):
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
