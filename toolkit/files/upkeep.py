"""Upkeep: what is done with all files of an installation, by an operator or by the sweeper."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlmodel import col

from toolkit.errors import FileInUse, NotFound, StorageError
from toolkit.files.file import FileMetadata
from toolkit.files.parts import report_leftover
from toolkit.files.retention import Damage, RetentionRule, shortest
from toolkit.files.sweeps import sweep_storage
from toolkit.files.tables import FileRow
from toolkit.files.threads import in_thread
from toolkit.ids import new_id

if TYPE_CHECKING:
    from toolkit.files.store import FileStore


async def expire_files(store: FileStore, rules: Sequence[RetentionRule]) -> int:
    """Delete the files that a rule says have been kept long enough; how many there were.

    The first rule that fits a file counts. What something alive refers to stays until the next time.
    """
    if not rules:
        return 0
    now, count = store.database.clock.now(), 0
    async for row in store.rows.each(col(FileRow.created_at) < now - shortest(rules)):
        rule = next((rule for rule in rules if rule.fits(FileMetadata.of(row))), None)
        if rule is None or rule.keep is None or now - row.created_at < rule.keep:
            continue
        try:
            await store.delete(row.id, reason=f"kept for {rule.keep.days} days")
        except (FileInUse, NotFound):
            continue
        count += 1
    return count


async def verify_files(store: FileStore) -> AsyncIterator[Damage]:
    """Read every file and compare it with its hash; what is damaged or missing, oldest first."""
    async for row in store.rows.each():
        try:
            async with aclosing(_checked(store, row)) as chunks:
                async for _ in chunks:
                    continue
        except StorageError as error:
            if await _is_there(store, row):  # it may have been deleted meanwhile
                yield Damage(FileMetadata.of(row), str(error))


async def migrate_files(store: FileStore, *, source: str, target: str) -> int:
    """Move every file of the storage ``source`` to ``target``, checking each on the way; how many there were.

    Reads go on meanwhile: the row changes when the copy is whole, and the old bytes go after that. It can be stopped,
    begun again, and made by several processes at once: each copy has a key of its own, and one of them counts.

    Raises:
        NotFound: a storage of this name is not configured.
        StorageError: a file is damaged, or a storage does not do what it must.
    """
    origin, place = store.storages.get(source), store.storages.get(target)
    count = 0
    async for row in store.rows.each(col(FileRow.storage) == source):
        if not await _is_there(store, row):  # it went along with an equal one, or was deleted
            continue
        key = f"{row.created_at:%Y/%m/%d}/{new_id()}"
        try:
            await place.write(key, _checked(store, row))
        except StorageError:
            if await _is_there(store, row):
                raise
            continue  # it was deleted, or moved by somebody else, on the way
        moved = await store.rows.move(row, storage=target, key=key)
        emptied, old = (origin, row.key) if moved else (place, key)
        try:
            await emptied.delete(old)
        except StorageError as error:
            report_leftover(error, storage=emptied.name, key=old)
        count += moved
    return count


async def sweep_orphans(store: FileStore, *, older_than: timedelta = timedelta(days=1)) -> int:
    """Delete the bytes that have no row and have not been touched for ``older_than``; how many there were.

    A storage belongs to one installation: the files of another would have no row here.
    """
    before = store.database.clock.now() - older_than
    return sum([await sweep_storage(store.database, storage, before=before) for storage in store.storages])


async def _is_there(store: FileStore, row: FileRow) -> bool:
    try:
        found = await store.rows.find(row.id)
    except NotFound:
        return False
    return (found.storage, found.key) == (row.storage, row.key)


async def _checked(store: FileStore, row: FileRow) -> AsyncGenerator[bytes, None]:
    """The content, failing at its end if it is not what was stored."""
    digest = hashlib.sha256()
    async with aclosing(store.chunks(row, start=0, end=row.size)) as chunks:
        async for chunk in chunks:
            await in_thread(digest.update, chunk)
            yield chunk
    if digest.hexdigest() != row.sha256:
        raise StorageError(
            f"the bytes of file {row.id!r} in the storage {row.storage!r} are damaged: they are not those that were "
            f"stored; restore {row.key!r} from a backup"
        )
