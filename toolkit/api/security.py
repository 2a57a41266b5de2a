"""Who may call which route: declared beside the route, checked before its body is read, and missing nowhere.

A route without a declaration does not start: :func:`check_declarations` refuses to build the application. Nothing is
decided by looking at paths.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from toolkit.access import ANONYMOUS, PUBLIC, Permission, Principal, acting_as, judge_request, require
from toolkit.api.problems import problem, request_id_of
from toolkit.errors import DefinitionError

# The only routes that declare nothing, because the framework makes them: the description of the API itself.
UNDECLARED = ("/docs", "/docs/oauth2-redirect", "/openapi.json")


class Requires:
    """The dependency behind :func:`requires`; the caller acts as its principal until the response is out."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, connection: HTTPConnection) -> AsyncIterator[Principal]:
        principal = await self._identify(connection)
        with acting_as(principal, request_id=request_id_of(connection.scope)):
            yield require(self.permission)

    async def _identify(self, connection: HTTPConnection) -> Principal:
        if self.permission in PUBLIC:  # a probe with a stale key still learns that the server lives
            return ANONYMOUS
        return await connection.app.state.services.authenticator.authenticate(connection.headers) or ANONYMOUS


def requires(permission: Permission) -> Any:
    """Declare, in a route's ``dependencies``, that its caller needs ``permission``."""
    return Depends(Requires(permission))


def permissions_of(route: RouteContext) -> tuple[Permission, ...]:
    """What ``route`` declares, its own and its routers' declarations together."""
    dependencies: Sequence[Dependency] = getattr(route, "dependencies", None) or ()
    return tuple(each.dependency.permission for each in dependencies if isinstance(each.dependency, Requires))


def declarations(app: FastAPI) -> Iterator[tuple[RouteContext, tuple[Permission, ...]]]:
    """Every route of ``app`` with what it declares."""
    for route in iter_route_contexts(app.routes):
        yield route, permissions_of(route)


def check_declarations(app: FastAPI) -> None:
    """Refuse an application in which any route, mount or WebSocket declares no permission.

    Raises:
        DefinitionError: with the routes that do not.
    """
    missing = [
        f"{'/'.join(sorted(route.methods or ())) or type(route.original_route).__name__} {route.path}"
        for route, declared in declarations(app)
        if not declared and (isinstance(route.original_route, APIRoute) or route.path not in UNDECLARED)
    ]
    if missing:
        raise DefinitionError(
            f"these routes declare no permission: {', '.join(missing)}; "
            "give each `dependencies=[requires(Permission...)]`, or Permission.HEALTH_READ to open it to everybody"
        )


class Doorkeeper:
    """Turns away what no route should see: a foreign host name (421), a change that a foreign page asks for (403),
    and an address with a NUL character, which no database can look up (400).
    """

    def __init__(self, app: ASGIApp, *, allowed_hosts: Sequence[str], allowed_origins: Sequence[str]) -> None:
        self.app = app
        self.allowed_hosts, self.allowed_origins = allowed_hosts, allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            return await self.app(scope, receive, send)
        refusal = self._judge(scope)
        if refusal is None:
            return await self.app(scope, receive, send)
        status, reason = refusal
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return await problem(scope, status, reason)(scope, receive, send)

    def _judge(self, scope: Scope) -> tuple[int, str] | None:
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            return 400, "the address holds a NUL character"
        refusal = judge_request(
            scope["method"] if scope["type"] == "http" else "WEBSOCKET",
            Headers(scope=scope),
            allowed_hosts=self.allowed_hosts,
            allowed_origins=self.allowed_origins,
        )
        return None if refusal is None else (refusal.status, refusal.reason)
