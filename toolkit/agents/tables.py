"""The tables of the agents: their versions and which is active, what they are doing, and what they are measured by."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, Text, UniqueConstraint
from sqlmodel import Field

from toolkit.storage import Payload, Table, UtcDateTime

# SQLite numbers rows by itself only where the type of the key is INTEGER.
_POSITION: Any = BigInteger().with_variant(Integer, "sqlite")


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


class AgentEventRow(Table, table=True):
    """One event of an agent, for those who follow its run; forgotten after some days."""

    __tablename__ = "toolkit_agent_event"
    __table_args__ = (
        # An event that is told again when its run is gone through again is the same one.
        UniqueConstraint("run_id", "id"),
        # What comes after a position, for one run.
        Index("ix_toolkit_agent_event_run", "run_id", "position"),
        # What is old enough to be forgotten.
        Index("ix_toolkit_agent_event_at", "at"),
    )

    position: int | None = Field(default=None, primary_key=True, sa_type=_POSITION)
    run_id: str = Field(sa_type=Text)
    id: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    agent: str = Field(sa_type=Text)
    step: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    data: str = Field(sa_type=Payload)


class AgentHistoryRow(Table, table=True):
    """The messages of one call, for a later one to go on with: as JSON, with references in place of files' bytes."""

    __tablename__ = "toolkit_agent_history"

    id: str = Field(primary_key=True, sa_type=Text)
    agent: str = Field(sa_type=Text)
    run_id: str = Field(sa_type=Text)
    step: str = Field(sa_type=Text)
    messages: str = Field(sa_type=Payload)
    created_at: datetime = Field(sa_type=UtcDateTime)


class EvaluationCaseRow(Table, table=True):
    """One case of an agent's data set: an input and what is expected of it, as JSON. Written over when it is edited."""

    __tablename__ = "toolkit_agent_case"
    __table_args__ = (UniqueConstraint("agent", "data_set", "name"),)

    id: str = Field(primary_key=True, sa_type=Text)
    agent: str = Field(sa_type=Text)
    data_set: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    input: str = Field(sa_type=Payload)
    expected: str | None = Field(default=None, sa_type=Payload)
    note: str | None = Field(default=None, sa_type=Payload)
    created_by: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)


class EvaluationRow(Table, table=True):
    """One evaluation of an agent's version on a data set: its run, and once it has ended, what it found."""

    __tablename__ = "toolkit_agent_evaluation"
    __table_args__ = (
        # The evaluations of one agent, newest first: ids sort by time.
        Index("ix_toolkit_agent_evaluation_agent", "agent", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    agent: str = Field(sa_type=Text)
    data_set: str = Field(sa_type=Text)
    version: int | None = None
    run_id: str | None = Field(default=None, sa_type=Text)
    passed: bool | None = None
    report: str | None = Field(default=None, sa_type=Payload)
    started_by: str = Field(sa_type=Text)
    started_at: datetime = Field(sa_type=UtcDateTime)
