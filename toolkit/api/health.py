"""Health: whether the process lives, and whether it can do its work."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api.security import requires
from toolkit.api.services import Installation, Services
from toolkit.errors import StorageError
from toolkit.storage import Query, both

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/health", tags=["health"], dependencies=[requires(Permission.HEALTH_READ)])

_PING = both("ping", "SELECT 1")
_PING_SECONDS = 2.0

Condition = Literal["ok", "unavailable"]


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What the process needs, part by part."""

    status: Condition
    database: Condition
    engine: Condition


@router.get("/live", operation_id="get_liveness")
async def get_liveness() -> Liveness:
    """Answers as long as the process does; looks at nothing else."""
    return Liveness()


@router.get("/ready", operation_id="get_readiness", responses={503: {"model": Readiness}})
async def get_readiness(response: Response, services: Installation) -> Readiness:
    """Whether requests make sense now: the database answers and the engine is open. 503 when not."""
    database = await _database_condition(services)
    engine: Condition = "ok" if services.engine.is_healthy else "unavailable"
    status: Condition = "ok" if database == engine == "ok" else "unavailable"
    if status != "ok":
        response.status_code = 503
    return Readiness(status=status, database=database, engine=engine)


async def _database_condition(services: Services) -> Condition:
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await services.database.reader.read(Query(_PING))
    except (StorageError, TimeoutError, OSError) as error:
        logger.warning(
            "The database does not answer a health probe",
            extra={"event": "health.database_unavailable", "reason": type(error).__name__},
        )
        return "unavailable"
    return "ok"
