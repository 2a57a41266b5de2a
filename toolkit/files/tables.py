"""The table of stored files; their bytes are in a storage."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Text
from sqlmodel import Field

from toolkit.storage import Table, UtcDateTime


class FileRow(Table, table=True):
    """A stored file. The row is written after the bytes, so whoever sees it can read them."""

    __tablename__ = "toolkit_file"
    __table_args__ = (
        CheckConstraint("size >= 0", name="size"),
        CheckConstraint("state IN ('stored', 'quarantined')", name="state"),
        # The sweep asks which of the objects it found have a row. Files of equal content may share one.
        Index("ix_toolkit_file_key", "storage", "key"),
        # Who looks for a content, and an upload that would rather share than store.
        Index("ix_toolkit_file_sha256", "sha256"),
        # A person's own files, newest first.
        Index("ix_toolkit_file_created_by", "created_by", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    filename: str = Field(sa_type=Text)
    content_type: str = Field(sa_type=Text)
    size: int = Field(sa_type=BigInteger)
    sha256: str = Field(sa_type=Text)
    storage: str = Field(sa_type=Text)
    """The name of a storage in the configuration."""
    key: str = Field(sa_type=Text)
    """Where the bytes are in that storage; made by us."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=Text)
    state: str = Field(default="stored", sa_type=Text)
    quarantine_reason: str | None = Field(default=None, sa_type=Text)
    """Why nobody may read it; ``None`` while it waits for its first scan."""


class SweepRow(Table, table=True):
    """A chore that comes up again and again, and when it is due next: of several processes one does it."""

    __tablename__ = "toolkit_file_sweep"

    name: str = Field(primary_key=True, sa_type=Text)
    due_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    count: int = 0
    """What the last turn dealt with."""
