"""Runs are started over REST: typed, once a key, with files by id and with every digit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from tests.api.installation import Caller, Installation
from tests.api.test_tasks import ended
from toolkit.access import list_audit

WORKFLOWS = "/toolkit/v1/workflows"


async def test_workflows_are_listed_with_the_schema_of_their_input(call: Caller) -> None:
    listed = {workflow["name"]: workflow for workflow in (await call("GET", WORKFLOWS)).json()["items"]}
    one = (await call("GET", f"{WORKFLOWS}/greet")).json()

    assert set(listed) == {
        "approve",
        "decide",
        "greet",
        "measure",
        "repeat",
        "rules.evaluate_chunk",
        "rules.evaluate_file",
        "wait_for_letter",
    }
    assert one == listed["greet"]
    assert one["description"] == "Say hello."
    assert one["input_schema"]["properties"]["name"]["type"] == "string"


async def test_a_run_is_started_as_the_caller_and_found_at_its_location(call: Caller) -> None:
    started = await call("POST", f"{WORKFLOWS}/greet/runs", json={"input": {"name": "Ada"}})
    run = await ended(call, started.json()["id"])

    assert started.status_code == 201
    assert started.headers["location"] == f"/toolkit/v1/runs/{run['id']}"
    assert run["state"] == "succeeded"
    assert run["result"] == "Hello, Ada"
    assert run["input"] == {"name": "Ada"}
    assert run["started_by"] == "ada"


async def test_a_start_is_on_record(call: Caller, installation: Installation) -> None:
    started = await call("POST", f"{WORKFLOWS}/greet/runs", json={"input": {"name": "Ada"}})

    (entry,) = await list_audit(installation.services.database, object_id=started.json()["id"])

    assert (entry.action, entry.actor, entry.details) == ("run.started", "ada", {"workflow": "greet"})


async def test_one_key_starts_one_run(call: Caller) -> None:
    request: dict[str, Any] = {"json": {"input": {"name": "Ada"}}, "headers": {"idempotency-key": "k1"}}

    answers = await asyncio.gather(*(call("POST", f"{WORKFLOWS}/greet/runs", **request) for _ in range(10)))

    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await call("GET", "/toolkit/v1/runs?workflow=greet")).json()["items"]) == 1


async def test_one_key_with_other_input_is_a_conflict_that_says_so(call: Caller) -> None:
    headers = {"idempotency-key": "k1"}
    await call("POST", f"{WORKFLOWS}/greet/runs", json={"input": {"name": "Ada"}}, headers=headers)

    other = await call("POST", f"{WORKFLOWS}/greet/runs", json={"input": {"name": "Grace"}}, headers=headers)

    assert other.status_code == 409
    assert "k1" in other.json()["detail"]


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_has_a_sensible_length(call: Caller, key: str) -> None:
    request: dict[str, Any] = {"json": {"input": {"name": "Ada"}}, "headers": {"idempotency-key": key}}

    assert (await call("POST", f"{WORKFLOWS}/greet/runs", **request)).status_code == 422


@pytest.mark.parametrize(
    ("input", "loc"),
    [({}, "input.name"), ({"name": 7}, "input.name"), ({"name": "Ada", "age": 3}, "input.age"), (None, "input")],
)
async def test_input_that_does_not_fit_names_the_field_and_starts_nothing(call: Caller, input: Any, loc: str) -> None:
    response = await call("POST", f"{WORKFLOWS}/greet/runs", json={"input": input})

    assert response.status_code == 422
    assert [error["loc"] for error in response.json()["errors"]] == [loc]
    assert (await call("GET", "/toolkit/v1/runs")).json()["items"] == []


async def test_numbers_keep_all_their_digits(call: Caller) -> None:
    numbers = b"[1000000000000000.01, 0.10, 12345678901234567890.123456789]"
    headers = {"content-type": "application/json"}

    started = await call(
        "POST", f"{WORKFLOWS}/repeat/runs", content=b'{"input":{"amounts":' + numbers + b"}}", headers=headers
    )
    run = await ended(call, started.json()["id"])

    assert run["result"] == ["1000000000000000.01", "0.1", "12345678901234567890.123456789"]


async def test_a_file_is_given_by_its_id(call: Caller) -> None:
    uploaded = await call(
        "POST", "/toolkit/v1/files?filename=a.txt", content=b"seven b", headers={"content-type": "text/plain"}
    )
    file_id = uploaded.json()["items"][0]["id"]

    started = await call("POST", f"{WORKFLOWS}/measure/runs", json={"input": {"files": [{"id": file_id}]}})

    assert (await ended(call, started.json()["id"]))["result"] == ["a.txt: 7"]


async def test_an_unknown_file_is_a_field_error(call: Caller) -> None:
    unknown = {"id": "01900000-0000-7000-8000-00000000dead"}

    response = await call("POST", f"{WORKFLOWS}/measure/runs", json={"input": {"files": [unknown]}})

    assert response.status_code == 422
    assert [error["loc"] for error in response.json()["errors"]] == ["input.files.0"]


async def test_an_unknown_workflow_is_not_found(call: Caller) -> None:
    assert (await call("GET", f"{WORKFLOWS}/nothing")).status_code == 404
    assert (await call("POST", f"{WORKFLOWS}/nothing/runs", json={"input": {}})).status_code == 404


async def test_a_location_holds_where_the_api_is_mounted(installation: Installation) -> None:
    parent = FastAPI()
    parent.mount("/process", installation.app)
    call = installation.caller(parent)

    started = await call("POST", f"/process{WORKFLOWS}/greet/runs", json={"input": {"name": "Ada"}})

    assert started.headers["location"] == f"/process/toolkit/v1/runs/{started.json()['id']}"
    assert (await call("GET", started.headers["location"])).status_code == 200
    assert (await call("GET", f"/process{WORKFLOWS}/nothing")).json()["instance"] == f"/process{WORKFLOWS}/nothing"
