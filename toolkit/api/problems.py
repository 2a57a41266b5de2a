"""Every error of the API in one shape: RFC 9457 problem details, ``application/problem+json``.

One table says which status an error of the toolkit is. Nothing unforeseen is explained to the caller: it gets an id
that is also in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolkit.errors import (
    ConfigurationError,
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    RuleEvaluationError,
    StorageError,
    ToolkitError,
    TransitionRefused,
    Unauthenticated,
    VersionMismatch,
)
from toolkit.ids import new_id

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:process-toolkit:problem:"
_REQUEST_ID = "toolkit.request_id"

# The first class that an error is an instance of decides; whatever stands in no row is a fault of ours: 500.
STATUS_OF: tuple[tuple[type[ToolkitError], int, str], ...] = (
    (InvalidInput, 422, "invalid-input"),
    (NotFound, 404, "not-found"),
    (VersionMismatch, 412, "version-mismatch"),
    (TransitionRefused, 409, "transition-refused"),
    (Conflict, 409, "conflict"),
    (RuleEvaluationError, 422, "rule-evaluation"),
    (LimitExceeded, 413, "too-large"),
    (Unauthenticated, 401, "unauthenticated"),
    (PermissionDenied, 403, "permission-denied"),
    (ConfigurationError, 503, "not-configured"),
    (StorageError, 503, "storage-unavailable"),
)


class FieldError(BaseModel):
    """One thing that is wrong with the request."""

    model_config = ConfigDict(extra="allow")

    loc: str = Field(description="The place: a field of the body, such as `output.total`, or a parameter.")
    msg: str
    type: str | None = None


class Problem(BaseModel):
    """What every response with a status of 400 and above carries."""

    type: str = Field(description="A stable name of the kind of problem, as a URI.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path of the request.")
    errors: list[FieldError] = []
    details: dict[str, Any] = Field(default={}, description="Who or what was first, in which state it is.")
    id: str | None = Field(default=None, description="Only for a fault of the server: the id of its log entry.")


def _schema() -> dict[str, Any]:
    """The schema of a problem in one piece: OpenAPI has its references elsewhere."""
    schema = Problem.model_json_schema()
    schema["properties"]["errors"]["items"] = schema.pop("$defs")[FieldError.__name__]
    return schema


# Declared once for all routes, so that the generated documentation shows the shape.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {"description": "A problem (RFC 9457).", "content": {MEDIA_TYPE: {"schema": _schema()}}}
}


def problem(
    scope: Scope,
    status: int,
    detail: str,
    *,
    kind: str = "",
    errors: Sequence[Mapping[str, Any]] = (),
    details: Mapping[str, Any] | None = None,
    id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response for a problem; ``kind`` defaults to the phrase of the status."""
    title = HTTPStatus(status).phrase
    body: dict[str, Any] = {
        "type": _TYPE_PREFIX + (kind or title.lower().replace(" ", "-")),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": scope["path"],
    }
    body |= {"errors": list(errors)} if errors else {}
    body |= {"details": dict(details)} if details else {}
    body |= {"id": id} if id else {}
    return Response(to_json(body, fallback=str), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def install_problems(app: FastAPI) -> None:
    """Let every error that a route raises, and every refusal of the framework, become a problem."""
    app.add_exception_handler(ToolkitError, _toolkit_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


def classify(error: ToolkitError) -> tuple[int, str] | None:
    """The status and kind of ``error``, or ``None`` for a fault of ours."""
    for known, status, kind in STATUS_OF:
        if isinstance(error, known):
            return status, kind
    return None


async def _toolkit_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ToolkitError)
    classified = classify(error)
    if classified is None:
        return fault(request.scope, error)
    status, kind = classified
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # What an operator must mend may name hosts and paths: the caller gets the id, the log gets the rest.
        return fault(request.scope, error, status=status, kind=kind, details=getattr(error, "details", None))
    return problem(
        request.scope,
        status,
        str(error),
        kind=kind,
        errors=_errors_of(error),
        details=getattr(error, "details", None),
        headers={"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None,
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(request.scope, error.status_code, str(error.detail), headers=error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"loc": ".".join(str(part) for part in found["loc"]), "msg": found["msg"], "type": found["type"]}
        for found in error.errors()
    ]
    return problem(request.scope, 422, f"{len(errors)} parameter(s) do not fit", kind="invalid-input", errors=errors)


def _errors_of(error: ToolkitError) -> list[dict[str, Any]]:
    errors = getattr(error, "errors", None)
    return list(errors) if isinstance(errors, list) else []


def fault(
    scope: Scope,
    error: BaseException,
    *,
    status: int = 500,
    kind: str = "",
    details: Mapping[str, Any] | None = None,
) -> Response:
    """Log ``error`` under the id of the request and tell the caller no more than that id and ``details``."""
    detail = log_fault(scope, error, status=status)
    return problem(scope, status, detail, kind=kind, details=details, id=request_id_of(scope))


def log_fault(scope: Scope, error: BaseException, *, status: int) -> str:
    """Log ``error`` under the id of the request; returns all that the caller is told."""
    id_ = request_id_of(scope)
    logger.error(
        "A request could not be served",
        exc_info=error,
        extra={"event": "api.fault", "request_id": id_, "method": scope.get("method"), "status": status},
    )
    return f"the request could not be served; the server's log has the reason under the id {id_}"


def request_id_of(scope: Scope) -> str:
    """The id that :class:`Frame` gave the request."""
    return str(scope[_REQUEST_ID])


class Frame:
    """The outermost ring: gives each request an id, and ends what nobody foresaw with a 500 that does not talk.

    The id stands in the answer's ``X-Request-Id``, in the audit trail and in the log of a fault.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            scope[_REQUEST_ID] = new_id()
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        scope[_REQUEST_ID] = id_ = new_id()
        has_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", id_.encode())]}
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            response = fault(scope, error)
            if has_started:  # half an answer is out: only breaking the connection can tell the caller
                raise
            await response(scope, receive, send_with_id)
