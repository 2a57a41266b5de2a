"""No route without a permission, no foreign host, no foreign page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import Mount

from tests.api.installation import Caller, Installation
from toolkit.access import PUBLIC, Permission
from toolkit.api import build_api, requires
from toolkit.api.security import UNDECLARED, check_declarations, declarations
from toolkit.errors import DefinitionError

# Route by route: who may call it. A new route without a row here is a failed test.
EXPECTED = {
    "GET /toolkit/v1/rules/{name}/tables": Permission.RULES_READ,
    "POST /toolkit/v1/rules/{name}/tables": Permission.RULES_UPLOAD,
    "POST /toolkit/v1/events": Permission.EVENTS_EMIT,
    "GET /toolkit/v1/entities": Permission.ENTITIES_READ,
    "DELETE /toolkit/v1/files/{file_id}": Permission.FILES_DELETE,
    "POST /toolkit/v1/files/{file_id}/release": Permission.FILES_RELEASE,
    "GET /toolkit/v1/files": Permission.FILES_READ,
    "POST /toolkit/v1/files": Permission.FILES_WRITE,
    "GET /toolkit/v1/files/{file_id}": Permission.FILES_READ,
    "GET /toolkit/v1/files/{file_id}/content": Permission.FILES_READ,
    "GET /toolkit/v1/audit": Permission.AUDIT_READ,
    "GET /toolkit/v1/health/live": Permission.HEALTH_READ,
    "GET /toolkit/v1/health/ready": Permission.HEALTH_READ,
    "GET /toolkit/v1/human-tasks": Permission.TASKS_READ,
    "GET /toolkit/v1/human-tasks/{task_id}": Permission.TASKS_READ,
    "POST /toolkit/v1/human-tasks/{task_id}/links": Permission.TASKS_MANAGE,
    "GET /toolkit/v1/human-tasks/{task_id}/links": Permission.TASKS_MANAGE,
    "DELETE /toolkit/v1/human-tasks/{task_id}/links/{link_id}": Permission.TASKS_MANAGE,
    "GET /toolkit/v1/task-links/{token}": Permission.TASK_LINKS_USE,
    "POST /toolkit/v1/task-links/{token}": Permission.TASK_LINKS_USE,
    "GET /toolkit/v1/task-links/{token}/files/{file_id}": Permission.TASK_LINKS_USE,
    "GET /toolkit/v1/human-tasks/counts": Permission.TASKS_READ,
    "GET /toolkit/v1/human-tasks/changes": Permission.TASKS_READ,
    "POST /toolkit/v1/human-tasks/bulk/complete": Permission.TASKS_COMPLETE,
    "POST /toolkit/v1/human-tasks/bulk/assign": Permission.TASKS_MANAGE,
    "PATCH /toolkit/v1/human-tasks/{task_id}": Permission.TASKS_MANAGE,
    "POST /toolkit/v1/human-tasks/{task_id}/assign": Permission.TASKS_MANAGE,
    "POST /toolkit/v1/human-tasks/{task_id}/claim": Permission.TASKS_COMPLETE,
    "POST /toolkit/v1/human-tasks/{task_id}/comments": Permission.TASKS_COMPLETE,
    "POST /toolkit/v1/human-tasks/{task_id}/delegate": Permission.TASKS_COMPLETE,
    "GET /toolkit/v1/human-tasks/{task_id}/draft": Permission.TASKS_COMPLETE,
    "PUT /toolkit/v1/human-tasks/{task_id}/draft": Permission.TASKS_COMPLETE,
    "POST /toolkit/v1/human-tasks/{task_id}/files": Permission.TASKS_COMPLETE,
    "GET /toolkit/v1/human-tasks/{task_id}/history": Permission.TASKS_READ,
    "POST /toolkit/v1/human-tasks/{task_id}/return": Permission.TASKS_COMPLETE,
    "POST /toolkit/v1/human-tasks/{task_id}/send-back": Permission.TASKS_COMPLETE,
    "POST /toolkit/v1/human-tasks/{task_id}/unclaim": Permission.TASKS_COMPLETE,
    "GET /toolkit/v1/human-tasks/{task_id}/verification": Permission.TASKS_READ,
    "GET /toolkit/v1/users": Permission.DIRECTORY_READ,
    "GET /toolkit/v1/users/{user_id}": Permission.DIRECTORY_READ,
    "PUT /toolkit/v1/users/{user_id}": Permission.DIRECTORY_WRITE,
    "DELETE /toolkit/v1/users/{user_id}": Permission.DIRECTORY_WRITE,
    "GET /toolkit/v1/groups": Permission.DIRECTORY_READ,
    "PUT /toolkit/v1/groups/{group_id}": Permission.DIRECTORY_WRITE,
    "DELETE /toolkit/v1/groups/{group_id}": Permission.DIRECTORY_WRITE,
    "GET /toolkit/v1/substitutions": Permission.DIRECTORY_READ,
    "POST /toolkit/v1/substitutions": Permission.DIRECTORY_WRITE,
    "DELETE /toolkit/v1/substitutions/{substitution_id}": Permission.DIRECTORY_WRITE,
    "POST /toolkit/v1/human-tasks/{task_id}/cancel": Permission.TASKS_CANCEL,
    "POST /toolkit/v1/human-tasks/{task_id}/complete": Permission.TASKS_COMPLETE,
    "GET /toolkit/v1/decisions/{decision_id}/explain": Permission.DECISIONS_READ,
    "GET /toolkit/v1/rules/{name}/decisions": Permission.DECISIONS_READ,
    "POST /toolkit/v1/rules/{name}/explain": Permission.RULES_EVALUATE,
    "POST /toolkit/v1/rules/{name}/simulate": Permission.RULES_SIMULATE,
    "GET /toolkit/v1/rules/{name}/cases": Permission.RULES_READ,
    "PUT /toolkit/v1/rules/{name}/cases/{case}": Permission.RULES_UPLOAD,
    "DELETE /toolkit/v1/rules/{name}/cases/{case}": Permission.RULES_UPLOAD,
    "POST /toolkit/v1/rules/{name}/cases/run": Permission.RULES_SIMULATE,
    "GET /toolkit/v1/rules/{name}/versions/{number}/coverage": Permission.DECISIONS_READ,
    "GET /toolkit/v1/rules/{name}/versions/{number}/diff": Permission.RULES_READ,
    "GET /toolkit/v1/rules/{name}/versions/{number}/analysis": Permission.RULES_READ,
    "POST /toolkit/v1/rules/{name}/versions/{number}/backtest": Permission.DECISIONS_READ,
    "POST /toolkit/v1/rules/{name}/versions/{number}/trust": Permission.RULES_TRUST,
    "DELETE /toolkit/v1/rules/{name}/versions/{number}/trust": Permission.RULES_TRUST,
    "GET /toolkit/v1/agents": Permission.AGENTS_READ,
    "GET /toolkit/v1/agents/{name}": Permission.AGENTS_READ,
    "GET /toolkit/v1/agents/{name}/diff": Permission.AGENTS_READ,
    "GET /toolkit/v1/agents/{name}/versions": Permission.AGENTS_READ,
    "GET /toolkit/v1/agents/{name}/versions/{number}": Permission.AGENTS_READ,
    "POST /toolkit/v1/agents/{name}/versions": Permission.AGENTS_CHANGE,
    "POST /toolkit/v1/agents/{name}/versions/{number}/activate": Permission.AGENTS_ACTIVATE,
    "POST /toolkit/v1/agents/{name}/rollback": Permission.AGENTS_ACTIVATE,
    "POST /toolkit/v1/agents/{name}/simulate": Permission.AGENTS_SIMULATE,
    "GET /toolkit/v1/agents/{name}/data-sets/{data_set}/cases": Permission.AGENTS_READ,
    "PUT /toolkit/v1/agents/{name}/data-sets/{data_set}/cases/{case}": Permission.AGENTS_EVALUATE,
    "DELETE /toolkit/v1/agents/{name}/data-sets/{data_set}/cases/{case}": Permission.AGENTS_EVALUATE,
    "POST /toolkit/v1/agents/{name}/data-sets/{data_set}/capture": Permission.AGENTS_EVALUATE,
    "GET /toolkit/v1/agents/{name}/evaluations": Permission.AGENTS_READ,
    "POST /toolkit/v1/agents/{name}/evaluations": Permission.AGENTS_EVALUATE,
    "GET /toolkit/v1/agents/{name}/evaluations/compare": Permission.AGENTS_READ,
    "GET /toolkit/v1/agents/{name}/evaluations/{evaluation_id}": Permission.AGENTS_READ,
    "GET /toolkit/v1/runs/{run_id}/agent-events": Permission.RUNS_READ,
    "POST /toolkit/v1/agents/{name}/deactivate": Permission.AGENTS_ACTIVATE,
    "POST /toolkit/v1/rules/{name}/evaluate-file": Permission.RULES_EVALUATE,
    "GET /toolkit/v1/rules/{name}/shadow": Permission.DECISIONS_READ,
    "PUT /toolkit/v1/rules/{name}/versions/{number}/shadow": Permission.RULES_ACTIVATE,
    "DELETE /toolkit/v1/rules/{name}/shadow": Permission.RULES_ACTIVATE,
    "GET /toolkit/v1/rules": Permission.RULES_READ,
    "GET /toolkit/v1/rules/{name}": Permission.RULES_READ,
    "POST /toolkit/v1/rules/{name}/deactivate": Permission.RULES_ACTIVATE,
    "POST /toolkit/v1/rules/{name}/evaluate": Permission.RULES_EVALUATE,
    "POST /toolkit/v1/rules/{name}/evaluate-batch": Permission.RULES_EVALUATE,
    "POST /toolkit/v1/rules/{name}/rollback": Permission.RULES_ACTIVATE,
    "GET /toolkit/v1/rules/{name}/starter": Permission.RULES_READ,
    "GET /toolkit/v1/rules/{name}/versions": Permission.RULES_READ,
    "POST /toolkit/v1/rules/{name}/versions": Permission.RULES_UPLOAD,
    "GET /toolkit/v1/rules/{name}/versions/{number}": Permission.RULES_READ,
    "POST /toolkit/v1/rules/{name}/versions/{number}/activate": Permission.RULES_ACTIVATE,
    "GET /toolkit/v1/runs": Permission.RUNS_READ,
    "GET /toolkit/v1/runs/{run_id}": Permission.RUNS_READ,
    "POST /toolkit/v1/runs/{run_id}/cancel": Permission.RUNS_CANCEL,
    "POST /toolkit/v1/runs/{run_id}/pause": Permission.RUNS_PAUSE,
    "POST /toolkit/v1/runs/{run_id}/resume": Permission.RUNS_PAUSE,
    "POST /toolkit/v1/runs/{run_id}/release": Permission.RUNS_RELEASE,
    "POST /toolkit/v1/runs/{run_id}/retry": Permission.RUNS_RETRY,
    "POST /toolkit/v1/runs/{run_id}/fork": Permission.RUNS_FORK,
    "POST /toolkit/v1/runs/bulk": Permission.RUNS_BULK,
    "GET /toolkit/v1/runs/{run_id}/steps": Permission.RUNS_READ,
    "GET /toolkit/v1/schedules": Permission.SCHEDULES_READ,
    "GET /toolkit/v1/schedules/{name}": Permission.SCHEDULES_READ,
    "POST /toolkit/v1/schedules/{name}/pause": Permission.SCHEDULES_PAUSE,
    "POST /toolkit/v1/schedules/{name}/resume": Permission.SCHEDULES_PAUSE,
    "POST /toolkit/v1/schedules/{name}/trigger": Permission.SCHEDULES_TRIGGER,
    "GET /toolkit/v1/workflows": Permission.WORKFLOWS_READ,
    "GET /toolkit/v1/workflows/{name}": Permission.WORKFLOWS_READ,
    "POST /toolkit/v1/workflows/{name}/runs": Permission.WORKFLOWS_START,
}


def address(row: str) -> tuple[str, str]:
    method, path = row.split(" ")
    for name in (
        "file_id",
        "task_id",
        "run_id",
        "user_id",
        "group_id",
        "substitution_id",
        "link_id",
        "token",
        "decision_id",
    ):
        path = path.replace(f"{{{name}}}", "01900000-0000-7000-8000-00000000dead")
    path = path.replace("/changes", "/changes?seconds=0")
    return method, path.replace("{name}", "health").replace("{number}", "1")


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: who may call is decided before a row is read."""
    return f"sqlite:///{tmp_path / 'toolkit.db'}"


