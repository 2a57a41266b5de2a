"""How a running installation meets the web: its ASGI application, its lifespan, and the lifespan of a parent."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from toolkit.access import Permission
from toolkit.api import Services, build_api, requires
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.app.application import Toolkit
    from toolkit.app.installation import Installation

logger = logging.getLogger(__name__)

_OF_A_PARENT = {"router", "app_root_path"}


def web_application(app: Toolkit, installation: Installation) -> ASGIApp:
    """The ASGI application of ``installation``: REST, documentation, and the author's own routes."""
    settings = installation.settings
    api = build_api(
        Services(
            engine=installation.engine,
            files=installation.files,
            rules=installation.rules,
            agents=installation.agents,
            tasks=installation.tasks,
            entities=installation.entities,
            database=installation.database,
            authenticator=installation.authenticator,
            allowed_hosts=settings.server.allowed_hosts,
            allowed_origins=settings.server.allowed_origins,
            title=app.title,
            description=app.description,
            version=app.version,
            request_bytes=settings.limits.request_bytes,
            upload_bytes=settings.limits.upload_bytes,
        ),
        routers=[*app.definitions.routers, _front_door(app.definitions.routers)],
    )

    async def web(scope: Scope, receive: Receive, send: Send) -> None:
        if settings.authenticator == "dev" and not _is_from_here(scope):
            await _refuse(scope, receive, send)
            return
        # Mounted, we would build addresses with the parent's routes; we are an application of our own below its path.
        own = {name: value for name, value in scope.items() if name not in _OF_A_PARENT}
        with installation.current():  # a request has a context of its own
            await api(own, receive, send)

    return web


async def serve_lifespan(app: Toolkit, receive: Receive, send: Send) -> None:
    """Run ``app`` from the server's start to its end, by the ASGI lifespan protocol."""
    await receive()
    try:
        async with app.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except ToolkitError as error:
        # The server logs the message and ends; a traceback would hide the one sentence that helps.
        logger.critical("The application cannot start: %s", error, extra={"event": "app.refused"})
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.shutdown.complete"})


def join_lifespan(parent: FastAPI, app: Toolkit) -> None:
    """Run ``app`` inside the lifespan of ``parent``: begun after what the parent opens, ended before that is closed."""
    own = parent.router.lifespan_context

    @asynccontextmanager
    async def both(parent_app: Any) -> AsyncIterator[Any]:
        async with own(parent_app) as state, app.running():
            yield state

    parent.router.lifespan_context = both


def _front_door(routers: list[APIRouter]) -> APIRouter:
    """``/`` leads to the documentation, unless the application has a page of its own there."""
    router = APIRouter()
    if any(getattr(route, "path", None) == "/" for each in routers for route in each.routes):
        return router

    @router.get("/", include_in_schema=False, dependencies=[requires(Permission.HEALTH_READ)])
    async def open_documentation(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")

    return router


def _is_from_here(scope: Scope) -> bool:
    """Whether a request comes from this machine, as far as an address tells (a test or a socket file has none)."""
    host = (scope.get("client") or ("",))[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    detail = (
        "this application runs as 'dev', which believes every caller, and answers requests from its own machine only; "
        "configure security.authenticator to serve others"
    )
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": detail[:120]})
        return
    body = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": detail, "instance": scope["path"]}
    await JSONResponse(body, 403, media_type="application/problem+json")(scope, receive, send)
