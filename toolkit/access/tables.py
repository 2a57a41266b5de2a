"""The table of the audit trail."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Text
from sqlmodel import Field

from toolkit.storage import Payload, Table, UtcDateTime


class AuditRow(Table, table=True):
    """One thing that someone did. Rows are added and never changed or removed."""

    __tablename__ = "toolkit_audit"
    __table_args__ = (
        # The history of one object, newest first.
        Index("ix_toolkit_audit_object", "object_kind", "object_id", "id"),
        # What one actor did, newest first.
        Index("ix_toolkit_audit_actor", "actor", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(sa_type=Text)
    actor_kind: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    object_kind: str = Field(sa_type=Text)
    object_id: str = Field(sa_type=Text)
    details: str = Field(sa_type=Payload)
    request_id: str | None = Field(default=None, sa_type=Text)
