"""The tables behind entities: which states they went through, and what their rows said before."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Text
from sqlmodel import Field

from toolkit.storage import Table, UtcDateTime


class MoveRow(Table, table=True):
    """One move of one status, written in the transaction that made it. Rows are added and never changed."""

    __tablename__ = "toolkit_entity_move"
    __table_args__ = (
        # What happened to one entity, in order.
        Index("ix_toolkit_entity_move_entity", "entity", "entity_id", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    entity: str = Field(sa_type=Text)
    """The name of its table."""
    entity_id: str = Field(sa_type=Text)
    field: str = Field(sa_type=Text)
    from_state: str | None = Field(default=None, sa_type=Text)
    """``None``: it came to be."""
    to_state: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(sa_type=Text)


class VersionRow(Table, table=True):
    """What an entity with history said in one version."""

    __tablename__ = "toolkit_entity_version"
    __table_args__ = (CheckConstraint("action IN ('created', 'updated', 'deleted')", name="action"),)

    entity: str = Field(primary_key=True, sa_type=Text)
    entity_id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(primary_key=True)
    action: str = Field(sa_type=Text)
    values: str = Field(sa_type=Text)
    """The row as a JSON object."""
    at: datetime = Field(sa_type=UtcDateTime)
    by: str = Field(sa_type=Text)
