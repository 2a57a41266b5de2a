"""Lists come in pages: newest first, from a cursor that is the id of the last item seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

Item = TypeVar("Item")

LARGEST_PAGE = 200

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="At most so many items.")]
After = Annotated[
    str | None,
    Query(pattern=r"^[0-9a-f-]{36}$", description="Go on after this item: the `next` of the page before."),
]


class Page(BaseModel, Generic[Item]):
    """Some items of a list, and where the next page begins."""

    items: list[Item]
    next: str | None = Field(description="Give this as `after` for the next page; null on the last one.")


def page_of(found: Sequence[Item], limit: int, *, cursor_of: Callable[[Item], str]) -> Page[Item]:
    """The page of ``found``: ask the room for one more than ``limit``, and it shows whether this is the last page."""
    items = list(found[:limit])
    return Page(items=items, next=cursor_of(items[-1]) if len(found) > limit else None)
