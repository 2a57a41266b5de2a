"""The store: bytes in a storage and a row in the database that says so.

Bytes first, row after: who finds a row finds its bytes. Bytes without a row are what a killed upload leaves behind; the
sweep takes them away.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from toolkit.access import current_principal, record_audit
from toolkit.errors import InvalidInput, NotFound, StorageError
from toolkit.files.detection import detect
from toolkit.files.file import File, FileMetadata
from toolkit.files.names import clean_filename
from toolkit.files.parts import report_leftover
from toolkit.files.storages import FileStorages, Storage
from toolkit.files.sweeps import sweep_storage
from toolkit.files.tables import FileRow
from toolkit.files.threads import uninterrupted
from toolkit.files.uploads import Content, FileLimits, Meter
from toolkit.ids import new_id
from toolkit.storage import Database

logger = logging.getLogger(__name__)

LONGEST_PAGE = 1000


class FileStore:
    """The files of one installation."""

    def __init__(self, database: Database, storages: FileStorages, *, limits: FileLimits | None = None) -> None:
        self._database = database
        self._storages = storages
        self.limits = limits or FileLimits()

    # Writing. ---------------------------------------------------------------------------------------------------

    async def upload(
        self, content: Content, *, filename: str, content_type: str | None = None, storage: str | None = None
    ) -> File:
        """Store ``content`` in ``storage`` (the default one) for the current principal; see :meth:`File.upload`.

        Writes its row and its audit entry in a transaction of its own: on SQLite, do not call it while a session of
        yours holds a write.

        Raises:
            LimitExceeded: more bytes came than the limits allow.
            InvalidInput: the content is none of the things that can be uploaded.
            NotFound: there is no storage of this name.
            StorageError: the storage did not take it.
        """
        place = self._storages.get(storage)
        now = self._database.clock.now()
        file_id = new_id()
        key = f"{now:%Y/%m/%d}/{file_id}"
        meter = Meter(content, limits=self.limits)
        async with aclosing(meter.blocks()) as blocks:
            await place.write(key, blocks)
        label = clean_filename(filename)
        row = FileRow(
            id=file_id,
            filename=label,
            content_type=detect(meter.head, filename=label, declared=content_type),
            size=meter.size,
            sha256=meter.sha256,
            storage=place.name,
            key=key,
            created_at=now,
            created_by=current_principal().id,
        )
        file = _read_row(row).reference()
        try:
            await uninterrupted(self._insert(row))
        except BaseException:
            await uninterrupted(self._withdraw(place, row))
            raise
        logger.info(
            "A file was stored",
            extra={"event": "file.stored", "file_id": file.id, "size": file.size, "content_type": file.content_type},
        )
        return file

    async def sweep_orphans(self, *, older_than: timedelta = timedelta(days=1)) -> int:
        """Delete the bytes that have no row and have not been touched for ``older_than``; how many there were.

        A storage belongs to one installation: the files of another would have no row here.
        """
        before = self._database.clock.now() - older_than
        return sum([await sweep_storage(self._database, storage, before=before) for storage in self._storages])

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
        return _read_row(await self._find(file))

    async def read(self, file: File | str) -> bytes:
        """The whole content, checked against its hash. Raises what :meth:`open` raises."""
        row = await self._find(file)
        async with aclosing(self._read(row, start=0, end=row.size)) as chunks:
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
            InvalidInput: the reference does not say what the store says, or the range is not within the file.
            StorageError: the bytes cannot be read, or there are fewer than there were.
        """
        row = await self._find(file)
        last = row.size if end is None else end
        if not 0 <= start <= last <= row.size:
            raise InvalidInput(f"bytes {start} to {last} were asked of a file of {row.size} bytes")
        async with aclosing(self._read(row, start=start, end=last)) as chunks:
            yield chunks

    async def list_files(
        self,
        *,
        content_type: str | None = None,
        created_by: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[FileMetadata]:
        """Files, newest first; ``after`` is the id of the last one seen, ``limit`` 1 to ``LONGEST_PAGE``.

        Raises:
            InvalidInput: the limit is out of range.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(
                f"limit is {limit}; expected 1 to {LONGEST_PAGE}",
                errors=[{"loc": "limit", "msg": f"expected 1 to {LONGEST_PAGE}", "type": "limit"}],
            )
        query = select(FileRow).order_by(col(FileRow.id).desc()).limit(limit)
        if content_type is not None:
            query = query.where(col(FileRow.content_type) == content_type)
        if created_by is not None:
            query = query.where(col(FileRow.created_by) == created_by)
        if after is not None:
            query = query.where(col(FileRow.id) < after)
        async with self._database.session() as session:
            return [_read_row(row) for row in await session.exec(query)]

    # How. -------------------------------------------------------------------------------------------------------

    async def _insert(self, row: FileRow) -> None:
        async with self._database.session() as session:
            session.add(row)
            await record_audit(
                session,
                action="file.uploaded",
                object_kind="file",
                object_id=row.id,
                details={"size": row.size, "content_type": row.content_type, "sha256": row.sha256},
            )

    async def _withdraw(self, place: Storage, row: FileRow) -> None:
        """Delete the bytes of an upload whose row was not written, if that is sure.

        A commit that broke may have been kept after all. Then the bytes stay, as they do when the database cannot say:
        the sweep will ask again.
        """
        try:
            if not await self._is_kept(row.id):
                await place.delete(row.key)
        except (StorageError, SQLAlchemyError, OSError) as error:
            report_leftover(error, storage=place.name, key=row.key)

    async def _is_kept(self, file_id: str) -> bool:
        async with self._database.session() as session:
            return await session.get(FileRow, file_id) is not None

    async def _find(self, file: File | str) -> FileRow:
        file_id = file if isinstance(file, str) else file.id
        async with self._database.session() as session:
            row = await session.get(FileRow, file_id)
        if row is None:
            raise NotFound("file", file_id)
        if isinstance(file, File):
            _compare(file, row)
        return row

    async def _read(self, row: FileRow, *, start: int, end: int) -> AsyncGenerator[bytes, None]:
        count = 0
        async with aclosing(self._place_of(row).read(row.key, start=start, end=end)) as chunks:
            async for chunk in chunks:
                count += len(chunk)
                yield chunk
        if count != end - start:
            raise StorageError(
                f"the storage {row.storage!r} gave {count} of {end - start} bytes of file {row.id!r}; restore "
                f"{row.key!r} from a backup"
            )

    def _place_of(self, row: FileRow) -> Storage:
        try:
            return self._storages.get(row.storage)
        except NotFound as error:
            raise StorageError(
                f"file {row.id!r} is in the storage {row.storage!r}, which the configuration no longer names; name it "
                "again under file_storage"
            ) from error


def _read_row(row: FileRow) -> FileMetadata:
    return FileMetadata.model_validate(row.model_dump(exclude={"key"}))


def _compare(file: File, row: FileRow) -> None:
    """Refuse a reference that somebody has changed: a type or a name decides what is done with the bytes."""
    known = _read_row(row).reference()
    wrong = [name for name in File.model_fields if getattr(file, name) != getattr(known, name)]
    if wrong:
        raise InvalidInput(
            f"the reference to file {row.id!r} differs from the stored file in {', '.join(wrong)}; pass on references "
            "as the toolkit gave them",
            errors=[{"loc": name, "msg": "differs from the stored file", "type": "file_reference"} for name in wrong],
        )
