"""Bodies of requests about human tasks. None of them says who acts: that is the caller."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from toolkit.api.bodies import Body, JsonText, Text
from toolkit.api.bounds import DueMoment
from toolkit.errors import InvalidInput
from toolkit.human import Group

Reason = Annotated[Text | None, Field(max_length=1000)]
Version = Annotated[int | None, Field(description="The version that was looked at; another one is a 409.")]
Id = Annotated[Text, Field(min_length=1, max_length=255)]
Seen = Annotated[Text | None, Field(description="The task's `seen`: binds the answer to what was shown.")]

LONGEST_BULK = 200


class Completion(Body):
    """An answer. Who gave it is the caller, and when is now."""

    output: Annotated[JsonText, Field(description="Must fit the task's `output_schema`.")]
    version: Version = None
    seen: Seen = None
    reason: Annotated[
        Text | None, Field(max_length=1000, description="Wanted of whoever answers only because they may manage tasks.")
    ] = None


class Withdrawal(Body):
    """Why something is taken back."""

    reason: Reason = None


class Claim(Body):
    """Which version is claimed."""

    version: Version = None


class Assignment(Body):
    """To whom a task goes: a person or a group."""

    user: Id | None = None
    group: Id | None = None
    reason: Reason = None
    version: Version = None

    def recipient(self) -> str | Group:
        """Who gets it.

        Raises:
            InvalidInput: neither or both are named.
        """
        if (self.user is None) == (self.group is None):
            message = "name either a user or a group"
            raise InvalidInput(message, errors=[{"loc": "user", "msg": message, "type": "recipient"}])
        return Group(self.group) if self.group is not None else self.user or ""


class Delegation(Body):
    """To whom a person hands a task."""

    to: Id
    reason: Reason = None
    version: Version = None


class Rework(Body):
    """What is to be reworked, and by whom."""

    reason: Annotated[Text, Field(min_length=1, max_length=1000)]
    to: Annotated[Id | None, Field(description="Left out: whoever started the run.")] = None


class Return(Body):
    """A reworked task."""

    note: Reason = None
    suggested_data: Annotated[JsonText, Field(description="Replaces the data that fill the form.")] = ""


class Edit(Body):
    """What changes about a task; what is left out stays."""

    due_at: DueMoment | None = None
    priority: Annotated[int | None, Field(ge=-100, le=100)] = None
    reason: Reason = None
    version: Version = None


class Comment(Body):
    """Something to say about a task."""

    text: Annotated[Text, Field(min_length=1, max_length=10_000)]


class Attachment(Body):
    """Files that were uploaded, to be shown with a task."""

    files: Annotated[list[Id], Field(min_length=1, max_length=50)]


class Draft(Body):
    """What is filled in so far; it need not fit yet."""

    output: JsonText


class BulkCompletion(Body):
    """Many answers at once: a list of `{id, output, version?, seen?, reason?}`."""

    items: JsonText


class BulkAssignment(Body):
    """Many tasks for one person or group."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=LONGEST_BULK)]
    user: Id | None = None
    group: Id | None = None
    reason: Reason = None
