"""Files: bytes go in once and come out as they were."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from toolkit.access import Permission
from toolkit.api.bodies import Body, Text, documented, read_json, stream
from toolkit.api.bounds import Moment
from toolkit.api.contents import respond_with
from toolkit.api.form_files import read_files
from toolkit.api.pages import After, Limit, Page, page_of
from toolkit.api.security import requires
from toolkit.api.services import MEBIBYTE, Installation
from toolkit.errors import InvalidInput
from toolkit.files import File, FileMetadata, disposition_of, release

router = APIRouter(prefix="/files", tags=["files"])

_MOST_OTHER_FIELDS = 100


class Uploaded(BaseModel):
    """The references of what was uploaded, in the order in which it came."""

    items: list[File]


class Release(Body):
    """Why a file may be read after all."""

    reason: Annotated[Text, Field(min_length=1, max_length=1000)]


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One or several files as a form, or the bytes of one with `?filename=`.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "",
    status_code=201,
    operation_id="upload_files",
    dependencies=[requires(Permission.FILES_WRITE)],
    openapi_extra=_BODY,
)
async def upload_files(
    *,
    request: Request,
    services: Installation,
    filename: Annotated[str | None, Query(description="The name of a file sent as a raw body.")] = None,
) -> Uploaded:
    """Store one or several files.

    The files of a form may be in fields of any name. All of one request together must stay within the upload limit.
    """
    media_type = request.headers.get("content-type", "")
    if media_type.partition(";")[0].strip().lower() == "multipart/form-data":
        return Uploaded(items=await _store_form(request, services, media_type))
    if filename is None:
        raise InvalidInput(
            "the body is no form, so the name of the file is missing",
            errors=[{"loc": "query.filename", "msg": "expected with a raw body", "type": "missing"}],
        )
    content = stream(request, limit=services.upload_bytes)
    return Uploaded(items=[await services.files.upload(content, filename=filename, content_type=media_type or None)])


async def _store_form(request: Request, services: Installation, content_type: str) -> list[File]:
    """All files of the form, or none of them."""
    body = stream(request, limit=services.upload_bytes + MEBIBYTE)  # the form itself takes some bytes too
    most_fields = services.files.limits.max_files + _MOST_OTHER_FIELDS
    async with aclosing(
        read_files(content_type, body, most_fields=most_fields, most_bytes=services.upload_bytes)
    ) as uploads:
        stored = await services.files.upload_all(uploads)
    if not stored:
        missing = {"loc": "body", "msg": "expected at least one file", "type": "missing"}
        raise InvalidInput("the form holds no file", errors=[missing])
    return stored


@router.get("", operation_id="list_files", dependencies=[requires(Permission.FILES_READ)])
async def list_files(
    *,
    services: Installation,
    content_type: Annotated[str | None, Query(max_length=200, description="Such as `image/png` or `image/*`.")] = None,
    created_by: Annotated[str | None, Query(max_length=200)] = None,
    filename: Annotated[
        str | None, Query(max_length=255, description="Any part of the name, in any case; on SQLite of A to Z alone.")
    ] = None,
    sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
    storage: Annotated[str | None, Query(max_length=200)] = None,
    state: Annotated[Literal["stored", "quarantined"] | None, Query()] = None,
    created_from: Annotated[Moment | None, Query()] = None,
    created_before: Annotated[Moment | None, Query()] = None,
    size_from: Annotated[int | None, Query(ge=0, le=2**62, description="Bytes.")] = None,
    size_to: Annotated[int | None, Query(ge=0, le=2**62, description="Bytes.")] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[FileMetadata]:
    """Stored files, newest first."""
    found = await services.files.list_files(
        content_type=content_type,
        created_by=created_by,
        filename=filename,
        sha256=sha256,
        storage=storage,
        state=state,
        created_from=created_from,
        created_before=created_before,
        size_from=size_from,
        size_to=size_to,
        after=after,
        limit=limit + 1,
    )
    return page_of(found, limit, cursor_of=lambda file: file.id)


@router.get("/{file_id}", operation_id="get_file", dependencies=[requires(Permission.FILES_READ)])
async def get_file(file_id: str, services: Installation) -> FileMetadata:
    """What is known of a file, without its bytes."""
    return await services.files.metadata(file_id)


@router.delete(
    "/{file_id}", status_code=204, operation_id="delete_file", dependencies=[requires(Permission.FILES_DELETE)]
)
async def delete_file(file_id: str, services: Installation) -> Response:
    """Delete a file. Refused with 409 while a live run, an open task or an entity refers to it."""
    await services.files.delete(file_id)
    return Response(status_code=204)


@router.post(
    "/{file_id}/release",
    operation_id="release_file",
    dependencies=[requires(Permission.FILES_RELEASE)],
    openapi_extra=documented(Release),
)
async def release_file(file_id: str, request: Request, services: Installation) -> FileMetadata:
    """Let a file out of quarantine, whatever its scan found; the reason is kept in the audit trail."""
    body = await read_json(request, Release, limit=services.request_bytes)
    return await release(services.files, file_id, reason=body.reason)


@router.get(
    "/{file_id}/content",
    operation_id="get_file_content",
    dependencies=[requires(Permission.FILES_READ)],
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The range that was asked for."},
        304: {"description": "The caller has these bytes."},
        307: {"description": "The storage itself gives them out, for five minutes, at the address in Location."},
    },
)
async def get_file_content(
    *,
    file_id: str,
    request: Request,
    services: Installation,
    disposition: Annotated[str, Query(pattern="^(inline|attachment)$")] = "inline",
) -> Response:
    """The bytes of a file. Ranges and conditional requests are answered; what could run script is only downloaded."""
    metadata = await services.files.metadata(file_id)
    # Elsewhere our headers do not go along, so there everything is offered for saving only.
    signed = await services.files.sign(metadata, disposition=disposition_of(metadata.filename, inline=False))
    if signed is not None:
        return RedirectResponse(signed, 307, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    return await respond_with(services.files, metadata, request.headers, inline=disposition == "inline")
