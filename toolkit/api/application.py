"""The REST application: every room's routes, one shape of errors, no route without a permission."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from toolkit.api import (
    agent_evaluations,
    agent_events,
    agents,
    audit_trail,
    decisions,
    directory,
    events,
    files,
    health,
    links,
    rule_cases,
    rule_reviews,
    rule_tables,
    rules,
    run_changes,
    runs,
    schedules,
    tasks,
    workflows,
)
from toolkit.api.entities import entities_router, plain
from toolkit.api.problems import RESPONSES, Frame, install_problems
from toolkit.api.security import Doorkeeper, check_declarations
from toolkit.api.services import Services

PREFIX = "/toolkit/v1"

_ROOMS = (
    files.router,
    workflows.router,
    runs.router,
    run_changes.router,
    schedules.router,
    tasks.router,
    links.router,
    directory.router,
    rules.router,
    agents.router,
    agent_events.router,
    agent_evaluations.router,
    rule_cases.router,
    rule_reviews.router,
    rule_tables.router,
    decisions.router,
    events.router,
    audit_trail.router,
    health.router,
)


def build_api(services: Services, *, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application for one installation, under ``/toolkit/v1``, with ``/docs``; it has no lifespan of its own.

    ``routers`` are an author's own and are taken in where they say; their routes declare permissions like ours.

    Raises:
        DefinitionError: a route declares no permission.
    """
    app = FastAPI(
        title=services.title,
        description=services.description,
        version=services.version,
        redoc_url=None,
        responses=RESPONSES,
        generate_unique_id_function=_operation_id,
        middleware=[
            Middleware(Frame),
            Middleware(Doorkeeper, allowed_hosts=services.allowed_hosts, allowed_origins=services.allowed_origins),
            *_sharing(services.allowed_origins),
        ],
    )
    app.state.services = services
    install_problems(app)
    for router in _ROOMS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(entities_router(services.entities, replaced=_replaced(routers)), prefix=PREFIX)
    for router in routers:
        app.include_router(router)
    check_declarations(app)
    return app


def _sharing(origins: Sequence[str]) -> list[Middleware]:
    """Lets the pages of other sites read what we answer them: a browser asks us before it does (CORS)."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["*"],
            allow_headers=["*"],
            allow_credentials=True,
            expose_headers=["ETag", "Location", "Retry-After", "Content-Disposition"],
        )
    ]


def _replaced(routers: Sequence[APIRouter]) -> set[tuple[str, str]]:
    """Which of our routes an author serves in a way of their own, as method and path below our prefix."""
    own = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    return {
        (method, plain(route.path.removeprefix(PREFIX)))
        for route in own
        for method in route.methods or ()
        if route.path.startswith(PREFIX)
    }


def _operation_id(route: APIRoute) -> str:
    """Ours are written beside each route; an author's route is known by the name of its function."""
    return route.operation_id or route.name
