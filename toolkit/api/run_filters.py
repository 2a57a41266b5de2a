"""Which runs are meant: as query parameters of a list, and as a part of a body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import Field

from toolkit.api.bodies import Body, Text
from toolkit.api.bounds import Moment
from toolkit.errors import InvalidInput
from toolkit.workflows import Attribute, RunFilter, RunState, check_attributes

_MOST = 50

Workflow = Annotated[list[str], Query(max_length=_MOST, description="Of any of these workflows.")]
State = Annotated[list[RunState], Query(description="In any of these states.")]
Tag = Annotated[list[str], Query(max_length=_MOST, description="With all of these tags.")]
Condition = Annotated[
    list[str],
    Query(
        max_length=_MOST,
        description="With attributes like these: `customer=ACME`, `total>=1000`, `due<2026-01-31T00:00:00Z`.",
    ),
]
Bound = Annotated[Moment | None, Query(description="An aware moment; `from` includes it, `until` does not.")]
ErrorText = Annotated[
    str | None,
    Query(min_length=1, max_length=300, description="A text in the error's type or first line, in any case."),
]


def _where(
    *,
    workflow: Workflow = [],  # noqa: B006 - a default of FastAPI, copied for each request
    state: State = [],  # noqa: B006
    created_from: Bound = None,
    created_until: Bound = None,
    finished_from: Bound = None,
    finished_until: Bound = None,
    tag: Tag = [],  # noqa: B006
    attribute: Condition = [],  # noqa: B006
    error: ErrorText = None,
    paused: Annotated[bool | None, Query(description="Paused, or not paused.")] = None,
    started_by: str | None = None,
    parent_id: str | None = None,
    forked_from: Annotated[str | None, Query(description="Retries and forks of this run.")] = None,
) -> RunFilter:
    return RunFilter(
        workflows=workflow,
        states=state,
        created_from=created_from,
        created_until=created_until,
        finished_from=finished_from,
        finished_until=finished_until,
        tags=tag,
        attributes=attribute,
        error=error,
        is_paused=paused,
        started_by=started_by,
        parent_id=parent_id,
        forked_from=forked_from,
    )


Where = Annotated[RunFilter, Depends(_where)]
"""The filter in the query of a request."""


class RunConditions(Body):
    """Which runs are meant: those for which all of it is so; left out altogether, all runs."""

    workflow: Annotated[
        list[Text], Field(default_factory=list, max_length=_MOST, description="Of any of these workflows.")
    ]
    state: Annotated[list[RunState], Field(default_factory=list, description="In any of these states.")]
    created_from: Moment | None = None
    created_until: Moment | None = None
    finished_from: Moment | None = None
    finished_until: Moment | None = None
    tag: Annotated[list[Text], Field(default_factory=list, max_length=_MOST, description="With all of these tags.")]
    attribute: Annotated[
        list[Text],
        Field(default_factory=list, max_length=_MOST, description="Such as `customer=ACME` or `total>=1000`."),
    ]
    error: Annotated[Text | None, Field(min_length=1, max_length=300)] = None
    paused: bool | None = None
    started_by: Text | None = None
    parent_id: Text | None = None
    forked_from: Text | None = None
    id: Annotated[list[Text], Field(default_factory=list, max_length=1000, description="Any of these runs.")]

    def as_filter(self) -> RunFilter:
        """What the engine takes."""
        return RunFilter(
            workflows=self.workflow,
            states=self.state,
            created_from=self.created_from,
            created_until=self.created_until,
            finished_from=self.finished_from,
            finished_until=self.finished_until,
            tags=self.tag,
            attributes=self.attribute,
            error=self.error,
            is_paused=self.paused,
            started_by=self.started_by,
            parent_id=self.parent_id,
            forked_from=self.forked_from,
            ids=self.id,
        )


def read_attributes(text: str) -> Mapping[str, Attribute]:
    """Search attributes of a JSON object: texts, numbers with every digit, and moments as ``{"time": "..."}``.

    Raises:
        InvalidInput: it is no object, or a value is none of these.
    """
    try:
        found = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError) as error:
        raise _refused("", f"the attributes cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise _refused("", "the attributes are no JSON object with a value by each name")
    attributes = {name: _attribute(name, value) for name, value in found.items()}
    check_attributes(attributes)
    return attributes


def _attribute(name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value  # the engine says what it takes
    try:
        return datetime.fromisoformat(value["time"])
    except (KeyError, TypeError, ValueError) as error:
        expected = 'expected a text, a number or {"time": "2026-01-31T12:00:00Z"}'
        raise _refused(name, f"the attribute {name!r} cannot be read; {expected}") from error


def _refused(name: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[{"loc": name, "msg": message, "type": "attribute"}])
