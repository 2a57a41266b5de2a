"""Cursors: where a list of tasks goes on. The place is in the cursor, so that an edit of its task moves no page."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from toolkit.errors import InvalidInput

if TYPE_CHECKING:
    from toolkit.human.tasks import Task

Order = Literal["newest", "due"]

NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""When a task without a due date is due, to whoever sorts."""

Place = tuple[datetime, int, str]
"""Among those due soonest: the moment, at one moment the priority, highest first, and the id."""

_LARGEST = 2**31 - 1  # the column is an integer
_ID = re.compile(r"[0-9a-f-]{36}")


def cursor_after(task: Task, *, order: Order) -> str:
    """Where a list in ``order`` goes on after ``task`` as it was shown."""
    if order == "newest":
        return task.id
    place = [(task.due_at or NEVER).isoformat(), task.priority, task.id]
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode().rstrip("=")


def newest_place(cursor: str) -> str:
    """The id that a list of the newest goes on after; ids sort by time.

    Raises:
        InvalidInput: the cursor is not one of such a list.
    """
    if _ID.fullmatch(cursor) is None:
        raise _unreadable()
    return cursor


def due_place(cursor: str) -> Place:
    """The moment, the priority and the id that a list of those due soonest goes on after.

    Raises:
        InvalidInput: the cursor is not one of such a list.
    """
    try:
        due, priority, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = datetime.fromisoformat(due)
        if moment.tzinfo is not None and isinstance(priority, int) and abs(priority) <= _LARGEST and _ID.fullmatch(id_):
            return moment.astimezone(UTC), priority, str(id_)
        cause: Exception | None = None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        cause = error
    raise _unreadable() from cause


def _unreadable() -> InvalidInput:
    message = "the cursor is not the `next` of a page of this list in this order"
    return InvalidInput(message, errors=[{"loc": "query.after", "msg": message, "type": "cursor"}])
