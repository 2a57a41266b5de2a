"""Rules: their overrides are uploaded, activated, rolled back and tried out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api.bodies import Body, JsonObjectText, JsonText, Text, documented, read_json, within
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.rules import BatchItem, Decision, RuleSummary, RuleVersion
from toolkit.serialization import codec_for

router = APIRouter(prefix="/rules", tags=["rules"])


class Upload(Body):
    """A new version of a rule."""

    graph: Annotated[JsonObjectText, Field(description="The decision graph, as JDM.")]
    note: Annotated[Text | None, Field(max_length=1000, description="What is new, for the list of versions.")] = None


class Change(Body):
    """Why another version is to decide."""

    reason: Annotated[Text | None, Field(max_length=1000)] = None


class Evaluation(Body):
    """One input to decide about; nothing is recorded and nothing goes on because of it."""

    input: JsonText
    version: Annotated[int | None, Field(ge=1, description="Left out: what decides now.")] = None


class BatchEvaluation(Body):
    """Many inputs to decide about."""

    inputs: Annotated[JsonText, Field(description="An array of inputs.")]


class RuleList(BaseModel):
    """All rules of the installation, by name."""

    items: list[RuleSummary]


class VersionList(BaseModel):
    """The versions of a rule, newest first."""

    items: list[RuleVersion]


class BatchResult(BaseModel):
    """One outcome an input, in their order."""

    items: list[BatchItem]


_read = [requires(Permission.RULES_READ)]
_activate = [requires(Permission.RULES_ACTIVATE)]
_evaluate = [requires(Permission.RULES_EVALUATE)]


@router.get("", operation_id="list_rules", dependencies=_read)
async def list_rules(services: Installation) -> RuleList:
    """The rules, and which of them an uploaded version decides."""
    return RuleList(items=services.rules.list_rules())


@router.get("/{name}", operation_id="get_rule", dependencies=_read)
async def get_rule(name: str, services: Installation) -> RuleSummary:
    """One rule with the schemas of its input and output."""
    return services.rules.get_rule(name)


@router.get("/{name}/starter", operation_id="get_rule_starter", dependencies=_read)
async def get_rule_starter(name: str, services: Installation) -> dict[str, Any]:
    """A decision graph to begin with: it has the rule's inputs and outputs and decides nothing yet."""
    return services.rules.starter_graph(name)


@router.get("/{name}/versions", operation_id="list_rule_versions", dependencies=_read)
async def list_rule_versions(name: str, services: Installation) -> VersionList:
    """What was uploaded for a rule, newest first, without the graphs."""
    return VersionList(items=await services.rules.versions(name))


@router.post(
    "/{name}/versions",
    status_code=201,
    operation_id="upload_rule_version",
    dependencies=[requires(Permission.RULES_UPLOAD)],
    openapi_extra=documented(Upload),
)
async def upload_rule_version(name: str, request: Request, response: Response, services: Installation) -> RuleVersion:
    """Store a new version after checking it; it decides nothing before it is activated.

    Content that is already stored is not stored again: the answer is 200 and that version.
    """
    body = await read_json(request, Upload, limit=services.graph_bytes)
    version = await services.rules.upload(name, body.graph.encode(), note=body.note)
    if not version.created:
        response.status_code = 200
    return version


@router.get("/{name}/versions/{number}", operation_id="get_rule_version", dependencies=_read)
async def get_rule_version(name: str, number: int, services: Installation) -> RuleVersion:
    """One version with its graph, as it was uploaded."""
    return await services.rules.version(name, number)


@router.post(
    "/{name}/versions/{number}/activate",
    operation_id="activate_rule_version",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def activate_rule_version(name: str, number: int, request: Request, services: Installation) -> RuleSummary:
    """Let a version decide from the next run on; a run that has asked the rule stays with what it got."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.rules.activate(name, number, reason=body.reason)


@router.post(
    "/{name}/rollback",
    operation_id="roll_back_rule",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def roll_back_rule(name: str, request: Request, services: Installation) -> RuleSummary:
    """Let decide again what decided before the last activation."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.rules.rollback(name, reason=body.reason)


@router.post(
    "/{name}/deactivate",
    operation_id="deactivate_rule",
    dependencies=_activate,
    openapi_extra=documented(Change, is_required=False),
)
async def deactivate_rule(name: str, request: Request, services: Installation) -> RuleSummary:
    """Let the rule's own code decide again."""
    body = await read_json(request, Change, limit=services.request_bytes, is_optional=True)
    return await services.rules.deactivate(name, reason=body.reason)


@router.post(
    "/{name}/evaluate",
    operation_id="evaluate_rule",
    dependencies=_evaluate,
    openapi_extra=documented(Evaluation),
)
async def evaluate_rule(name: str, request: Request, services: Installation) -> Decision:
    """Decide about one input, to try a rule out."""
    body = await read_json(request, Evaluation, limit=services.request_bytes)
    with within("input"):
        return await services.rules.evaluate(name, body.input, version=body.version)


@router.post(
    "/{name}/evaluate-batch",
    operation_id="evaluate_rule_batch",
    dependencies=_evaluate,
    openapi_extra=documented(BatchEvaluation),
)
async def evaluate_rule_batch(name: str, request: Request, services: Installation) -> BatchResult:
    """Decide about many inputs at once; each gets an output or an error of its own."""
    body = await read_json(request, BatchEvaluation, limit=services.request_bytes)
    with within("inputs"):
        inputs = codec_for(list[Any]).parse_json(body.inputs)
    return BatchResult(items=await services.rules.evaluate_batch(name, inputs))
