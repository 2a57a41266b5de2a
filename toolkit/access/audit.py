"""The audit trail: who did what to which object, written in the transaction that does it.

Written there, an entry cannot exist without its change nor a change without its entry. Nothing here changes or removes
an entry.
"""

from __future__ import annotations

import hashlib
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
from toolkit.errors import InvalidInput, SerializationError
from toolkit.ids import new_id
from toolkit.storage import Database

LONGEST_DETAILS = 8_000
"""Characters of JSON. Details say which and how many; what a document says does not belong in a trail kept for ever."""

# How many items of a list or an object are kept of longer details, and how many characters of a text, at every try.
_SHORTER = ((50, 1000), (20, 300), (5, 100), (2, 50))

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
    ``details`` is small, and holds no content of documents and no secret. Longer than ``LONGEST_DETAILS`` they are
    shortened, because an entry must not refuse the change that it is about: of a long list its ``count`` and its
    ``first`` items are kept, of a long text its beginning, and under ``shortened`` stand the length and the SHA-256 of
    the JSON that they were.

    Raises:
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
        SerializationError: as for :func:`record_audit`.
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
    return text if len(text) <= LONGEST_DETAILS else _shortened(text)


def _shortened(text: str) -> str:
    """The JSON object ``text`` in ``LONGEST_DETAILS``, with the mark that something was left out."""
    details = json.loads(text)
    mark = {"characters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    for items, characters in _SHORTER:
        kept = {name: _first(value, items=items, characters=characters) for name, value in details.items()}
        shorter = to_json(kept | {"shortened": mark}).decode()
        if len(shorter) <= LONGEST_DETAILS:
            return shorter
    return to_json({"shortened": mark}).decode()


def _first(value: Any, *, items: int, characters: int) -> Any:
    match value:
        case str() if len(value) > characters:
            return value[:characters] + "…"
        case list() | dict():
            pairs = list(value.items() if isinstance(value, dict) else enumerate(value))[:items]
            short = [(name, _first(each, items=items, characters=characters)) for name, each in pairs]
            first = dict(short) if isinstance(value, dict) else [each for _, each in short]
            return first if len(value) <= items else {"count": len(value), "first": first}
        case _:
            return value


def _read(row: AuditRow) -> AuditEntry:
    return AuditEntry.model_validate(row.model_dump() | {"details": json.loads(row.details)})
