"""Runs over REST: listed, looked into, cancelled; and the events they wait for."""

from __future__ import annotations

from typing import Any

from tests.api.installation import Caller, Installation, until
from tests.api.test_tasks import TASKS, ended, opened
from toolkit.access import list_audit

RUNS = "/toolkit/v1/runs"


async def start(call: Caller, workflow: str, **input: Any) -> str:
    response = await call("POST", f"/toolkit/v1/workflows/{workflow}/runs", json={"input": input})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def test_runs_are_listed_newest_first_page_by_page(call: Caller) -> None:
    ids = [await start(call, "greet", name=str(n)) for n in range(3)]

    first = (await call("GET", f"{RUNS}?limit=2")).json()
    second = (await call("GET", f"{RUNS}?limit=2&after={first['next']}")).json()

    assert [run["id"] for run in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert "input" not in first["items"][0]


async def test_runs_are_listed_by_workflow_and_state(call: Caller) -> None:
    greeted = await start(call, "greet", name="Ada")
    waiting = await start(call, "wait_for_letter")
    await ended(call, greeted)

    async def suspended() -> Any:
        return (await call("GET", f"{RUNS}?state=suspended")).json()["items"]

    assert [run["id"] for run in await until(suspended)] == [waiting]
    assert [run["id"] for run in (await call("GET", f"{RUNS}?workflow=greet")).json()["items"]] == [greeted]
    assert (await call("GET", f"{RUNS}?state=unheard")).status_code == 422


async def test_the_steps_of_a_run_are_its_journal(call: Caller) -> None:
    task = await opened(call)
    await call("POST", f"{TASKS}/{task['id']}/complete", json={"output": {"approved": True}})
    await ended(call, task["run_id"])

    steps = (await call("GET", f"{RUNS}/{task['run_id']}/steps")).json()["items"]

    assert [(step["name"], step["kind"], step["state"]) for step in steps] == [
        ("approve_payment", "human", "succeeded")
    ]


async def test_a_waiting_run_is_cancelled_with_its_task(call: Caller, installation: Installation) -> None:
    task = await opened(call)

    response = await call("POST", f"{RUNS}/{task['run_id']}/cancel", json={"reason": "duplicate"})
    run = await ended(call, task["run_id"])
    closed = (await call("GET", f"{TASKS}/{task['id']}")).json()
    late = await call("POST", f"{TASKS}/{task['id']}/complete", json={"output": {"approved": True}})
    entries = await list_audit(installation.services.database, object_id=task["run_id"], action="run.cancelled")

    assert response.status_code == 202
    assert run["state"] == "cancelled"
    assert closed["state"] == "cancelled"
    assert late.status_code == 409
    assert [(entry.actor, entry.details) for entry in entries] == [("ada", {"reason": "duplicate"})]


async def test_a_run_that_has_ended_cannot_be_cancelled(call: Caller) -> None:
    run_id = await start(call, "greet", name="Ada")
    await ended(call, run_id)

    response = await call("POST", f"{RUNS}/{run_id}/cancel")

    assert response.status_code == 409
    assert response.json()["details"]["state"] == "succeeded"


async def test_an_unknown_run_is_not_found(call: Caller) -> None:
    assert (await call("GET", f"{RUNS}/unknown")).status_code == 404
    assert (await call("GET", f"{RUNS}/unknown/steps")).status_code == 404
    assert (await call("POST", f"{RUNS}/unknown/cancel")).status_code == 404


async def test_an_event_reaches_the_run_that_waits_for_it(call: Caller) -> None:
    run_id = await start(call, "wait_for_letter")

    response = await call("POST", "/toolkit/v1/events", json={"key": "letter", "payload": {"from": "Ada"}})

    assert response.status_code == 202
    assert (await ended(call, run_id))["result"] == {"from": "Ada"}


async def test_an_event_may_come_before_the_run_waits(call: Caller) -> None:
    await call("POST", "/toolkit/v1/events", json={"key": "letter", "payload": 7})

    run_id = await start(call, "wait_for_letter")

    assert (await ended(call, run_id))["result"] == 7
