"""Uploads: content of any shape as measured blocks. At no time are more than a few blocks of it in memory."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, TypeAlias

from toolkit.errors import InvalidInput, LimitExceeded
from toolkit.files.detection import HEAD_BYTES
from toolkit.files.storages import BLOCK_BYTES
from toolkit.files.threads import Lane, in_thread

_SMALLEST_BLOCK: Final = 64 * 1024

Content: TypeAlias = bytes | bytearray | memoryview | Path | AsyncIterable[bytes]
"""What can be uploaded: bytes, the path of a file on this machine, or chunks of any size as they come in."""


@dataclass(frozen=True, kw_only=True)
class FileLimits:
    """What an installation takes."""

    max_bytes: int = 25 * 1024 * 1024
    """Of one file."""
    max_files: int = 100
    """Of one request."""
    content_types: Sequence[str] = ("*",)
    """Patterns such as ``image/*``. What counts is what the content shows."""

    def require_count(self, count: int) -> None:
        """Refuse a request with ``count`` files, if those are too many.

        Raises:
            LimitExceeded: they are.
        """
        if count > self.max_files:
            raise LimitExceeded(
                f"there are more than {self.max_files} files, which is the most that is taken at once",
                limit=self.max_files,
                found=count,
            )

    def require_type(self, content_type: str, *, filename: str) -> None:
        """Refuse a file of a type that is not taken.

        Raises:
            InvalidInput: no pattern fits; it names the file.
        """
        if not any(fnmatchcase(content_type, pattern) for pattern in self.content_types):
            expected = ", ".join(self.content_types)
            raise InvalidInput(
                f"the content of the file {filename!r} is {content_type}; expected {expected}",
                errors=[{"loc": filename, "msg": f"found {content_type}, expected {expected}", "type": "content_type"}],
            )


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file on its way in, by what its sender says of it."""

    content: Content
    filename: str
    content_type: str | None = None


class Meter:
    """Passes blocks on, and knows afterwards how many bytes they were, their hash and how they began."""

    def __init__(self, content: Content, *, limits: FileLimits, filename: str = "") -> None:
        self._content = content
        self._what = f"the file {filename!r}" if filename else "the file"
        self._limits = limits
        self._hash = hashlib.sha256()
        self.size = 0
        self.head = b""

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The content in blocks, once. What is counted is what comes, not what was announced.

        Raises:
            LimitExceeded: as soon as more has come than the limits allow.
        """
        hashing = Lane(self._hash.update)  # whoever writes a block need not wait for its hash
        try:
            async with aclosing(read_blocks(self._content)) as blocks:
                async for block in blocks:
                    self._count(block)
                    await hashing.put(block)
                    yield block
            await hashing.drain()
        finally:
            await hashing.settle()

    def _count(self, block: bytes) -> None:
        self.size += len(block)
        if self.size > self._limits.max_bytes:
            raise LimitExceeded(
                f"{self._what} is larger than {self._limits.max_bytes} bytes, which is the most that is taken",
                limit=self._limits.max_bytes,
                found=self.size,
            )
        if len(self.head) < HEAD_BYTES:
            self.head += block[: HEAD_BYTES - len(self.head)]


async def read_blocks(content: Content) -> AsyncGenerator[bytes, None]:
    """``content`` in blocks that are worth the way of each through the layers; the last may be a small one.

    Raises:
        InvalidInput: the content, or a chunk of it, is something else than :data:`Content` says.
    """
    if isinstance(content, bytes | bytearray | memoryview):
        view = memoryview(content)
        for start in range(0, len(view), BLOCK_BYTES):
            yield bytes(view[start : start + BLOCK_BYTES])
    elif isinstance(content, Path):
        start = 0
        while block := await in_thread(_read_block, content, start):
            start += len(block)
            yield block
    elif isinstance(content, AsyncIterable):
        async with aclosing(_regroup(content)) as blocks:
            async for block in blocks:
                yield block
    else:
        raise InvalidInput(_unfit("the content", content))


def _read_block(path: Path, start: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return file.read(BLOCK_BYTES) or b""


async def _regroup(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Chunks as they come, small ones together. Large ones are not copied: a new megabyte costs more than its hash."""
    gathered: list[bytes] = []
    count = 0
    async for chunk in chunks:
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise InvalidInput(_unfit("a chunk of the content", chunk))
        # Bytes stay what they are; over anything else its owner may write while we still need it.
        gathered.append(bytes(chunk))
        count += len(chunk)
        if count >= _SMALLEST_BLOCK:
            yield b"".join(gathered)
            gathered, count = [], 0
    if gathered:
        yield b"".join(gathered)


def _unfit(what: str, found: Any) -> str:
    hint = "; name a file on this machine by a pathlib.Path, and encode text" if isinstance(found, str) else ""
    return f"{what} is of type {type(found).__qualname__!r}; expected bytes, a Path or an async iterable of bytes{hint}"
