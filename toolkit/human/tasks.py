"""Tasks as programs and pages see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.files import File
from toolkit.human.forms import Form
from toolkit.human.states import TaskState


class Task(BaseModel):
    """A question to a person, without what it carries: this is what lists show."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str = Field(description="The name of the `Human` that asked.")
    title: str
    message: str | None
    state: TaskState
    workflow: str
    run_id: str
    assigned_to: str | None
    owner: str | None = Field(description="Who delegated it first; null where nobody did.")
    sent_back_to: str | None = Field(description="Who is to rework it; until then it takes no answer.")
    priority: int
    due_at: datetime | None = Field(description="When the answer is wanted, or when it expires.")
    created_at: datetime
    created_by: str | None = Field(description="Who started the run, or the one that it was made of.")
    completed_at: datetime | None
    completed_by: str | None
    ended_at: datetime | None
    ended_by: str | None = Field(description="Who completed or cancelled it; null where time or the run's end did.")
    end_reason: str | None
    version: int = Field(description="Raised by every change to what the task shows or to who may answer it.")


class Change(BaseModel):
    """One thing that happened to a task."""

    model_config = ConfigDict(frozen=True)

    id: str
    task_id: str
    at: datetime
    actor: str
    action: str = Field(description="Such as `claimed`, `delegated`, `commented`, `escalated`.")
    note: str | None = Field(description="The reason, or the comment.")
    details: dict[str, Any]


class Quota(BaseModel):
    """What a task with a quorum needs, and where it stands."""

    needed: int
    one_of_each: list[str]
    rejections_allowed: int
    accepted: int
    rejected: int


class TaskDetail(Task):
    """One task with everything a form needs."""

    description: str | None
    input: Any = Field(description="What the person is to look at.")
    suggested_data: Any = Field(description="Values to fill the form with at first.")
    confidence: dict[str, float] = Field(
        default={}, description="How sure the suggestion is, from 0 to 1, by the path of a field."
    )
    files: list[File]
    output: Any = Field(description="The answer, once there is one.")
    output_schema: dict[str, Any] | None = Field(
        description="The JSON Schema that an answer must fit; null when this installation no longer defines the task."
    )
    form: Form | None = Field(description="The same, ready to be shown: fields in order, with labels and choices.")
    is_form_changed: bool = Field(description="The definition asks for another output than when the task was opened.")
    candidates: list[str] = Field(description="Who may take it, as `user:ada` and `group:finance`.")
    four_eyes: bool
    quorum: Quota | None
    next_at: datetime | None = Field(description="When the next reminder, escalation or expiry is due.")
    seen: str = Field(description="Digest of what is shown; send it with an answer to bind the answer to it.")


class Counts(BaseModel):
    """How many tasks there are."""

    open: int
    claimed: int
    overdue: int
    mine: int
