"""A place that fsspec reaches, such as an S3 bucket, as a storage."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile

from toolkit.errors import StorageError
from toolkit.files.parts import report_leftover, write_part
from toolkit.files.storages import BLOCK_BYTES, StoredObject
from toolkit.files.threads import in_thread

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# One part of a multipart upload, and one request of a download. S3 takes at least 5 MiB and at most 10,000 parts.
_PART_BYTES = 8 * 1024 * 1024


class BucketStorage:
    """Objects below ``root`` on a file system of fsspec, whose blocking calls run in threads.

    What a killed process wrote half-way to S3 is invisible and costs space until the sweep ends it.
    """

    def __init__(self, name: str, filesystem: AbstractFileSystem, root: str, *, redirects: bool = False) -> None:
        """``redirects``: downloads are sent to addresses that the storage itself signs."""
        self.name = name
        self._redirects = redirects
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    async def write(self, key: str, blocks: AsyncIterable[bytes]) -> None:
        await write_part(_ObjectPart(self, self._filesystem, key), blocks)

    async def read(self, key: str, *, start: int, end: int) -> AsyncGenerator[bytes, None]:
        while start < end:
            part = await in_thread(self._take, key, start, min(start + _PART_BYTES, end))
            if not part:
                return
            start += len(part)
            for offset in range(0, len(part), BLOCK_BYTES):
                yield part[offset : offset + BLOCK_BYTES]

    async def delete(self, key: str) -> None:
        await in_thread(self._delete, key)

    async def list_folder(self, folder: str) -> list[StoredObject]:
        return await in_thread(self._list, folder)

    async def end_unfinished(self, *, before: datetime) -> int:
        return await in_thread(self._end_unfinished, before) if self._is_s3 else 0

    async def sign(self, key: str, *, seconds: int, disposition: str, content_type: str) -> str | None:
        return await in_thread(self._sign, key, seconds, disposition, content_type) if self._redirects else None

    @property
    def _is_s3(self) -> bool:
        return "s3" in (self._filesystem.protocol, *self._filesystem.protocol)

    def locate(self, key: str) -> str:
        """The path of ``key`` as the file system takes it."""
        return f"{self._root}/{key}"

    @contextmanager
    def explained(self, verb: str) -> Iterator[None]:
        """Errors of a file system as errors for the operator."""
        try:
            yield
        except Exception as error:  # a file system is a plug-in and raises what its client library raises
            raise StorageError(
                f"the file storage {self.name!r} could not {verb} ({type(error).__name__}); look at its address, its "
                "credentials and whether it can be reached"
            ) from error

    # What follows blocks, and runs in threads.

    def _take(self, key: str, start: int, end: int) -> bytes:
        with self.explained("read"):
            return bytes(self._filesystem.cat_file(self.locate(key), start=start, end=end))

    def _delete(self, key: str) -> None:
        with self.explained("delete"), suppress(FileNotFoundError):
            self._filesystem.rm_file(self.locate(key))

    def _sign(self, key: str, seconds: int, disposition: str, content_type: str) -> str | None:
        # Only S3 lets the signature say how a browser is to treat the answer; without it, we serve the bytes.
        if not self._is_s3:
            return None
        with self.explained("sign an address"):
            return str(
                self._filesystem.sign(
                    self.locate(key),
                    expiration=seconds,
                    ResponseContentDisposition=disposition,
                    ResponseContentType=content_type,
                )
            )

    def _list(self, folder: str) -> list[StoredObject]:
        path = self.locate(folder) if folder else self._root
        with self.explained("list"):
            try:
                self._filesystem.invalidate_cache()
                entries = self._filesystem.ls(path, detail=True)
            except FileNotFoundError:
                return []
            return [self._describe(entry, folder) for entry in entries]

    def _end_unfinished(self, before: datetime) -> int:
        bucket, _, prefix = self._root.partition("/")
        count, where = 0, {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
        with self.explained("list what is unfinished"):
            while True:
                page = self._filesystem.call_s3("list_multipart_uploads", **where)
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < before:
                        named = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                        self._filesystem.call_s3("abort_multipart_upload", Bucket=bucket, **named)
                        count += 1
                if not page.get("IsTruncated"):
                    return count
                where |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _describe(self, entry: dict[str, Any], folder: str) -> StoredObject:
        name = str(entry["name"]).rstrip("/").rpartition("/")[2]
        is_folder = entry["type"] == "directory"
        return StoredObject(
            key=f"{folder}/{name}" if folder else name,
            is_folder=is_folder,
            modified_at=None if is_folder else self._modified_at(entry),
        )

    def _modified_at(self, entry: dict[str, Any]) -> datetime:
        # Each file system has a name of its own for it; asking for one object costs a request.
        found = entry.get("LastModified") or entry.get("last_modified") or entry.get("created")
        if isinstance(found, int | float):
            return datetime.fromtimestamp(found, UTC)
        moment = found if isinstance(found, datetime) else self._filesystem.modified(entry["name"])
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _ObjectPart:
    """An object that the file system shows when its file is closed, or from the start where it keeps no parts."""

    def __init__(self, storage: BucketStorage, filesystem: AbstractFileSystem, key: str) -> None:
        self._storage = storage
        self._filesystem = filesystem
        self._key = key
        self._path = storage.locate(key)
        self._file: Any = None

    def begin(self) -> None:
        with self._storage.explained("write"):
            self._file = self._filesystem.open(self._path, "wb", block_size=_PART_BYTES)

    def append(self, block: bytes) -> None:
        with self._storage.explained("write"):
            self._file.write(block)

    def finish(self) -> None:
        with self._storage.explained("write"):
            self._file.close()

    def abandon(self) -> None:
        if self._file is None:
            return
        try:
            with self._storage.explained("delete"):
                if isinstance(self._file, AbstractBufferedFile):
                    # To close means to finish, and the garbage collector closes whatever is open.
                    self._file.closed = True
                    self._file.discard()
                with suppress(FileNotFoundError):
                    self._filesystem.rm_file(self._path)
        except StorageError as error:
            report_leftover(error, storage=self._storage.name, key=self._key)