async def test_every_route_is_in_the_matrix_with_its_permission(installation: Installation) -> None:
    found = {
        f"{method} {route.path}": declared
        for route, declared in declarations(installation.app)
        for method in route.methods or ["*"]
        if route.path not in UNDECLARED
    }

    assert {row: permissions[0] for row, permissions in found.items()} == EXPECTED
    assert all(len(permissions) == 1 for permissions in found.values())


@pytest.mark.parametrize("row", [row for row, permission in EXPECTED.items() if permission not in PUBLIC])
async def test_a_route_wants_a_credential_and_its_own_permission(guarded: Caller, row: str) -> None:
    method, path = address(row)
    others = sorted(set(Permission) - {EXPECTED[row]})

    nobody = await guarded(method, path)
    wrong_key = await guarded(method, path, headers={"authorization": "Bearer tk_wrong"})
    other = await guarded(method, path, headers={"authorization": f"Bearer {guarded.key_of(*others)}"})
    right = await guarded(method, path, headers={"authorization": f"Bearer {guarded.key_of(EXPECTED[row])}"})

    assert (nobody.status_code, wrong_key.status_code, other.status_code) == (401, 401, 403)
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert right.status_code not in {401, 403}
    assert nobody.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/toolkit/v1/health/live", "/docs", "/openapi.json"])
