"""Decision tables of rules as CSV and Excel files, out and in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from toolkit.access import Permission
from toolkit.api.bodies import Text, read
from toolkit.api.bounds import VersionNumber
from toolkit.api.security import requires
from toolkit.api.services import Installation
from toolkit.files import disposition_of
from toolkit.rules import RuleVersion, SpreadsheetFormat

router = APIRouter(prefix="/rules/{name}/tables", tags=["rules"])

_MEDIA_TYPES: dict[SpreadsheetFormat, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_FORMATS = {media_type: known for known, media_type in _MEDIA_TYPES.items()}

Table = Annotated[str | None, Query(max_length=200, description="The name of its node; a CSV file has one table.")]
Version = Annotated[
    VersionNumber | None, Query(description="Left out: the active one, else the newest, else the graph to begin with.")
]


@router.get(
    "",
    operation_id="export_rule_tables",
    dependencies=[requires(Permission.RULES_READ)],
    response_class=Response,
    responses={200: {"content": {media_type: {"schema": {"type": "string"}} for media_type in _FORMATS}}},
)
async def export_rule_tables(
    name: str,
    services: Installation,
    format: Literal["csv", "xlsx"] = "xlsx",
    table: Table = None,
    version: Version = None,
) -> Response:
    """The decision tables of a version as a file, to be changed in a spreadsheet and sent back."""
    content = await services.rules.workbench.export_tables(name, format, version=version, table=table)
    headers = {"content-disposition": disposition_of(f"{name}.{format}", inline=False)}
    return Response(content, media_type=_MEDIA_TYPES[format], headers=headers)


_upload: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {media_type: {"schema": {"type": "string"}} for media_type in _FORMATS},
    }
}


@router.post(
    "",
    status_code=201,
    operation_id="import_rule_tables",
    dependencies=[requires(Permission.RULES_UPLOAD)],
    openapi_extra=_upload,
)
async def import_rule_tables(
    name: str,
    request: Request,
    response: Response,
    services: Installation,
    *,
    table: Table = None,
    version: Version = None,
    note: Annotated[Text | None, Query(max_length=1000)] = None,
) -> RuleVersion:
    """Store a new version: that of ``version`` with the tables of the file; checked as any upload is."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found = _FORMATS.get(media_type)
    if found is None:
        raise HTTPException(415, f"the body is of type {media_type!r}, expected {' or '.join(map(repr, _FORMATS))}")
    content = await read(request, limit=services.graph_bytes)
    graph = await services.rules.workbench.graph_with_tables(name, content, found, version=version, table=table)
    stored = await services.rules.upload(name, graph, note=note)
    if not stored.created:
        response.status_code = 200
    return stored
