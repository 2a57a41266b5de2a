"""The audit entry of a change that the engine has made in a transaction of its own."""

from __future__ import annotations

from typing import Any

from toolkit.access import audit_change
from toolkit.api.services import Services


async def record(services: Services, *, action: str, object_kind: str, object_id: str, **details: Any) -> None:
    """Write the entry right after the change; details that are ``None`` are left out."""
    await audit_change(services.database, action=action, object_kind=object_kind, object_id=object_id, **details)
