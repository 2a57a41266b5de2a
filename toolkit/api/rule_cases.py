"""Stored cases of rules: examples with the outcome that every version must give."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from toolkit.access import Permission
from toolkit.api.bodies import Body, JsonObjectText, Text, documented, read_json
from toolkit.api.bounds import PathVersion, VersionNumber
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.rules import Case, CaseReport, Coverage

router = APIRouter(prefix="/rules/{name}", tags=["rules"])

CaseName = Annotated[str, Path(min_length=1, max_length=200)]


class NewCase(Body):
    """One example."""

    input: JsonObjectText
    expected: Annotated[JsonObjectText, Field(description="The outcome; only the fields that stand here are compared.")]
    note: Annotated[Text | None, Field(max_length=1000)] = None


class CaseRun(Body):
    """What the cases are run against."""

    version: Annotated[VersionNumber | None, Field(description="Left out: the rule's own function.")] = None


class CaseList(BaseModel):
    """The stored cases of a rule, by name."""

    items: list[Case]


_read = [requires(Permission.RULES_READ)]
_upload = [requires(Permission.RULES_UPLOAD)]


@router.get("/cases", operation_id="list_rule_cases", dependencies=_read)
async def list_rule_cases(name: str, services: Installation) -> CaseList:
    """The examples by which every version of a rule is tested."""
    return CaseList(items=await services.rules.workbench.list_cases(name))


@router.put("/cases/{case}", operation_id="put_rule_case", dependencies=_upload, openapi_extra=documented(NewCase))
async def put_rule_case(name: str, case: CaseName, request: Request, services: Installation) -> Case:
    """Store an example under a name, in place of the one that was there."""
    body = await read_json(request, NewCase, limit=services.request_bytes)
    return await services.rules.workbench.put_case(name, case, input=body.input, expected=body.expected, note=body.note)


@router.delete("/cases/{case}", status_code=204, operation_id="delete_rule_case", dependencies=_upload)
async def delete_rule_case(name: str, case: CaseName, services: Installation) -> None:
    """Forget an example."""
    await services.rules.workbench.delete_case(name, case)


@router.post(
    "/cases/run",
    operation_id="run_rule_cases",
    dependencies=[requires(Permission.RULES_SIMULATE)],
    openapi_extra=documented(CaseRun, is_required=False),
)
async def run_rule_cases(name: str, request: Request, services: Installation) -> CaseReport:
    """Run every example against a version, or the rule's function, and say which rows none of them reached."""
    body = await read_json(request, CaseRun, limit=services.request_bytes, is_optional=True)
    return await services.rules.workbench.run_cases(name, version=body.version)


@router.get(
    "/versions/{number}/coverage",
    operation_id="get_rule_coverage",
    dependencies=[requires(Permission.DECISIONS_READ)],
)
async def get_rule_coverage(
    name: str,
    number: PathVersion,
    services: Installation,
    limit: Annotated[int, Query(ge=1, le=10_000, description="How many of its last decisions to look at.")] = 500,
) -> Coverage:
    """Which rows of a version were reached by what it decided in runs, and which never."""
    return await services.rules.workbench.coverage(name, number, limit=limit)
