"""The tables of the human room."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, UniqueConstraint, text
from sqlmodel import Field

from toolkit.storage import Payload, Table, UtcDateTime


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
        # All open tasks, due soonest first.
        Index("ix_toolkit_task_due", "state", "due_order", text("priority DESC"), "id"),
        # The watch: whose next rung has come.
        Index(
            "ix_toolkit_task_next",
            "next_at",
            postgresql_where=text("next_at IS NOT NULL"),
            sqlite_where=text("next_at IS NOT NULL"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Payload)
    message: str | None = Field(default=None, sa_type=Text)
    workflow: str = Field(sa_type=Text)
    run_id: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    input: str = Field(sa_type=Payload)
    suggested_data: str | None = Field(default=None, sa_type=Payload)
    confidence: str | None = Field(default=None, sa_type=Payload)
    """How sure the suggestion is, by field: a JSON object of numbers from 0 to 1."""
    files: str = Field(sa_type=Payload)
    output: str | None = Field(default=None, sa_type=Payload)
    output_schema_digest: str = Field(sa_type=Text)
    assigned_to: str | None = Field(default=None, sa_type=Text)
    assigned_by: str | None = Field(default=None, sa_type=Text)
    """Who put it before its present assignee or candidates by the right to manage tasks, or took it so."""
    owner: str | None = Field(default=None, sa_type=Text)
    """Who delegated the task first; ``assigned_to`` decides in that person's stead."""
    sent_back_to: str | None = Field(default=None, sa_type=Text)
    """Who is to rework what the task shows; until then it takes no answer."""
    sent_back_by: str | None = Field(default=None, sa_type=Text)
    candidates: str = Field(default="[]", sa_type=Text)
    prepared_by: str = Field(default="[]", sa_type=Text)
    four_eyes: int = 0
    quorum: str | None = Field(default=None, sa_type=Text)
    priority: int = 0
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    due_order: datetime = Field(sa_type=UtcDateTime)
    ladder: str = Field(default="[]", sa_type=Text)
    next_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str | None = Field(default=None, sa_type=Text)
    completed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    completed_by: str | None = Field(default=None, sa_type=Text)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_by: str | None = Field(default=None, sa_type=Text)
    end_reason: str | None = Field(default=None, sa_type=Payload)
    evidence: str | None = Field(default=None, sa_type=Payload)
    version: int = 1


class InboxRow(Table, table=True):
    """An open task in front of somebody: a row for its assignee, else one for each candidate.

    ``actor`` is ``user:ada`` or ``group:finance``. A task that has ended has no rows here.
    """

    __tablename__ = "toolkit_task_inbox"
    __table_args__ = (
        # "Mine, due soonest": a page for each of a person's actors.
        Index("ix_toolkit_task_inbox_actor", "actor", "due_order", text("priority DESC"), "task_id"),
    )

    task_id: str = Field(primary_key=True, sa_type=Text)
    actor: str = Field(primary_key=True, sa_type=Text)
    due_order: datetime = Field(sa_type=UtcDateTime)
    priority: int = 0


