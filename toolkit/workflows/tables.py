"""The journal's tables. The engine writes them with statements of its own; these declarations make the schema."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field

from toolkit.storage import Payload, Table, UtcDateTime

_RUN_STATES = "'pending', 'running', 'suspended', 'succeeded', 'failed', 'cancelled', 'parked'"
_FINAL_STATES = "'succeeded', 'failed', 'cancelled'"
_WAIT_STATES = "'open', 'resolved', 'delivered', 'expired', 'withdrawn', 'cancelled'"


class RunRow(Table, table=True):
    """One execution of a workflow."""

    __tablename__ = "toolkit_run"
    __table_args__ = (
        CheckConstraint(f"state IN ({_RUN_STATES})", name="state"),
        CheckConstraint(f"(finished_at IS NOT NULL) = (state IN ({_FINAL_STATES}))", name="finished"),
        # claim: due runs in order of priority, then time; a waiting run without a limit is not in it
        Index(
            "ix_toolkit_run_due",
            text("priority DESC"),
            "due_at",
            postgresql_where=text("state IN ('pending', 'suspended') AND due_at IS NOT NULL"),
            sqlite_where=text("state IN ('pending', 'suspended') AND due_at IS NOT NULL"),
        ),
        # runs that may end their process, which run alone
        Index(
            "ix_toolkit_run_suspect",
            "due_at",
            postgresql_where=text("losses >= 2 AND state IN ('pending', 'suspended')"),
            sqlite_where=text("losses >= 2 AND state IN ('pending', 'suspended')"),
        ),
        # take-over: what a dead worker was running
        Index(
            "ix_toolkit_run_worker",
            "worker_id",
            postgresql_where=text("state = 'running'"),
            sqlite_where=text("state = 'running'"),
        ),
        # keyed start
        Index(
            "uq_toolkit_run_key",
            "workflow",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
            sqlite_where=text("idempotency_key IS NOT NULL"),
        ),
        # cancel: the children of a run
        Index(
            "ix_toolkit_run_parent",
            "parent_id",
            postgresql_where=text("parent_id IS NOT NULL"),
            sqlite_where=text("parent_id IS NOT NULL"),
        ),
        # cancel: what a run went on as
        Index(
            "ix_toolkit_run_continued",
            "continued_from",
            postgresql_where=text("continued_from IS NOT NULL"),
            sqlite_where=text("continued_from IS NOT NULL"),
        ),
        # runs whose time is up
        Index(
            "ix_toolkit_run_deadline",
            "deadline_at",
            postgresql_where=text("deadline_at IS NOT NULL AND finished_at IS NULL AND cancel_requested_at IS NULL"),
            sqlite_where=text("deadline_at IS NOT NULL AND finished_at IS NULL AND cancel_requested_at IS NULL"),
        ),
        # what was made of a run
        Index(
            "ix_toolkit_run_forked",
            "forked_from",
            postgresql_where=text("forked_from IS NOT NULL"),
            sqlite_where=text("forked_from IS NOT NULL"),
        ),
        # search and resume: what is paused
        Index(
            "ix_toolkit_run_paused",
            "id",
            postgresql_where=text("paused_at IS NOT NULL"),
            sqlite_where=text("paused_at IS NOT NULL"),
        ),
        # search by the text of an error, newest first
        Index(
            "ix_toolkit_run_error",
            "id",
            postgresql_where=text("error_summary IS NOT NULL"),
            sqlite_where=text("error_summary IS NOT NULL"),
        ),
        # lists by workflow and by state, newest first
        Index("ix_toolkit_run_workflow", "workflow", "id"),
        Index("ix_toolkit_run_state", "state", "id"),
    )

    id: str = Field(primary_key=True)
    workflow: str
    version: str | None = None
    state: str
    input: str = Field(sa_type=Payload)
    input_digest: str
    result: str | None = Field(default=None, sa_type=Payload)
    error: str | None = Field(default=None, sa_type=Payload)
    priority: int = 0
    epoch: int = 0
    worker_id: str | None = None
    warm_worker: str | None = None
    due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    losses: int = 0
    total_losses: int = 0
    idempotency_key: str | None = None
    parent_id: str | None = None
    parent_wait: str | None = None
    started_by: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    paused_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancel_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancel_reason: str | None = None
    cancelled_by: str | None = None
    deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    close_policy: str | None = None
    cancel_mode: str | None = None
    on_cancel: str | None = None
    continued_from: str | None = None
    continued_as: str | None = None
    is_watched: bool | None = None
    progress: str | None = Field(default=None, sa_type=Payload)
    error_summary: str | None = None
    paused_by: str | None = None
    forked_from: str | None = None
    forked_at_step: str | None = None
    key_run_id: str | None = None
    originators: str | None = None
    """Of a run that was made of another, and of what it starts: who started those before it, the first first (JSON)."""


class StepRow(Table, table=True):
    """The checkpoint of one step, written when it ended."""

    __tablename__ = "toolkit_step"
    __table_args__ = (
        CheckConstraint("state IN ('running', 'succeeded', 'failed', 'cancelled')", name="state"),
        # decisions: the recorded evaluations of one rule, without a look at other steps
        Index(
            "ix_toolkit_step_rule",
            "name",
            "run_id",
            postgresql_where=text("kind = 'rule'"),
            sqlite_where=text("kind = 'rule'"),
        ),
        # opening a wait: the highest number of its key that was delivered to the run
        Index(
            "ix_toolkit_step_event",
            "run_id",
            "name",
            "event_seq",
            postgresql_where=text("event_seq IS NOT NULL"),
            sqlite_where=text("event_seq IS NOT NULL"),
        ),
    )

    run_id: str = Field(primary_key=True, foreign_key="toolkit_run.id")
    path: str = Field(primary_key=True)
    name: str
    display_name: str | None = None
    kind: str
    state: str
    arguments: str | None = Field(default=None, sa_type=Payload)
    result: str | None = Field(default=None, sa_type=Payload)
    error: str | None = Field(default=None, sa_type=Payload)
    details: str | None = Field(default=None, sa_type=Payload)
    attempts: int = 1
    epoch: int
    event_seq: int | None = Field(default=None, sa_type=BigInteger)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class WaitRow(Table, table=True):
    """A run's standing request for an event, a moment or the end of another run."""

    __tablename__ = "toolkit_wait"
    __table_args__ = (
        CheckConstraint(f"state IN ({_WAIT_STATES})", name="state"),
        # matching: who waits for this event, and whether this run does
        Index(
            "ix_toolkit_wait_key",
            "event_key",
            "run_id",
            postgresql_where=text("state = 'open' AND event_key IS NOT NULL"),
            sqlite_where=text("state = 'open' AND event_key IS NOT NULL"),
        ),
        # claim and cancel: the waits of a run
        Index("ix_toolkit_wait_run", "run_id"),
    )

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="toolkit_run.id")
    path: str
    name: str
    display_name: str | None = None
    kind: str
    state: str
    event_key: str | None = None
    after_seq: int = Field(default=0, sa_type=BigInteger)
    deadline_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reference: str | None = None
    arguments: str | None = Field(default=None, sa_type=Payload)
    created_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class EventRow(Table, table=True):
    """A named message; kept, and numbered in the order in which its key received it."""

    __tablename__ = "toolkit_event"
    __table_args__ = (
        # numbering: the highest number of a key; none is given twice
        Index("uq_toolkit_event_seq", "key", "seq", unique=True),
        # matching: the lowest number above a cursor, of those for everybody and of those for one run
        Index("ix_toolkit_event_target", "key", "run_id", "seq"),
        # numbering: what a caller's transaction has left for the engine
        Index(
            "ix_toolkit_event_unnumbered",
            "id",
            postgresql_where=text("seq IS NULL"),
            sqlite_where=text("seq IS NULL"),
        ),
        # keyed emit
        Index(
            "uq_toolkit_event_key",
            "key",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
            sqlite_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    key: str
    seq: int | None = Field(default=None, sa_type=BigInteger)
    run_id: str | None = None
    wait_id: str | None = None
    payload: str | None = Field(default=None, sa_type=Payload)
    idempotency_key: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)


class AttributeRow(Table, table=True):
    """Something by which a run is found again: a value under a name of the author's, or a tag.

    ``value`` is the text that is shown and compared for equality; ``position`` puts numbers and times in order.
    """

    __tablename__ = "toolkit_attribute"
    __table_args__ = (
        CheckConstraint("kind IN ('tag', 'text', 'number', 'time')", name="kind"),
        # search: the runs with this value, newest first
        Index("ix_toolkit_attribute_value", "name", "value", "run_id"),
        # search: the runs with a value in a range
        Index(
            "ix_toolkit_attribute_position",
            "name",
            "position",
            "run_id",
            postgresql_where=text("position IS NOT NULL"),
            sqlite_where=text("position IS NOT NULL"),
        ),
    )

    run_id: str = Field(primary_key=True, foreign_key="toolkit_run.id")
    name: str = Field(primary_key=True)
    kind: str
    value: str
    position: float | None = None


class WorkerRow(Table, table=True):
    """A process that advances runs; alive while its heartbeat is younger than the lease."""

    __tablename__ = "toolkit_worker"

    id: str = Field(primary_key=True)
    host: str
    process_id: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    heartbeat_at: datetime = Field(sa_type=UtcDateTime)


class ScheduleRow(Table, table=True):
    """A schedule as far as it has come; what it starts, and when, stands in the code that has its name.

    ``timing`` is what the code said when ``due_at`` was found, so that a change of it is noticed.
    """

    __tablename__ = "toolkit_schedule"

    name: str = Field(primary_key=True)
    workflow: str
    timing: str
    due_at: datetime = Field(sa_type=UtcDateTime)
    last_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_run_id: str | None = None
    paused_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    paused_by: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
