"""The audit entry of a change that the engine has made in a transaction of its own."""

from __future__ import annotations

from typing import Any

from toolkit.access import record_audit
from toolkit.api.services import Services


async def record(services: Services, *, action: str, object_kind: str, object_id: str, **details: Any) -> None:
    """Write the entry right after the change; details that are ``None`` are left out."""
    async with services.database.session() as session:
        await record_audit(
            session,
            action=action,
            object_kind=object_kind,
            object_id=object_id,
            details={key: value for key, value in details.items() if value is not None},
        )
