"""The states of a task."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """Where a task stands; ``open`` and ``claimed`` can still be answered, the others are final."""

    OPEN = "open"
    """Waits for anybody who may answer it."""

    CLAIMED = "claimed"
    """A person has taken it on; still unanswered."""

    COMPLETED = "completed"
    """Answered; the one answer is on record with who and when."""

    CANCELLED = "cancelled"
    """Withdrawn, by a person or because its run was cancelled."""

    EXPIRED = "expired"
    """Its time was up before anybody answered."""


ANSWERABLE = (TaskState.OPEN, TaskState.CLAIMED)
