"""The store: bytes in a storage and a row in the database that says so.

Bytes first, row after: who finds a row finds its bytes. Bytes without a row are what a killed upload leaves behind; the
sweep takes them away.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import TypeAlias

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.access import current_principal, record_audit
from toolkit.errors import FileInUse, FileNotStored, FileQuarantined, InvalidInput, NotFound, StorageError
from toolkit.files.detection import detect
from toolkit.files.file import File, FileMetadata
from toolkit.files.names import clean_filename
from toolkit.files.parts import report_leftover
from toolkit.files.rows import LONGEST_PAGE, FileFilter, FileRows, is_shared, lock_row
from toolkit.files.scanning import Scan, judge
from toolkit.files.storages import FileStorages, Storage, holds
from toolkit.files.tables import FileRow
from toolkit.files.threads import uninterrupted
from toolkit.files.uploads import Content, FileLimits, Meter, Upload
from toolkit.ids import new_id
from toolkit.storage import Database

logger = logging.getLogger(__name__)

SIGNED_SECONDS = 300

References: TypeAlias = Callable[[File, AsyncSession], Awaitable[Sequence[str]]]
"""Who needs a file, such as ``run 01a1...``; asked in the transaction that would delete it. Empty: nobody."""


class FileStore:
    """The files of one installation."""

    def __init__(
        self,
        database: Database,
        storages: FileStorages,
        *,
        limits: FileLimits | None = None,
        references: References | None = None,
        scan: Scan | None = None,
        stores_once: bool = False,
    ) -> None:
        """``references`` says what alive needs a file; ``scan`` looks at each new file before anybody reads it.

        With ``stores_once`` files of equal content in one storage share their bytes; each has a row of its own.
        """
        self.database = database
        self.storages = storages
        self.rows = FileRows(database)
        self.limits = limits or FileLimits()
        self.references = references
        self.scan = scan
        self.stores_once = stores_once

    # Writing. ---------------------------------------------------------------------------------------------------

    async def upload(
        self, content: Content, *, filename: str, content_type: str | None = None, storage: str | None = None
    ) -> File:
        """Store ``content`` in ``storage`` (the default one) for the current principal; see :meth:`File.upload`.

        Writes its row and its audit entry in a transaction of its own: on SQLite, do not call it while a session of
        yours holds a write.

        Raises:
            LimitExceeded: more bytes came than the limits allow.
            InvalidInput: the content is none of the things that can be uploaded, or of a type that is not taken.
            NotFound: there is no storage of this name.
            FileNotStored: the storage did not take it.
            FileQuarantined: its scan found something; it is kept.
            StorageError: its scan failed; it is kept until a sweep has it scanned again.
        """
        row = await self._store(content, filename=filename, content_type=content_type, storage=storage)
        if self.scan is not None:
            await judge(self, row, self.scan)
        return FileMetadata.of(row).reference()

    async def _store(
        self, content: Content, *, filename: str, content_type: str | None, storage: str | None = None
    ) -> FileRow:
        """A new row and its bytes, in quarantine if there is a scan."""
        now = self.database.clock.now()
        file_id = new_id()
        key = f"{now:%Y/%m/%d}/{file_id}"
        label = clean_filename(filename)
        meter = Meter(content, limits=self.limits, filename=label)
        async with aclosing(meter.blocks()) as blocks:
            first = await anext(blocks, b"")
            found = detect(meter.head, filename=label, declared=content_type)
            self.limits.require_type(found, filename=label)
            place = self.storages.get(storage) if storage else self.storages.choose(filename=label, content_type=found)
            try:
                await place.write(key, _chained(first, blocks))
            except StorageError as error:
                raise FileNotStored(label) from error
        row = FileRow(
            id=file_id,
            filename=label,
            content_type=found,
            size=meter.size,
            sha256=meter.sha256,
            storage=place.name,
            key=key,
            created_at=now,
            created_by=current_principal().id,
            state="quarantined" if self.scan is not None else "stored",
        )
        await self._keep(row, place)
        logger.info(
            "A file was stored",
            extra={"event": "file.stored", "file_id": file_id, "size": row.size, "content_type": row.content_type},
        )
        return row

    async def upload_all(self, uploads: AsyncIterable[Upload]) -> list[File]:
        """Store several files as they come, or none of them: who gets an error knows no ids to clean up with.

        Only a file in which its scan finds something is kept, in quarantine.

        Raises:
            LimitExceeded: there are more than the limits allow.
            Whatever :meth:`upload` raises; it names the file.
        """
        stored: list[File] = []
        try:
            async for upload in uploads:
                self.limits.require_count(len(stored) + 1)
                row = await self._store(upload.content, filename=upload.filename, content_type=upload.content_type)
                stored.append(FileMetadata.of(row).reference())
                if self.scan is not None:
                    await judge(self, row, self.scan)
        except FileQuarantined:
            await uninterrupted(self._take_back(stored[:-1]))
            raise
        except BaseException:
            await uninterrupted(self._take_back(stored))
            raise
        return stored

    async def delete(self, file_id: str, *, reason: str | None = None) -> None:
        """Delete a file that nothing alive refers to.

        Row first, bytes after: whoever still finds the row finds the bytes. What a crash in between leaves is swept.

        Raises:
            NotFound: there is no such file.
            FileInUse: a live run, an open task or an entity refers to it.
        """
        async with self.database.session() as session:
            row = await lock_row(session, file_id)
            if self.references is not None:
                needed_by = await self.references(FileMetadata.of(row).reference(), session)
                if needed_by:
                    raise FileInUse(file_id, needed_by)
            others_remain = await is_shared(session, row)
            await session.delete(row)
            details = {"size": row.size, "sha256": row.sha256} | ({"reason": reason} if reason else {})
            await record_audit(session, action="file.deleted", object_kind="file", object_id=file_id, details=details)
        logger.info("A file was deleted", extra={"event": "file.deleted", "file_id": file_id})
        if others_remain:
            return
        try:
            await self._place_of(row).delete(row.key)
        except StorageError as error:
            report_leftover(error, storage=row.storage, key=row.key)

    # Reading. ---------------------------------------------------------------------------------------------------

    async def get(self, file_id: str) -> File:
        """The reference of a file.

        Raises:
            NotFound: there is no such file.
        """
        return (await self.metadata(file_id)).reference()

    async def metadata(self, file: File | str) -> FileMetadata:
        """What is known of a file, by its id or its reference.

        Raises:
            NotFound: there is no such file.
            InvalidInput: the reference does not say what the store says.
        """
        return FileMetadata.of(await self._find(file))

    async def read(self, file: File | str) -> bytes:
        """The whole content, checked against its hash. Raises what :meth:`open` raises."""
        row = await self._find(file)
        _refuse_quarantined(row)
        async with aclosing(self.chunks(row, start=0, end=row.size)) as chunks:
            content = b"".join([chunk async for chunk in chunks])
        if hashlib.sha256(content).hexdigest() != row.sha256:
            raise StorageError(
                f"the bytes of file {row.id!r} in the storage {row.storage!r} are not those that were stored; restore "
                f"{row.key!r} from a backup"
            )
        return content

    @asynccontextmanager
    async def open(
        self, file: File | str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The content from byte ``start`` to before ``end``, in chunks.

        Raises:
            NotFound: there is no such file.
            FileQuarantined: its scan has not let it pass.
            InvalidInput: the reference does not say what the store says, or the range is not within the file.
            StorageError: the bytes cannot be read, or there are fewer than there were.
        """
        row = await self._find(file)
        _refuse_quarantined(row)
        last = row.size if end is None else end
        if not 0 <= start <= last <= row.size:
            raise InvalidInput(f"bytes {start} to {last} were asked of a file of {row.size} bytes")
        async with aclosing(self.chunks(row, start=start, end=last)) as chunks:
            yield chunks

    async def sign(self, file: FileMetadata, *, disposition: str) -> str | None:
        """An address at which the storage itself gives out the bytes for five minutes, if it is to and can."""
        row = await self._find(file.id)
        _refuse_quarantined(row)
        return await self._place_of(row).sign(
            row.key, seconds=SIGNED_SECONDS, disposition=disposition, content_type=row.content_type
        )

    async def list_files(
        self,
        *,
        content_type: str | None = None,
        created_by: str | None = None,
        filename: str | None = None,
        sha256: str | None = None,
        storage: str | None = None,
        state: str | None = None,
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        size_from: int | None = None,
        size_to: int | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[FileMetadata]:
        """Files, newest first; ``after`` is the id of the last one seen, ``limit`` 1 to ``LONGEST_PAGE``.

        ``content_type`` may be ``image/*``; ``filename`` is any part of the name, in any case (SQLite
        knows the cases of A to Z alone).

        Raises:
            InvalidInput: the limit is out of range.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(
                f"limit is {limit}; expected 1 to {LONGEST_PAGE}",
                errors=[{"loc": "limit", "msg": f"expected 1 to {LONGEST_PAGE}", "type": "limit"}],
            )
        wanted = FileFilter(
            content_type=content_type,
            created_by=created_by,
            filename=filename,
            sha256=sha256,
            storage=storage,
            state=state,
            created_from=created_from,
            created_before=created_before,
            size_from=size_from,
            size_to=size_to,
            after=after,
        )
        return [FileMetadata.of(row) for row in await self.rows.list(wanted, limit=limit)]

    async def chunks(self, row: FileRow, *, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """The bytes of a row, quarantined or not; for the room's own use.

        Goes on at the new place when the file is moved to another storage meanwhile.
        """
        at = start
        while True:
            try:
                async with aclosing(self._place_of(row).read(row.key, start=at, end=end)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        yield chunk
                break
            except StorageError:
                found = await self._after_move(row)
                if found is None:
                    raise
                row = found
        if at != end:
            raise StorageError(
                f"the storage {row.storage!r} gave {at - start} of {end - start} bytes of file {row.id!r}; restore "
                f"{row.key!r} from a backup"
            )

    # How. -------------------------------------------------------------------------------------------------------

    async def _keep(self, row: FileRow, place: Storage) -> None:
        """Write the row of bytes that are there; or take the bytes away again, if they are not needed."""
        own = row.key
        try:
            equal = await self.rows.find_equal(row) if self.stores_once else None
            if equal is None or await holds(place, equal, size=row.size):
                await uninterrupted(self.rows.insert(row, shares=equal))
            else:  # theirs were lost, and ours are the same
                await uninterrupted(self.rows.insert(row, replaces=equal))
        except BaseException:
            await uninterrupted(self._withdraw(place, file_id=row.id, key=own))
            raise
        if row.key != own:
            try:
                await place.delete(own)
            except StorageError as error:
                report_leftover(error, storage=place.name, key=own)

    async def _withdraw(self, place: Storage, *, file_id: str, key: str) -> None:
        """Delete the bytes of an upload whose row was not written, if that is sure.

        A commit that broke may have been kept after all. Then the bytes stay, as they do when the database cannot say:
        the sweep will ask again.
        """
        try:
            await self.rows.find(file_id)
        except NotFound:
            try:
                await place.delete(key)
            except StorageError as error:
                report_leftover(error, storage=place.name, key=key)
        except (StorageError, SQLAlchemyError) as error:
            report_leftover(error, storage=place.name, key=key)

    async def _take_back(self, stored: Sequence[File]) -> None:
        for file in stored:
            try:
                await self.delete(file.id, reason="another file that came with it was refused")
            except (FileInUse, NotFound):  # somebody was quick to use it, or to delete it: it is theirs now
                continue

    async def _after_move(self, row: FileRow) -> FileRow | None:
        """The row as it is now, if its bytes are elsewhere."""
        try:
            found = await self.rows.find(row.id)
        except NotFound:
            return None
        return None if (found.storage, found.key) == (row.storage, row.key) else found

    async def _find(self, file: File | str) -> FileRow:
        row = await self.rows.find(file if isinstance(file, str) else file.id)
        if isinstance(file, File):
            _compare(file, row)
        return row

    def _place_of(self, row: FileRow) -> Storage:
        try:
            return self.storages.get(row.storage)
        except NotFound as error:
            raise StorageError(
                f"file {row.id!r} is in the storage {row.storage!r}, which the configuration no longer names; name it "
                "again under file_storage"
            ) from error


def _refuse_quarantined(row: FileRow) -> None:
    if row.state == "quarantined":
        raise FileQuarantined(row.id, filename=row.filename, reason=row.quarantine_reason)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
    async for block in rest:
        yield block


def _compare(file: File, row: FileRow) -> None:
    """Refuse a reference that somebody has changed: a type or a name decides what is done with the bytes."""
    known = FileMetadata.of(row).reference()
    wrong = [name for name in File.model_fields if getattr(file, name) != getattr(known, name)]
    if wrong:
        raise InvalidInput(
            f"the reference to file {row.id!r} differs from the stored file in {', '.join(wrong)}; pass on references "
            "as the toolkit gave them",
            errors=[{"loc": name, "msg": "differs from the stored file", "type": "file_reference"} for name in wrong],
        )
