"""Scanning: with a scan, a new file is read by nobody before the scan has let it pass."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from sqlmodel import col

from toolkit.access import record_audit
from toolkit.errors import FileQuarantined, NotFound, StorageError
from toolkit.files.file import File, FileMetadata
from toolkit.files.rows import lock_row
from toolkit.files.tables import FileRow

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.files.store import FileStore

logger = logging.getLogger(__name__)

Scan: TypeAlias = Callable[[File, AsyncIterator[bytes]], Awaitable[str | None]]
"""Looks at the content of a new file; ``None`` if it is clean, else why nobody may read it."""


async def judge(store: FileStore, row: FileRow, scan: Scan) -> None:
    """Have a new file scanned, and let it pass or keep it from everybody.

    Raises:
        FileQuarantined: the scan found something.
        StorageError: the scan failed; the file stays in quarantine until a sweep has it scanned again.
    """
    try:
        async with aclosing(store.chunks(row, start=0, end=row.size)) as chunks:
            reason = await scan(FileMetadata.of(row).reference(), chunks)
    except StorageError:
        raise
    except Exception as error:  # an author's function
        logger.exception("A scan failed", extra={"event": "file.scan_failed", "file_id": row.id})
        raise StorageError(f"the file {row.filename!r} could not be scanned; it waits in quarantine") from error
    async with store.database.session() as session:
        locked = await lock_row(session, row.id)
        if locked.state != "quarantined" or locked.quarantine_reason is not None:
            # It was released, or another scan was faster: what was decided meanwhile holds.
            reason = locked.quarantine_reason
        else:
            await _decide(session, locked, reason)
    if reason is not None:
        logger.warning("A file was quarantined", extra={"event": "file.quarantined", "file_id": row.id})
        raise FileQuarantined(row.id, filename=row.filename, reason=reason)


async def _decide(session: AsyncSession, row: FileRow, reason: str | None) -> None:
    row.state = "stored" if reason is None else "quarantined"
    row.quarantine_reason = reason
    session.add(row)
    if reason is not None:
        details = {"reason": reason[:1000]}
        await record_audit(session, action="file.quarantined", object_kind="file", object_id=row.id, details=details)


async def rescan(store: FileStore, *, older_than: timedelta = timedelta(minutes=5)) -> int:
    """Scan the files whose scan did not come to an end; how many there were."""
    if store.scan is None:
        return 0
    count = 0
    waiting = (
        col(FileRow.state) == "quarantined",
        col(FileRow.quarantine_reason).is_(None),
        col(FileRow.created_at) < store.database.clock.now() - older_than,
    )
    async for row in store.rows.each(*waiting):
        with suppress(FileQuarantined, NotFound, StorageError):  # it is logged, and stays where it is
            await judge(store, row, store.scan)
        count += 1
    return count


async def release(store: FileStore, file_id: str, *, reason: str) -> FileMetadata:
    """Take a file out of quarantine, on the word of the current principal; it changes nothing for any other file.

    Raises:
        NotFound: there is no such file.
    """
    async with store.database.session() as session:
        row = await lock_row(session, file_id)
        if row.state == "quarantined":
            details = {"reason": reason, "found": row.quarantine_reason}
            row.state, row.quarantine_reason = "stored", None
            session.add(row)
            await record_audit(session, action="file.released", object_kind="file", object_id=file_id, details=details)
    return FileMetadata.of(row)
