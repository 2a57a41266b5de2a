"""Human tasks let a run ask a person and wait for the answer, for minutes or months."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from toolkit.errors import TaskCancelled, TaskExpired
from toolkit.human.human import Human, TaskResult, Timeout, Value
from toolkit.human.states import TaskState

if TYPE_CHECKING:
    from toolkit.human.service import TaskService
    from toolkit.human.tasks import Task, TaskDetail
    from toolkit.human.waits import close_tasks

__all__ = [
    "Human",
    "Task",
    "TaskCancelled",
    "TaskDetail",
    "TaskExpired",
    "TaskResult",
    "TaskService",
    "TaskState",
    "Timeout",
    "Value",
    "close_tasks",
]

# What an author's module needs loads no database library; the rest is loaded when it is asked for.
_LATER = {"Task": "tasks", "TaskDetail": "tasks", "TaskService": "service", "close_tasks": "waits"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"toolkit.human.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
