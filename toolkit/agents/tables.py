"""The tables of the agents: versions that never change, which of them is active, and how it came to be."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Text, UniqueConstraint
from sqlmodel import Field

from toolkit.storage import Table, UtcDateTime


class AgentVersionRow(Table, table=True):
    """One version of one agent: what it changes of the agent's code, as JSON. Written once, never changed."""

    __tablename__ = "toolkit_agent_version"
    __table_args__ = (
        # A version is asked for by its number; the numbers of an agent are given out under the pointer's lock.
        UniqueConstraint("agent", "number"),
        CheckConstraint("number > 0", name="number"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    agent: str = Field(sa_type=Text)
    number: int
    changes: str = Field(sa_type=Text)
    note: str | None = Field(default=None, sa_type=Text)
    created_by: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)


class AgentPointerRow(Table, table=True):
    """What one agent goes by now: a version, or (``NULL``) its code. ``generation`` rises with each change."""

    __tablename__ = "toolkit_agent_pointer"

    agent: str = Field(primary_key=True, sa_type=Text)
    active_version: int | None = None
    generation: int = 0
    activation_id: str | None = Field(default=None, sa_type=Text)


class AgentActivationRow(Table, table=True):
    """One change of a pointer. ``previous_id`` is the activation that a rollback returns to."""

    __tablename__ = "toolkit_agent_activation"
    __table_args__ = (
        CheckConstraint("kind IN ('activated', 'rolled_back', 'deactivated')", name="kind"),
        # The history of one agent: ids sort by time.
        Index("ix_toolkit_agent_activation_agent", "agent", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    agent: str = Field(sa_type=Text)
    version: int | None = None
    kind: str = Field(sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    previous_id: str | None = Field(default=None, sa_type=Text)
    changed_by: str = Field(sa_type=Text)
    changed_at: datetime = Field(sa_type=UtcDateTime)
