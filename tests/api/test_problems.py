"""Whatever goes wrong has one shape, names the field, and tells nothing that is not the caller's."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from tests.api.installation import Caller, Installation
from toolkit import errors
from toolkit.access import Permission
from toolkit.api import Problem, build_api, requires
from toolkit.api.problems import MEDIA_TYPE, classify

router = APIRouter(prefix="/broken", dependencies=[requires(Permission.RUNS_READ)])

SECRET = "postgresql://user:hunter2@db.internal/books"


@router.get("/code")
async def break_code() -> None:
    raise RuntimeError(SECRET)


@router.get("/storage")
async def break_storage() -> None:
    raise errors.StorageError(SECRET)


@router.get("/late")
async def break_late() -> StreamingResponse:
    async def chunks() -> Any:
        yield b"half"
        raise RuntimeError(SECRET)

    return StreamingResponse(chunks())


@pytest.fixture
def broken(installation: Installation) -> Caller:
    return installation.caller(build_api(installation.services, routers=[router]))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidInput("no"), 422),
        (errors.RuleGraphInvalid("limit", []), 422),
        (errors.NotFound("run", "r1"), 404),
        (errors.Conflict("no"), 409),
        (errors.RunStateError("r1", state="failed", wanted="running"), 409),
        (errors.LimitExceeded("no", limit=1, found=2), 413),
        (errors.Unauthenticated("no"), 401),
        (errors.PermissionDenied("no"), 403),
        (errors.StorageError("no"), 503),
        (errors.ConfigurationError("no"), 503),
    ],
)
def test_an_error_has_the_status_of_its_class(error: errors.ToolkitError, status: int) -> None:
    found = classify(error)

    assert found is not None
    assert found[0] == status


def test_an_error_that_no_caller_can_cause_is_a_fault() -> None:
    assert classify(errors.DefinitionError("no")) is None


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/toolkit/v1/workflows/nothing", {}, 404),
        ("DELETE", "/toolkit/v1/runs", {}, 405),
        ("GET", "/toolkit/v1/runs?limit=0", {}, 422),
        ("POST", "/toolkit/v1/events", {"json": {"key": ""}}, 422),
        ("POST", "/toolkit/v1/events", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ("POST", "/toolkit/v1/events", {"json": {"key": "a", "payload": "x" * 2_000_000}}, 413),
        ("POST", "/toolkit/v1/files?filename=a", {"content": b"x" * 3_000_000}, 413),
        ("GET", "/toolkit/v1/runs", {"headers": {"host": "evil.example"}}, 421),
    ],
)
async def test_every_refusal_has_the_shape_of_a_problem(
    call: Caller, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    response = await call(method, path, **options)
    problem = Problem.model_validate(response.json())

    assert response.status_code == problem.status == status
    assert response.headers["content-type"] == MEDIA_TYPE
    assert problem.type.startswith("urn:process-toolkit:problem:")
    assert problem.instance == path.partition("?")[0]
    assert problem.detail


async def test_a_parameter_that_does_not_fit_is_named(call: Caller) -> None:
    response = await call("GET", "/toolkit/v1/runs?limit=0&after=no")

    assert [error["loc"] for error in response.json()["errors"]] == ["query.after", "query.limit"]


async def test_a_method_that_is_not_allowed_says_which_are(call: Caller) -> None:
    assert (await call("DELETE", "/toolkit/v1/runs")).headers["allow"] == "GET"


@pytest.mark.parametrize(("path", "status"), [("/broken/code", 500), ("/broken/storage", 503)])
async def test_a_fault_tells_the_caller_an_id_and_the_log_the_reason(
    broken: Caller, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    with caplog.at_level(logging.ERROR, logger="toolkit.api"):
        response = await broken("GET", path)

    problem = response.json()
    (entry,) = [record for record in caplog.records if record.name.startswith("toolkit.api")]
    assert response.status_code == status
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    assert problem["id"] == response.headers["x-request-id"] == entry.__dict__["request_id"]
    assert entry.exc_info is not None
    assert SECRET in str(entry.exc_info[1])


async def test_an_answer_that_breaks_half_way_breaks_off(broken: Caller) -> None:
    with pytest.raises(RuntimeError):
        await broken("GET", "/broken/late", raise_app_exceptions=True)
