"""The table of the human room."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Text
from sqlmodel import Field

from toolkit.storage import Table, UtcDateTime


class TaskRow(Table, table=True):
    """A question that is, or was, open to a person; its id is that of the wait it answers.

    JSON payloads are text and never read by a list.
    """

    __tablename__ = "toolkit_task"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'claimed', 'completed', 'cancelled', 'expired')", name="state"),
        # A final state has its moment, and nothing else has.
        CheckConstraint("(state IN ('open', 'claimed')) = (ended_at IS NULL)", name="ended"),
        CheckConstraint("(state = 'completed') = (completed_at IS NOT NULL)", name="completed"),
        # The lists are newest first, and ids sort by time: of one state; of one state and person; of one run; by name.
        Index("ix_toolkit_task_state", "state", "id"),
        Index("ix_toolkit_task_assigned", "assigned_to", "state", "id"),
        Index("ix_toolkit_task_run", "run_id", "id"),
        Index("ix_toolkit_task_name", "name", "state", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    message: str | None = Field(default=None, sa_type=Text)
    workflow: str = Field(sa_type=Text)
    run_id: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    input: str = Field(sa_type=Text)
    suggested_data: str | None = Field(default=None, sa_type=Text)
    files: str = Field(sa_type=Text)
    output: str | None = Field(default=None, sa_type=Text)
    output_schema_digest: str = Field(sa_type=Text)
    assigned_to: str | None = Field(default=None, sa_type=Text)
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str | None = Field(default=None, sa_type=Text)
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    completed_by: str | None = Field(default=None, sa_type=Text)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_by: str | None = Field(default=None, sa_type=Text)
    end_reason: str | None = Field(default=None, sa_type=Text)
    version: int = 1
