"""The audit trail, for those who look into who did what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from toolkit.access import AuditEntry, Permission, list_audit
from toolkit.api.pages import After, Limit, Page, page_of
from toolkit.api.security import requires
from toolkit.api.services import Installation

router = APIRouter(tags=["audit"])

_LONGEST = 2000


@router.get("/audit", operation_id="list_audit", dependencies=[requires(Permission.AUDIT_READ)])
async def list_entries(
    *,
    services: Installation,
    object_kind: Annotated[
        str | None, Query(max_length=_LONGEST, description="About this kind: `run`, `task`, `rule`, `file`, ...")
    ] = None,
    object_id: Annotated[str | None, Query(max_length=_LONGEST, description="About this one.")] = None,
    actor: Annotated[str | None, Query(max_length=_LONGEST, description="By this person, service or account.")] = None,
    action: Annotated[str | None, Query(max_length=_LONGEST, description="Such as `run.cancelled`.")] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[AuditEntry]:
    """Who did what to which object, newest first. Entries are added with what they are about, and never changed."""
    found = await list_audit(
        services.database,
        object_kind=object_kind,
        object_id=object_id,
        actor=actor,
        action=action,
        after=after,
        limit=limit + 1,
    )
    return page_of(found, limit, cursor_of=lambda entry: entry.id)
