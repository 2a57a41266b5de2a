"""A person answers over REST: validated first, once, in the name of the caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.installation import Caller, Installation, until
from toolkit.access import list_audit

TASKS = "/toolkit/v1/human-tasks"


async def opened(call: Caller, **input: Any) -> dict[str, Any]:
    """Start a run that asks, and return the task it opens."""
    started = await call("POST", "/toolkit/v1/workflows/approve/runs", json={"input": {"total": "12.50"} | input})
    assert started.status_code == 201, started.text
    run_id = started.json()["id"]

    async def found() -> Any:
        return (await call("GET", f"{TASKS}?run_id={run_id}")).json()["items"]

    (task,) = await until(found)
    return dict(task)


async def ended(call: Caller, run_id: str) -> dict[str, Any]:
    async def found() -> Any:
        run = (await call("GET", f"/toolkit/v1/runs/{run_id}")).json()
        return run if run["state"] not in {"pending", "running", "suspended"} else None

    return dict(await until(found))


async def test_a_task_is_shown_with_all_that_a_form_needs(call: Caller) -> None:
    task = await opened(call)

    detail = (await call("GET", f"{TASKS}/{task['id']}")).json()

    assert detail["title"] == "Approve the payment"
    assert detail["input"] == {"total": "12.50"}
    assert detail["suggested_data"] == {"approved": True}
    assert detail["output_schema"]["required"] == ["approved"]
    assert "input" not in task


async def test_the_next_page_of_an_inbox_begins_where_the_one_before_ended(call: Caller) -> None:
    opened_now = [(await opened(call))["id"] for _ in range(3)]
    inbox = f"{TASKS}?candidate=user:finance&limit=1"

    first = (await call("GET", inbox)).json()
    await call("PATCH", f"{TASKS}/{first['items'][0]['id']}", json={"due_at": "2099-01-01T00:00:00Z"})
    second = (await call("GET", inbox, params={"candidate": "user:finance", "limit": 1, "after": first["next"]})).json()
    refused = await call("GET", TASKS, params={"mine": "true", "after": opened_now[0]})

    assert [page["items"][0]["id"] for page in (first, second)] == opened_now[:2]
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, "query.after")


async def test_an_answer_ends_the_run_with_who_gave_it(call: Caller, installation: Installation) -> None:
    task = await opened(call)

    response = await call(
        "POST",
        f"{TASKS}/{task['id']}/complete",
        json={"output": {"approved": True, "limit": "7.10"}},
        headers={"x-toolkit-user": "grace"},
    )
    run = await ended(call, task["run_id"])
    audit = await list_audit(installation.services.database, object_id=task["id"])

    assert response.status_code == 200
    assert response.json()["state"] == "completed"
    assert response.json()["completed_by"] == "grace"
    assert run["state"] == "succeeded"
    assert run["result"] == "grace: True 7.10"
    assert [(entry.action, entry.actor) for entry in audit] == [("task.completed", "grace")]


@pytest.mark.parametrize(
    ("output", "loc"),
    [
        ({}, "output.approved"),
        ({"approved": "perhaps"}, "output.approved"),
        ({"approved": True, "limit": "a lot"}, "output.limit"),
        (None, "output"),
        ([], "output"),
        ("yes", "output"),
    ],
)
async def test_an_answer_that_does_not_fit_leaves_the_task_open(call: Caller, output: Any, loc: str) -> None:
    task = await opened(call)

    refused = await call("POST", f"{TASKS}/{task['id']}/complete", json={"output": output})
    still = (await call("GET", f"{TASKS}/{task['id']}")).json()
    accepted = await call("POST", f"{TASKS}/{task['id']}/complete", json={"output": {"approved": False}})

    assert refused.status_code == 422
    assert [error["loc"] for error in refused.json()["errors"]] == [loc]
    assert still["state"] == "open"
    assert accepted.status_code == 200


async def test_the_second_answer_hears_who_was_first(call: Caller) -> None:
    task = await opened(call)
    path = f"{TASKS}/{task['id']}/complete"

    answers = await asyncio.gather(
        *(
            call("POST", path, json={"output": {"approved": True}}, headers={"x-toolkit-user": f"person-{n}"})
            for n in range(8)
        )
    )

    (first,) = [answer for answer in answers if answer.status_code == 200]
    late = [answer.json() for answer in answers if answer.status_code == 409]
    winner = first.json()["completed_by"]
    assert len(late) == 7
    assert {answer["details"]["ended_by"] for answer in late} == {winner}
    assert all(winner in answer["detail"] and answer["details"]["ended_at"] for answer in late)


async def test_a_cancelled_task_tells_its_run_why(call: Caller) -> None:
    task = await opened(call)

    cancelled = await call("POST", f"{TASKS}/{task['id']}/cancel", json={"reason": "paid by card"})
    late = await call("POST", f"{TASKS}/{task['id']}/complete", json={"output": {"approved": True}})
    run = await ended(call, task["run_id"])

    assert cancelled.json()["state"] == "cancelled"
    assert cancelled.json()["end_reason"] == "paid by card"
    assert late.status_code == 409
    assert "was cancelled by 'ada'" in late.json()["detail"]
    assert run["result"] == "cancelled by ada: paid by card"


async def test_tasks_are_listed_by_state_and_person_page_by_page(call: Caller) -> None:
    tasks = [await opened(call) for _ in range(3)]
    await call("POST", f"{TASKS}/{tasks[0]['id']}/complete", json={"output": {"approved": True}})

    open_now = (await call("GET", f"{TASKS}?state=open")).json()["items"]
    first = (await call("GET", f"{TASKS}?limit=2&assigned_to=finance&name=approve_payment")).json()
    second = (await call("GET", f"{TASKS}?limit=2&assigned_to=finance&after={first['next']}")).json()

    assert [task["id"] for task in open_now] == [tasks[2]["id"], tasks[1]["id"]]
    assert [task["id"] for task in first["items"] + second["items"]] == [task["id"] for task in reversed(tasks)]
    assert (await call("GET", f"{TASKS}?assigned_to=nobody")).json() == {"items": [], "next": None}
    assert (await call("GET", f"{TASKS}?state=unheard")).status_code == 422


async def test_an_unknown_task_is_not_found(call: Caller) -> None:
    assert (await call("GET", f"{TASKS}/unknown")).status_code == 404
    assert (await call("POST", f"{TASKS}/unknown/complete", json={"output": True})).status_code == 404
    assert (await call("POST", f"{TASKS}/unknown/cancel")).status_code == 404
