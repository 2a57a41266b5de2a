"""Tasks as programs and pages see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolkit.files import File
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
    due_at: datetime | None = Field(description="When it expires if nobody answers.")
    created_at: datetime
    created_by: str | None = Field(description="Who started the run.")
    completed_at: datetime | None
    completed_by: str | None
    ended_at: datetime | None
    ended_by: str | None = Field(description="Who completed or cancelled it; null where time or the run's end did.")
    end_reason: str | None
    version: int


class TaskDetail(Task):
    """One task with everything a form needs."""

    description: str | None
    input: Any = Field(description="What the person is to look at.")
    suggested_data: Any = Field(description="Values to fill the form with at first.")
    files: list[File]
    output: Any = Field(description="The answer, once there is one.")
    output_schema: dict[str, Any] | None = Field(
        description="The JSON Schema that an answer must fit; null when this installation no longer defines the task."
    )
    is_form_changed: bool = Field(description="The definition asks for another output than when the task was opened.")
