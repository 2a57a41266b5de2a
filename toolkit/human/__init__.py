"""Human tasks let a run ask a person and wait for the answer, for minutes or months."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from toolkit.errors import TaskCancelled, TaskExpired
from toolkit.human.calendars import Calendar, Duration, WorkingTime
from toolkit.human.forms import Form, FormField, Money, MultiLine, Option, Variant, build_form
from toolkit.human.human import Human, TaskResult, Timeout, Value, Vote
from toolkit.human.ladders import Escalate, Group
from toolkit.human.quorums import Quorum
from toolkit.human.states import TaskState

if TYPE_CHECKING:
    from toolkit.human import ask, show
    from toolkit.human.channels import (
        Channel,
        DeliveryFailed,
        Message,
        SlackChannel,
        SmtpChannel,
        WebhookChannel,
        channel_of,
    )
    from toolkit.human.courier import Courier, Template
    from toolkit.human.cursors import cursor_after
    from toolkit.human.directory import Directory, Substitution, User, UserGroup
    from toolkit.human.evidence import FileCheck, Verification
    from toolkit.human.form_data import name_of, prefix_of, read_form
    from toolkit.human.links import LinkService, NewLink, TaskLink
    from toolkit.human.service import TaskService
    from toolkit.human.tasks import Change, Counts, Quota, Task, TaskDetail
    from toolkit.human.waits import close_tasks
    from toolkit.human.watch import TaskWatch

__all__ = [
    "Calendar",
    "Change",
    "Channel",
    "Counts",
    "Courier",
    "DeliveryFailed",
    "Directory",
    "Duration",
    "Escalate",
    "FileCheck",
    "Form",
    "FormField",
    "Group",
    "Human",
    "LinkService",
    "Message",
    "Money",
    "MultiLine",
    "NewLink",
    "Option",
    "Quorum",
    "Quota",
    "SlackChannel",
    "SmtpChannel",
    "Substitution",
    "Task",
    "TaskCancelled",
    "TaskDetail",
    "TaskExpired",
    "TaskLink",
    "TaskResult",
    "TaskService",
    "TaskState",
    "TaskWatch",
    "Template",
    "Timeout",
    "User",
    "UserGroup",
    "Value",
    "Variant",
    "Verification",
    "Vote",
    "WebhookChannel",
    "WorkingTime",
    "ask",
    "build_form",
    "channel_of",
    "close_tasks",
    "cursor_after",
    "name_of",
    "prefix_of",
    "read_form",
    "show",
]

# What an author's module needs loads no database library; the rest is loaded when it is asked for.
_LATER = {
    "Change": "tasks",
    "Channel": "channels",
    "Counts": "tasks",
    "Courier": "courier",
    "DeliveryFailed": "channels",
    "Directory": "directory",
    "FileCheck": "evidence",
    "LinkService": "links",
    "Message": "channels",
    "NewLink": "links",
    "Quota": "tasks",
    "SlackChannel": "channels",
    "SmtpChannel": "channels",
    "Substitution": "directory",
    "Task": "tasks",
    "TaskDetail": "tasks",
    "TaskLink": "links",
    "TaskService": "service",
    "TaskWatch": "watch",
    "Template": "courier",
    "User": "directory",
    "UserGroup": "directory",
    "Verification": "evidence",
    "WebhookChannel": "channels",
    "channel_of": "channels",
    "close_tasks": "waits",
    "cursor_after": "cursors",
    "name_of": "form_data",
    "prefix_of": "form_data",
    "read_form": "form_data",
}


def __getattr__(name: str) -> Any:
    if name in {"ask", "show"}:
        return import_module(f"toolkit.human.{name}")
    if name in _LATER:
        return getattr(import_module(f"toolkit.human.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
