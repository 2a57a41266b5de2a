"""Versions of rules under review: what they change, what they miss, what they would have decided."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from toolkit.access import Permission
from toolkit.api.bodies import Body, documented, read_json
from toolkit.api.bounds import PathVersion, VersionNumber
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.rules import Analysis, BackTest, Change, Shadow

router = APIRouter(prefix="/rules/{name}", tags=["rules"])

_read = [requires(Permission.RULES_READ)]
_activate = [requires(Permission.RULES_ACTIVATE)]


class ChangeList(BaseModel):
    """What one version changes, compared with another."""

    version: int
    against: int
    items: list[Change]


class LookBack(Body):
    """How far to look back."""

    limit: Annotated[int, Field(ge=1, le=10_000, description="How many recorded inputs are decided again.")] = 500


@router.get("/versions/{number}/diff", operation_id="diff_rule_version", dependencies=_read)
async def diff_rule_version(
    name: str,
    number: PathVersion,
    services: Installation,
    against: Annotated[VersionNumber, Query(description="The version to compare with.")],
) -> ChangeList:
    """What a version changes, compared with another: rows, cells, expressions and edges, in words."""
    found = await services.rules.workbench.diff(name, number, against=against)
    return ChangeList(version=number, against=against, items=found)


@router.get("/versions/{number}/analysis", operation_id="analyse_rule_version", dependencies=_read)
async def analyse_rule_version(name: str, number: PathVersion, services: Installation) -> Analysis:
    """Gaps with an input that falls into each, rows that can never win, rows that overlap."""
    return await services.rules.workbench.analyse(name, number)


@router.post(
    "/versions/{number}/backtest",
    operation_id="back_test_rule_version",
    dependencies=[requires(Permission.DECISIONS_READ)],
    openapi_extra=documented(LookBack, is_required=False),
)
async def back_test_rule_version(name: str, number: PathVersion, request: Request, services: Installation) -> BackTest:
    """Decide the last recorded inputs again by this version, and list those whose outcome changes."""
    body = await read_json(request, LookBack, limit=services.request_bytes, is_optional=True)
    return await services.rules.workbench.back_test(name, number, limit=body.limit)


@router.get("/shadow", operation_id="get_rule_shadow", dependencies=[requires(Permission.DECISIONS_READ)])
async def get_rule_shadow(name: str, services: Installation) -> Shadow:
    """What the version that is evaluated beside the rule would have decided otherwise, so far."""
    return await services.rules.shadow(name)


@router.put("/versions/{number}/shadow", operation_id="start_rule_shadow", dependencies=_activate)
async def start_rule_shadow(name: str, number: PathVersion, services: Installation) -> Shadow:
    """Evaluate a version beside what decides, on the real inputs; what it says is counted and never used."""
    return await services.rules.start_shadow(name, number)


@router.delete("/shadow", operation_id="stop_rule_shadow", dependencies=_activate)
async def stop_rule_shadow(name: str, services: Installation) -> Shadow:
    """End it; what it has counted stays."""
    return await services.rules.stop_shadow(name)
