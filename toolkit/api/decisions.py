"""Decisions that rules made in runs: which, by what, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from toolkit.access import Permission
from toolkit.api.bounds import VersionNumber
from toolkit.api.pages import Limit, Page, page_of
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.rules import DecisionRecord, Explanation

router = APIRouter(tags=["decisions"])

_read = [requires(Permission.DECISIONS_READ)]

After = Annotated[
    str | None, Query(max_length=2000, description="Go on after this decision: the `next` of the page before.")
]


@router.get("/rules/{name}/decisions", operation_id="list_decisions", dependencies=_read)
async def list_decisions(
    name: str,
    services: Installation,
    version: Annotated[VersionNumber | None, Query(description="Only those that this version made.")] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[DecisionRecord]:
    """What a rule decided in runs, the newest run first, without inputs and outputs."""
    found = await services.rules.workbench.decisions(name, version=version, after=after, limit=limit + 1)
    return page_of(found, limit, cursor_of=lambda decision: decision.id)


@router.get("/decisions/{decision_id}/explain", operation_id="explain_decision", dependencies=_read)
async def explain_decision(
    decision_id: str,
    services: Installation,
    item: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="Which input of a batch, counted from 0.")
    ] = None,
) -> Explanation:
    """Why one decision came out as it did: its input, its output, the rows that matched, in words."""
    return await services.rules.workbench.explain(decision_id, item=item)