async def test_what_is_public_needs_no_credential(guarded: Caller, path: str) -> None:
    assert (await guarded("GET", path)).status_code == 200
    assert (await guarded("GET", path, headers={"authorization": "Bearer tk_stale"})).status_code == 200


def test_a_route_without_a_permission_stops_the_application(installation: Installation) -> None:
    router = APIRouter(prefix="/mine")

    @router.get("/health")
    async def peek() -> str:
        return "open"

    with pytest.raises(DefinitionError, match=r"GET /mine/health"):
        build_api(installation.services, routers=[router])


def test_a_mount_and_a_web_socket_without_a_permission_stop_the_application() -> None:
    app = FastAPI()
    app.router.routes.append(Mount("/docs", app=FastAPI(), name="mounted"))

    @app.websocket("/stream")
    async def stream(websocket: Any) -> None: ...

    with pytest.raises(DefinitionError, match=r"/stream"):
        check_declarations(app)


async def test_an_authors_route_is_served_under_its_permission(installation: Installation) -> None:
    router = APIRouter(prefix="/mine")

    @router.get("/answer", dependencies=[requires(Permission.ENTITIES_READ)])
    async def answer() -> int:
        return 42

    caller = installation.caller(build_api(installation.services, routers=[router]))

    assert (await caller("GET", "/mine/answer")).json() == 42


