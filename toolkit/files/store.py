"""The store: bytes in a storage and a row in the database that says so.

Bytes first, row after: who finds a row finds its bytes. Bytes without a row are what a killed upload leaves behind; the
sweep takes them away.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import TypeAlias

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.access import current_principal, record_audit
from toolkit.errors import FileInUse, FileQuarantined, InvalidInput, NotFound, StorageError
from toolkit.files.detection import detect
from toolkit.files.file import File, FileMetadata
from toolkit.files.names import clean_filename
from toolkit.files.parts import report_leftover
from toolkit.files.retention import Damage, RetentionRule, shortest
from toolkit.files.storages import FileStorages, Storage
from toolkit.files.sweeps import sweep_storage
from toolkit.files.tables import FileRow
from toolkit.files.threads import in_thread, uninterrupted
from toolkit.files.uploads import Content, FileLimits, Meter
from toolkit.ids import new_id
from toolkit.storage import Database

logger = logging.getLogger(__name__)

LONGEST_PAGE = 1000


SIGNED_SECONDS = 300

References: TypeAlias = Callable[[File, AsyncSession], Awaitable[Sequence[str]]]
"""Who needs a file, such as ``run 01a1...``; asked in the transaction that would delete it. Empty: nobody."""

Scan: TypeAlias = Callable[[File, AsyncIterator[bytes]], Awaitable[str | None]]
"""Looks at the content of a new file; ``None`` if it is clean, else why nobody may read it."""


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
    ) -> None:
        """``references`` says what alive needs a file; ``scan`` looks at each new file before anybody reads it."""
        self._database = database
        self._storages = storages
        self.limits = limits or FileLimits()
        self.references = references
        self.scan = scan

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
        now = self._database.clock.now()
        file_id = new_id()
        key = f"{now:%Y/%m/%d}/{file_id}"
        label = clean_filename(filename)
        meter = Meter(content, limits=self.limits, filename=label)
        async with aclosing(meter.blocks()) as blocks:
            first = await anext(blocks, b"")
            found = detect(meter.head, filename=label, declared=content_type)
            place = (
                self._storages.get(storage) if storage else self._storages.choose(filename=label, content_type=found)
            )
            await place.write(key, _chained(first, blocks))
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
        if self.scan is not None:
            await self._judge(row)
        return file

    async def delete(self, file_id: str, *, reason: str | None = None) -> None:
        """Delete a file that nothing alive refers to.

        Row first, bytes after: whoever still finds the row finds the bytes. What a crash in between leaves is swept.

        Raises:
            NotFound: there is no such file.
            FileInUse: a live run, an open task or an entity refers to it.
        """
        async with self._database.session() as session:
            row = await self._lock(session, file_id)
            if self.references is not None:
                needed_by = await self.references(_read_row(row).reference(), session)
                if needed_by:
                    raise FileInUse(file_id, needed_by)
            await session.delete(row)
            details = {"size": row.size, "sha256": row.sha256} | ({"reason": reason} if reason else {})
            await record_audit(session, action="file.deleted", object_kind="file", object_id=file_id, details=details)
        logger.info("A file was deleted", extra={"event": "file.deleted", "file_id": file_id})
        try:
            await self._place_of(row).delete(row.key)
        except StorageError as error:
            report_leftover(error, storage=row.storage, key=row.key)

    async def expire(self, rules: Sequence[RetentionRule]) -> int:
        """Delete the files that a rule says have been kept long enough; how many there were.

        The first rule that fits a file counts. What something alive refers to stays until the next time.
        """
        now, count, after = self._database.clock.now(), 0, ""
        while rules:
            query = select(FileRow).where(col(FileRow.id) > after).order_by(col(FileRow.id)).limit(LONGEST_PAGE)
            async with self._database.session() as session:
                rows = list(await session.exec(query.where(col(FileRow.created_at) < now - shortest(rules))))
            for row in rows:
                rule = next((rule for rule in rules if rule.fits(_read_row(row))), None)
                if rule is None or rule.keep is None or row.created_at > now - rule.keep:
                    continue
                try:
                    await self.delete(row.id, reason=f"kept for {rule.keep.days} days")
                except (FileInUse, NotFound):
                    continue
                count += 1
            if len(rows) < LONGEST_PAGE:
                break
            after = rows[-1].id
        return count

    async def rescan(self, *, older_than: timedelta = timedelta(minutes=5)) -> int:
        """Scan the files whose scan did not come to an end; how many there were."""
        if self.scan is None:
            return 0
        query = (
            select(FileRow)
            .where(col(FileRow.state) == "quarantined", col(FileRow.quarantine_reason).is_(None))
            .where(col(FileRow.created_at) < self._database.clock.now() - older_than)
            .limit(LONGEST_PAGE)
        )
        async with self._database.session() as session:
            rows = list(await session.exec(query))
        for row in rows:
            with suppress(FileQuarantined, StorageError):  # it is logged, and stays where it is
                await self._judge(row)
        return len(rows)

    async def release(self, file_id: str, *, reason: str) -> FileMetadata:
        """Take a file out of quarantine, on the word of the current principal.

        Raises:
            NotFound: there is no such file.
        """
        async with self._database.session() as session:
            row = await self._lock(session, file_id)
            row.state, row.quarantine_reason = "stored", None
            session.add(row)
            await record_audit(
                session, action="file.released", object_kind="file", object_id=file_id, details={"reason": reason}
            )
        return _read_row(row)

    async def verify(self) -> AsyncIterator[Damage]:
        """Read every file and compare it with its hash; what is damaged or missing, oldest first."""
        async for row in self._all_rows():
            digest = hashlib.sha256()
            try:
                async with aclosing(self._read(row, start=0, end=row.size)) as chunks:
                    async for chunk in chunks:
                        await in_thread(digest.update, chunk)
            except StorageError as error:
                yield Damage(_read_row(row), str(error))
            else:
                if digest.hexdigest() != row.sha256:
                    yield Damage(_read_row(row), "the bytes are not those that were stored")

    async def migrate(self, *, source: str, target: str) -> int:
        """Move every file of the storage ``source`` to ``target``, checking each on the way; how many there were.

        Reads go on meanwhile: the row changes when the copy is whole, and the old bytes go after that. It can be
        stopped and begun again at any time.

        Raises:
            NotFound: there is no storage of one of these names.
            StorageError: a file is damaged, or a storage fails; what was moved before stays moved.
        """
        origin, place = self._storages.get(source), self._storages.get(target)
        count = 0
        async for row in self._all_rows(storage=source):
            await place.delete(row.key)  # an earlier attempt may have left it
            await place.write(row.key, self._checked(row))
            async with self._database.session() as session:
                locked = await self._lock(session, row.id)
                locked.storage = target
                session.add(locked)
                await record_audit(
                    session,
                    action="file.moved",
                    object_kind="file",
                    object_id=row.id,
                    details={"from": source, "to": target},
                )
            await origin.delete(row.key)
            count += 1
        return count

    async def sign(self, file: FileMetadata, *, disposition: str) -> str | None:
        """An address at which the storage itself gives out the bytes for five minutes, if it is to and can."""
        row = await self._find(file.id)
        _refuse_quarantined(row)
        return await self._place_of(row).sign(
            row.key, seconds=SIGNED_SECONDS, disposition=disposition, content_type=row.content_type
        )

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
        _refuse_quarantined(row)
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
            FileQuarantined: its scan has not let it pass.
            InvalidInput: the reference does not say what the store says, or the range is not within the file.
            StorageError: the bytes cannot be read, or there are fewer than there were.
        """
        row = await self._find(file)
        _refuse_quarantined(row)
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

        ``content_type`` may be ``image/*``; ``filename`` is any part of the name, in any case.

        Raises:
            InvalidInput: the limit is out of range.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(
                f"limit is {limit}; expected 1 to {LONGEST_PAGE}",
                errors=[{"loc": "limit", "msg": f"expected 1 to {LONGEST_PAGE}", "type": "limit"}],
            )
        query = select(FileRow).order_by(col(FileRow.id).desc()).limit(limit)
        equal = {
            FileRow.created_by: created_by,
            FileRow.sha256: sha256,
            FileRow.storage: storage,
            FileRow.state: state,
        }
        for column, value in equal.items():
            if value is not None:
                query = query.where(col(column) == value)
        if content_type is not None and content_type.endswith("/*"):
            query = query.where(col(FileRow.content_type).startswith(content_type[:-1], autoescape=True))
        elif content_type is not None:
            query = query.where(col(FileRow.content_type) == content_type)
        if filename is not None:
            query = query.where(col(FileRow.filename).icontains(filename, autoescape=True))
        if created_from is not None:
            query = query.where(col(FileRow.created_at) >= created_from)
        if created_before is not None:
            query = query.where(col(FileRow.created_at) < created_before)
        if size_from is not None:
            query = query.where(col(FileRow.size) >= size_from)
        if size_to is not None:
            query = query.where(col(FileRow.size) <= size_to)
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

    async def _judge(self, row: FileRow) -> None:
        """Have a new file scanned, and let it pass or keep it from everybody.

        Raises:
            FileQuarantined: the scan found something.
            StorageError: the scan failed; the file stays in quarantine until a sweep has it scanned again.
        """
        assert self.scan is not None, "only what is scanned is judged"
        try:
            async with aclosing(self._read(row, start=0, end=row.size)) as chunks:
                reason = await self.scan(_read_row(row).reference(), chunks)
        except StorageError:
            raise
        except Exception as error:  # an author's function
            logger.exception("A scan failed", extra={"event": "file.scan_failed", "file_id": row.id})
            raise StorageError(f"the file {row.filename!r} could not be scanned; it waits in quarantine") from error
        async with self._database.session() as session:
            locked = await self._lock(session, row.id)
            locked.state = "stored" if reason is None else "quarantined"
            locked.quarantine_reason = reason
            session.add(locked)
            if reason is not None:
                await record_audit(
                    session,
                    action="file.quarantined",
                    object_kind="file",
                    object_id=row.id,
                    details={"reason": reason[:1000]},
                )
        if reason is not None:
            logger.warning("A file was quarantined", extra={"event": "file.quarantined", "file_id": row.id})
            raise FileQuarantined(row.id, filename=row.filename, reason=reason)

    async def _lock(self, session: AsyncSession, file_id: str) -> FileRow:
        """The row, held until the transaction ends; on SQLite a write that changes nothing makes it the only writer."""
        await session.exec(update(FileRow).where(col(FileRow.id) == file_id).values(id=file_id))
        row = await session.get(FileRow, file_id)
        if row is None:
            raise NotFound("file", file_id)
        return row

    async def _all_rows(self, *, storage: str | None = None) -> AsyncIterator[FileRow]:
        """Every row, oldest first, page by page; of those that come meanwhile some."""
        after = ""
        while True:
            query = select(FileRow).where(col(FileRow.id) > after).order_by(col(FileRow.id)).limit(LONGEST_PAGE)
            if storage is not None:
                query = query.where(col(FileRow.storage) == storage)
            async with self._database.session() as session:
                rows = list(await session.exec(query))
            for row in rows:
                yield row
            if len(rows) < LONGEST_PAGE:
                return
            after = rows[-1].id

    async def _checked(self, row: FileRow) -> AsyncGenerator[bytes, None]:
        """The content, failing at its end if it is not what was stored."""
        digest = hashlib.sha256()
        async with aclosing(self._read(row, start=0, end=row.size)) as chunks:
            async for chunk in chunks:
                await in_thread(digest.update, chunk)
                yield chunk
        if digest.hexdigest() != row.sha256:
            raise StorageError(f"file {row.id!r} is damaged and was not moved; restore {row.key!r} from a backup")

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
    known = _read_row(row).reference()
    wrong = [name for name in File.model_fields if getattr(file, name) != getattr(known, name)]
    if wrong:
        raise InvalidInput(
            f"the reference to file {row.id!r} differs from the stored file in {', '.join(wrong)}; pass on references "
            "as the toolkit gave them",
            errors=[{"loc": name, "msg": "differs from the stored file", "type": "file_reference"} for name in wrong],
        )