class ChangeRow(Table, table=True):
    """One thing that happened to a task. Rows are added and never removed; they get a number, and do not change."""

    __tablename__ = "toolkit_task_change"
    __table_args__ = (
        # The history of one task, in order.
        Index("ix_toolkit_task_change_task", "task_id", "id"),
        # The feed: what comes after a number, and what has none yet.
        Index("ix_toolkit_task_change_number", "number"),
        Index(
            "ix_toolkit_task_change_new",
            "id",
            postgresql_where=text("number IS NULL"),
            sqlite_where=text("number IS NULL"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    task_id: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    note: str | None = Field(default=None, sa_type=Payload)
    details: str = Field(default="{}", sa_type=Payload)
    number: int | None = Field(default=None, sa_type=BigInteger)
    """Its place in the order of commits, once it has been given one."""


class DraftRow(Table, table=True):
    """What a person has filled in so far; nobody else sees it."""

    __tablename__ = "toolkit_task_draft"

    task_id: str = Field(primary_key=True, sa_type=Text)
    person: str = Field(primary_key=True, sa_type=Text)
    output: str = Field(sa_type=Payload)
    saved_at: datetime = Field(sa_type=UtcDateTime)


class VoteRow(Table, table=True):
    """One person's answer to a task that needs several."""

    __tablename__ = "toolkit_task_vote"

    task_id: str = Field(primary_key=True, sa_type=Text)
    voter: str = Field(primary_key=True, sa_type=Text)
    at: datetime = Field(sa_type=UtcDateTime)
    output: str = Field(sa_type=Payload)
    is_rejection: int
    groups: str = Field(sa_type=Text)
    """Which of the quorum's groups the voter could speak for, then."""
    evidence: str = Field(sa_type=Payload)


class LinkRow(Table, table=True):
    """A link that lets one person answer one task once; of its token only the hash is kept."""

    __tablename__ = "toolkit_task_link"
    __table_args__ = (
        UniqueConstraint("token_hash", name="uq_toolkit_task_link_token"),
        # The links of one task.
        Index("ix_toolkit_task_link_task", "task_id", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    token_hash: str = Field(sa_type=Text)
    task_id: str = Field(sa_type=Text)
    person: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    created_by: str = Field(sa_type=Text)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class UserRow(Table, table=True):
    """A person of the directory."""

    __tablename__ = "toolkit_user"

    id: str = Field(primary_key=True, sa_type=Text)
    display_name: str = Field(sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    channels: str | None = Field(default=None, sa_type=Text)
    """The channels that the person chose, as a JSON list; null: all."""


class GroupRow(Table, table=True):
    """A group of the directory."""

    __tablename__ = "toolkit_group"

    id: str = Field(primary_key=True, sa_type=Text)
    display_name: str = Field(sa_type=Text)


class MembershipRow(Table, table=True):
    """Somebody belongs to a group."""

    __tablename__ = "toolkit_membership"
    __table_args__ = (
        # The members of a group; the key serves the groups of a person.
        Index("ix_toolkit_membership_group", "group_id", "user_id"),
    )

    user_id: str = Field(primary_key=True, sa_type=Text)
    group_id: str = Field(primary_key=True, sa_type=Text)


class SubstituteRow(Table, table=True):
    """Somebody acts for an absent person, from the first day to the last."""

    __tablename__ = "toolkit_substitute"
    __table_args__ = (
        CheckConstraint("first_day <= last_day", name="days"),
        CheckConstraint("user_id <> substitute_id", name="other"),
        # For whom does this person act today?
        Index("ix_toolkit_substitute_substitute", "substitute_id", "last_day"),
        Index("ix_toolkit_substitute_user", "user_id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    user_id: str = Field(sa_type=Text)
    substitute_id: str = Field(sa_type=Text)
    first_day: date
    last_day: date


class NotificationRow(Table, table=True):
    """Something to tell: first that it happened (no channel), then one row for each message to send."""

    __tablename__ = "toolkit_notification"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'done', 'failed')", name="state"),
        # The courier: what is due.
        Index(
            "ix_toolkit_notification_due",
            "due_at",
            "id",
            postgresql_where=text("state = 'pending'"),
            sqlite_where=text("state = 'pending'"),
        ),
        # What was told about one task.
        Index("ix_toolkit_notification_task", "task_id", "id"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    task_id: str = Field(sa_type=Text)
    event: str = Field(sa_type=Text)
    channel: str | None = Field(default=None, sa_type=Text)
    recipient: str | None = Field(default=None, sa_type=Text)
    details: str = Field(default="{}", sa_type=Payload)
    state: str = Field(default="pending", sa_type=Text)
    attempts: int = 0
    due_at: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str | None = Field(default=None, sa_type=Text)