async def test_a_foreign_host_name_is_turned_away(call: Caller) -> None:
    response = await call("GET", "/toolkit/v1/workflows", headers={"host": "evil.example"})

    assert response.status_code == 421
    assert response.json()["title"] == "Misdirected Request"


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}]
)
async def test_a_foreign_page_changes_nothing(call: Caller, headers: dict[str, str]) -> None:
    response = await call("POST", "/toolkit/v1/events", json={"key": "a"}, headers=headers)

    assert response.status_code == 403
    assert (await call("GET", "/toolkit/v1/workflows", headers=headers)).status_code == 200


async def test_our_own_page_may(call: Caller) -> None:
    headers = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}

    assert (await call("POST", "/toolkit/v1/events", json={"key": "a"}, headers=headers)).status_code == 202


@pytest.mark.parametrize("path", ["/toolkit/v1/rules/a%00b", "/toolkit/v1/human-tasks?name=a%00b"])
async def test_an_address_with_a_nul_character_is_refused(call: Caller, path: str) -> None:
    assert (await call("GET", path)).status_code == 400


@pytest.mark.parametrize("field", ["started_by", "completed_by", "state", "created_by", "is_admin"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/toolkit/v1/workflows/greet/runs", {"input": {"name": "Ada"}}),
        ("/toolkit/v1/events", {"key": "a"}),
        ("/toolkit/v1/human-tasks/x/complete", {"output": True}),
        ("/toolkit/v1/human-tasks/x/cancel", {}),
        ("/toolkit/v1/runs/x/cancel", {}),
        ("/toolkit/v1/rules/limit/versions", {"graph": {}}),
        ("/toolkit/v1/rules/limit/evaluate", {"input": {}}),
    ],
)
async def test_a_body_slips_in_no_actor_and_no_state(call: Caller, path: str, body: dict[str, Any], field: str) -> None:
    response = await call("POST", path, json=body | {field: "mallory"})

    assert response.status_code == 422
    assert [error["loc"] for error in response.json()["errors"]] == [field]


async def test_a_page_of_an_allowed_origin_may_call_and_read_and_no_other(installation: Installation) -> None:
    portal, other = "https://portal.example.com", "https://other.example.com"
    services = replace(installation.services, allowed_origins=[portal])
    call = installation.caller(build_api(services))
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}

    before = await call("OPTIONS", "/toolkit/v1/events", headers={"origin": portal, **asks})
    sent = await call("POST", "/toolkit/v1/events", headers={"origin": portal}, json={"key": "go"})
    found = await call("GET", "/toolkit/v1/runs/nope", headers={"origin": portal})

    assert before.status_code == 200
    assert "POST" in before.headers["access-control-allow-methods"]
    assert sent.status_code < 300
    assert found.status_code == 404  # an error is read as well
    assert {answer.headers["access-control-allow-origin"] for answer in (before, sent, found)} == {portal}
    refused = await call("OPTIONS", "/toolkit/v1/events", headers={"origin": other, **asks})
    assert "access-control-allow-origin" not in refused.headers
    sent = await call("POST", "/toolkit/v1/events", headers={"origin": other}, json={"key": "go"})
    assert sent.status_code == 403


async def test_without_allowed_origins_nothing_is_shared(call: Caller) -> None:
    answer = await call("GET", "/toolkit/v1/runs", headers={"origin": "https://portal.example.com"})

    assert not [name for name in answer.headers if name.startswith("access-control")]
