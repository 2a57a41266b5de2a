"""The audit trail: who did what to which object, written in the transaction that does it.

Written there, an entry cannot exist without its change nor a change without its entry. Nothing here changes or removes
an entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticSerializationError, to_json
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.access.principals import current_principal, current_request_id
from toolkit.access.tables import AuditRow
from toolkit.clock import Clock, SystemClock
from toolkit.errors import InvalidInput, LimitExceeded, SerializationError
from toolkit.ids import new_id
from toolkit.storage import Database

LONGEST_DETAILS = 8_000
"""Characters of JSON. Details say which and how many; what a document says does not belong in a trail kept for ever."""

LONGEST_PAGE = 1000


class AuditEntry(BaseModel):
    """One entry of the trail."""

    model_config = ConfigDict(frozen=True)

    id: str
    at: datetime
    actor: str
    actor_kind: str
    action: str
    object_kind: str
    object_id: str
    details: dict[str, Any]
    request_id: str | None


async def record_audit(
    session: AsyncSession,
    *,
    action: str,
    object_kind: str,
    object_id: str,
    details: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> str:
    """Add an entry to the transaction of ``session`` and return its id.

    The actor and the request come from the context. ``action`` is an object and a past participle (``rule.activated``);
    ``details`` is small, and holds no content of documents and no secret.

    Raises:
        LimitExceeded: the details are longer than ``LONGEST_DETAILS``.
        SerializationError: the details have no JSON form.
    """
    principal = current_principal()
    row = AuditRow(
        id=new_id(),
        at=(clock or SystemClock()).now(),
        actor=principal.id,
        actor_kind=principal.kind,
        action=action,
        object_kind=object_kind,
        object_id=object_id,
        details=_encode_details(details or {}, action=action),
        request_id=current_request_id(),
    )
    session.add(row)
    return row.id


async def audit_change(database: Database, *, action: str, object_kind: str, object_id: str, **details: Any) -> None:
    """Add the entry of a change that was a transaction of its own, right after it; what is ``None`` is left out.

    Raises:
        LimitExceeded, SerializationError: as :func:`record_audit`.
    """
    told = {name: value for name, value in details.items() if value is not None}
    async with database.session() as session:
        await record_audit(session, action=action, object_kind=object_kind, object_id=object_id, details=told)


async def list_audit(
    database: Database,
    *,
    object_kind: str | None = None,
    object_id: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[AuditEntry]:
    """Entries, newest first; ``after`` is the id of the last one seen, ``limit`` 1 to ``LONGEST_PAGE``.

    Raises:
        InvalidInput: the limit is out of range.
    """
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(
            f"limit is {limit}; expected 1 to {LONGEST_PAGE}",
            errors=[{"loc": "limit", "msg": f"expected 1 to {LONGEST_PAGE}", "type": "limit"}],
        )
    wanted = {
        AuditRow.object_kind: object_kind,
        AuditRow.object_id: object_id,
        AuditRow.actor: actor,
        AuditRow.action: action,
    }
    query = select(AuditRow).order_by(col(AuditRow.id).desc()).limit(limit)
    for column, value in wanted.items():
        if value is not None:
            query = query.where(col(column) == value)
    if after is not None:
        query = query.where(col(AuditRow.id) < after)
    async with database.session() as session:
        return [_read(row) for row in await session.exec(query)]


def _encode_details(details: Mapping[str, Any], *, action: str) -> str:
    try:
        text = to_json(dict(details)).decode()
    except PydanticSerializationError as error:
        raise SerializationError(f"the details of {action!r} have no JSON form: {error}") from error
    if len(text) > LONGEST_DETAILS:
        raise LimitExceeded(
            f"the details of {action!r} are {len(text)} characters long, at most {LONGEST_DETAILS} are kept; "
            "record ids and counts instead of contents",
            limit=LONGEST_DETAILS,
            found=len(text),
        )
    return text


def _read(row: AuditRow) -> AuditEntry:
    return AuditEntry.model_validate(row.model_dump() | {"details": json.loads(row.details)})
