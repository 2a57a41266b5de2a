"""The reference to a file: small enough for workflow arguments, results, tasks and entities."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from toolkit.files.contexts import current_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from toolkit.files.uploads import Content


class File(BaseModel):
    """Stored bytes, by reference. The bytes stay in their storage and never change.

    A reference may have come from anywhere, so it is only a claim: reading through it is refused unless it says what
    the store says.
    """

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")]
    filename: str
    """What people call it: a label, never a path."""
    content_type: str
    """What the content is, by our own detection."""
    size: Annotated[int, Field(ge=0)]
    """Bytes."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the content, as lower-case hexadecimal digits."""

    @classmethod
    async def upload(cls, *, content: Content, filename: str, content_type: str | None = None) -> File:
        """Store ``content`` (bytes, a ``Path``, or an async iterable of bytes) and return its reference.

        A step that is tried again uploads again; keep the reference in the step's result. ``content_type`` is believed
        only where it is a finer name for what the content shows.

        Raises:
            LimitExceeded: the content is larger than the installation allows.
            FileQuarantined: its scan found something; it is kept for whoever looks into it.
            StorageError: the storage did not take it, and nothing of it is kept; or its scan failed, which is made
                again, and until then it is in quarantine.
        """
        return await current_store().upload(content, filename=filename, content_type=content_type)

    async def read(self) -> bytes:
        """The whole content, checked against its hash.

        Raises:
            NotFound: there is no such file.
            InvalidInput: the reference does not say what the store says.
            StorageError: the bytes cannot be read or are not the ones that were stored.
        """
        return await current_store().read(self)

    def open(self, *, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The content from byte ``start`` to before ``end``, in chunks: ``async with file.open() as chunks: ...``."""
        return current_store().open(self, start=start, end=end)

    async def metadata(self) -> FileMetadata:
        """What the store knows of the file."""
        return await current_store().metadata(self)


class FileMetadata(File):
    """A file with what is known of how it came to be."""

    storage: str
    """The name of the storage that holds the bytes."""
    created_at: datetime
    created_by: str
    """The id of the principal who uploaded it."""
    state: Literal["stored", "quarantined"] = "stored"
    """A quarantined file is kept and read by nobody."""
    quarantine_reason: str | None = None

    @classmethod
    def of(cls, row: object) -> Self:
        """What a row of ``toolkit_file`` says."""
        return cls.model_validate(row, from_attributes=True)

    def reference(self) -> File:
        """The small reference alone."""
        return File(
            id=self.id, filename=self.filename, content_type=self.content_type, size=self.size, sha256=self.sha256
        )
