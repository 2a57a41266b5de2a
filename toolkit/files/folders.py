"""A folder of this machine as a storage. No link below its root is followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path

from toolkit.errors import StorageError
from toolkit.files.parts import report_leftover, write_part
from toolkit.files.storages import BLOCK_BYTES, StoredObject
from toolkit.files.threads import in_thread, read_ahead

# Absent on Windows, where making a link takes a right that services do not hold.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# A pipe planted in the place of a file would otherwise hold the thread until somebody writes to it.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)

UNFINISHED = ".part"
"""Ends the name of an object while it is being written."""


class FolderStorage:
    """Objects as files below ``root``, which is made when it is first written to."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        # The root itself may lie behind links: that is the operator's choice.
        self.root = Path(os.path.realpath(root))
        self._durable: set[Path] = set()  # folders that a power cut cannot take away any more

    async def write(self, key: str, blocks: AsyncIterable[bytes]) -> None:
        await write_part(_FilePart(self, key), blocks)

    async def read(self, key: str, *, start: int, end: int) -> AsyncGenerator[bytes, None]:
        reading = _FileReading(self, key, start)
        sizes = (min(BLOCK_BYTES, end - at) for at in range(start, end, BLOCK_BYTES))
        try:
            async with aclosing(read_ahead(partial(reading.take, size) for size in sizes)) as blocks:
                async for block in blocks:
                    if not block:
                        return
                    yield block
        finally:
            reading.close()

    async def delete(self, key: str) -> None:
        await in_thread(self._delete, key)

    async def list_folder(self, folder: str) -> list[StoredObject]:
        return await in_thread(self._list, folder)

    async def end_unfinished(self, *, before: datetime) -> int:
        return 0  # they are listed, with a suffix of their own

    async def sign(self, key: str, *, seconds: int, disposition: str, content_type: str) -> None:
        """A folder has no addresses of its own."""

    def locate(self, key: str) -> Path:
        """The path of ``key``, which leads through no link.

        Raises:
            StorageError: a folder on the way is a link, or the key leaves the root.
        """
        path = self.root / key
        # `realpath` also takes away `..`, and gives back what does not exist as it is.
        if os.path.realpath(path.parent) != str(path.parent) or self.root not in path.parents:
            raise StorageError(
                f"the file storage {self.name!r} has a link, or leaves its folder, on the way to {key!r}; "
                "remove what somebody put there"
            )
        return path

    @contextmanager
    def explained(self, verb: str) -> Iterator[None]:
        """Errors of the operating system as errors for the operator."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"the file storage {self.name!r} could not {verb} ({error.strerror or error}); look at its folder, "
                "its rights and its free space"
            ) from error

    # What follows blocks, and runs in threads.

    def make_folder(self, folder: Path) -> None:
        """Make ``folder`` and those above it, for our eyes only."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._durable.discard(folder)

    def keep(self, path: Path) -> None:
        """Make the name of a new file survive a power cut, and with it those of the folders that lead to it."""
        _sync_folder(path.parent)
        below_root = [folder for folder in path.parents if folder == self.root or self.root in folder.parents]
        fresh = [folder for folder in below_root if folder not in self._durable]
        for folder in fresh:
            _sync_folder(folder.parent)
        self._durable.update(fresh)

    def _delete(self, key: str) -> None:
        path = self.locate(key)
        with self.explained("delete"):
            path.unlink(missing_ok=True)

    def _list(self, folder: str) -> list[StoredObject]:
        path = self.locate(folder) if folder else self.root
        if not path.is_dir():
            return []
        with self.explained("list"), os.scandir(path) as entries:
            found = [self._describe(entry, folder) for entry in entries if not entry.is_symlink()]
        return [item for item in found if item is not None]

    def _describe(self, entry: os.DirEntry[str], folder: str) -> StoredObject | None:
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # its upload was completed, or it was deleted, since the folder was read
            return None
        return StoredObject(
            key=f"{folder}/{entry.name}" if folder else entry.name,
            is_folder=stat.S_ISDIR(found.st_mode),
            modified_at=datetime.fromtimestamp(found.st_mtime, UTC),
        )


class _FileReading:
    """A file from ``start`` on, opened by the first block that is taken."""

    def __init__(self, storage: FolderStorage, key: str, start: int) -> None:
        self._storage = storage
        self._key = key
        self._start = start
        self._file: FileIO | None = None

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, or what is left of them."""
        with self._storage.explained("read"):
            if self._file is None:
                self._file = FileIO(self._storage.locate(self._key), "rb", opener=_open_without_waiting)
                if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                    raise OSError(errno.EINVAL, "there is no ordinary file in its place")
                self._file.seek(self._start)
            return self._file.read(size) or b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _FilePart:
    """A file with a name of its own until it is whole."""

    def __init__(self, storage: FolderStorage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._path = storage.locate(key)
        self._unfinished = storage.locate(key + UNFINISHED)
        self._file: FileIO | None = None

    def begin(self) -> None:
        with self._storage.explained("write"):
            self._storage.make_folder(self._path.parent)
            self._file = FileIO(self._unfinished, "xb", opener=_open_private)

    def append(self, block: bytes) -> None:
        assert self._file is not None, "a part begins before it grows"
        rest = memoryview(block)
        with self._storage.explained("write"):
            while rest:
                rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """Name the file such that a power cut leaves all of it or nothing."""
        assert self._file is not None, "a part begins before it ends"
        with self._storage.explained("write"):
            os.fsync(self._file.fileno())
            self._file.close()
            self._unfinished.rename(self._path)
            self._storage.keep(self._path)

    def abandon(self) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
            self._unfinished.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        except OSError as error:
            report_leftover(error, storage=self._storage.name, key=self._key)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINK, 0o600)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINK | _NO_WAIT)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows keeps its folders itself
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
