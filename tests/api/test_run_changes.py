"""What operators do over REST: pause, resume, release, retry, fork, and each of it to many; and how they find runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.installation import Caller, Installation, until
from tests.api.test_runs import RUNS, start
from tests.api.test_tasks import ended
from toolkit.access import Permission, list_audit
from toolkit.workflows import step, workflow

WORKFLOWS = "/toolkit/v1/workflows"
EVENTS = "/toolkit/v1/events"
broken: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_broken(installation: Installation) -> None:
    broken.clear()
    installation.services.engine.register(collect)


@step()
async def fetch(name: str) -> str:
    return f"fetched {name}"


@step()
async def deliver(what: str) -> str:
    if "van" in broken:
        raise ConnectionError("the van is broken")
    return f"delivered {what}"


@workflow()
async def collect(name: str, amount: float = 0) -> list[Any]:
    return [await deliver(await fetch(name)), amount]


async def state(call: Caller, run_id: str) -> str:
    return str((await call("GET", f"{RUNS}/{run_id}")).json()["state"])


async def suspended(call: Caller) -> str:
    run_id = await start(call, "wait_for_letter")

    async def is_suspended() -> bool:
        return await state(call, run_id) == "suspended"

    await until(is_suspended)
    return run_id


async def actions(installation: Installation, run_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    entries = await list_audit(installation.services.database, object_id=run_id)
    return [(entry.action, entry.actor, entry.details) for entry in entries if entry.action != "run.started"]


async def test_a_run_is_paused_and_resumed(call: Caller, installation: Installation) -> None:
    run_id = await suspended(call)

    paused = await call("POST", f"{RUNS}/{run_id}/pause", json={"reason": "stocktaking"})
    again = await call("POST", f"{RUNS}/{run_id}/pause")
    shown = (await call("GET", f"{RUNS}?paused=true")).json()["items"]
    await call("POST", EVENTS, json={"key": "letter", "payload": 1})
    resumed = await call("POST", f"{RUNS}/{run_id}/resume")

    assert (paused.status_code, paused.json()["is_changed"]) == (200, True)
    assert (again.status_code, again.json()["is_changed"]) == (200, False)
    assert [(run["id"], run["paused_by"]) for run in shown] == [(run_id, "ada")]
    assert resumed.json()["paused_at"] is None
    assert (await ended(call, run_id))["result"] == 1
    assert await actions(installation, run_id) == [
        ("run.resumed", "ada", {}),
        ("run.paused", "ada", {"reason": "stocktaking"}),
    ]


async def test_a_failed_run_is_retried_once(call: Caller, installation: Installation) -> None:
    broken.add("van")
    run_id = await start(call, "collect", name="post")
    assert (await ended(call, run_id))["error_summary"] == "ConnectionError: the van is broken"
    broken.clear()

    first = await call("POST", f"{RUNS}/{run_id}/retry")
    second = await call("POST", f"{RUNS}/{run_id}/retry")

    assert (first.status_code, second.status_code) == (201, 200)
    made = first.json()["id"]
    assert second.json()["id"] == made
    assert first.headers["location"] == f"{RUNS}/{made}"
    run = await ended(call, made)
    assert run["result"] == ["delivered fetched post", 0.0]
    assert (run["forked_from"], run["forked_at_step"]) == (run_id, "deliver/0")
    assert await actions(installation, run_id) == [("run.retried", "ada", {"made": made})]
    refused = await call("POST", f"{RUNS}/{made}/retry")
    assert refused.status_code == 409
    assert "fork it" in refused.json()["detail"]


async def test_a_run_is_forked_with_other_input_and_a_given_result(call: Caller, installation: Installation) -> None:
    run_id = await start(call, "collect", name="post", amount=1)
    await ended(call, run_id)

    body = {
        "from_step": "deliver/0",
        "input": {"amount": 2.5},
        "results": {"deliver/0": "by hand"},
        "reason": "no van",
    }
    made = [await call("POST", f"{RUNS}/{run_id}/fork", json=body, headers={"idempotency-key": "a"}) for _ in range(2)]

    assert [each.status_code for each in made] == [201, 200]
    run = await ended(call, made[0].json()["id"])
    assert run["result"] == ["by hand", 2.5]
    ((action, actor, details),) = await actions(installation, run_id)
    assert (action, actor) == ("run.forked", "ada")
    assert details == {
        "made": run["id"],
        "reason": "no van",
        "from_step": "deliver/0",
        "results": ["deliver/0"],
        "has_other_input": True,
    }


async def test_one_key_makes_one_fork_and_nothing_else(call: Caller) -> None:
    first, second = [await start(call, "collect", name="post") for _ in range(2)]
    headers = {"idempotency-key": "a"}
    made = await call("POST", f"{RUNS}/{first}/fork", headers=headers)

    other = await call("POST", f"{RUNS}/{second}/fork", json={"input": {"amount": 2}}, headers=headers)
    started = await call("POST", f"{WORKFLOWS}/collect/runs", json={"input": {"name": "post"}}, headers=headers)

    assert [each.status_code for each in (made, other, started)] == [201, 409, 409]
    assert other.json()["details"]["run_id"] == started.json()["details"]["run_id"] == made.json()["id"]


async def test_a_key_like_those_of_the_toolkit_is_refused(call: Caller) -> None:
    run_id = await start(call, "collect", name="post")
    headers = {"idempotency-key": f"retry:{run_id}"}

    for path, body in (
        (f"{RUNS}/{run_id}/fork", {}),
        (f"{WORKFLOWS}/collect/runs", {"input": {"name": "post"}}),
        (f"{RUNS}/bulk", {"action": "cancel", "dry_run": False}),
    ):
        response = await call("POST", path, json=body, headers=headers)
        assert (response.status_code, response.json()["errors"][0]["loc"]) == (422, "header.idempotency-key")


async def test_a_fork_that_cannot_be_made_says_why(call: Caller) -> None:
    run_id = await start(call, "collect", name="post")
    await ended(call, run_id)

    unknown = await call("POST", f"{RUNS}/{run_id}/fork", json={"from_step": "nowhere/0"})
    unfit = await call("POST", f"{RUNS}/{run_id}/fork", json={"input": {"amount": "much"}})

    assert unknown.status_code == 404
    assert "nowhere/0" in unknown.json()["detail"]
    assert unfit.status_code == 422
    assert unfit.json()["errors"][0]["loc"] == "input.amount"


async def test_a_run_that_is_not_parked_stays_as_it_is_when_it_is_released(call: Caller) -> None:
    run_id = await suspended(call)

    response = await call("POST", f"{RUNS}/{run_id}/release")

    assert (response.status_code, response.json()["is_changed"]) == (200, False)
    assert await state(call, run_id) == "suspended"


async def test_many_runs_are_counted_first_and_then_changed(call: Caller, installation: Installation) -> None:
    ids = [await suspended(call) for _ in range(3)]
    order = {"action": "cancel", "filter": {"workflow": ["wait_for_letter"]}, "reason": "closed"}

    counted = await call("POST", f"{RUNS}/bulk", json=order)
    too_many = await call("POST", f"{RUNS}/bulk", json={**order, "dry_run": False, "at_most": 2})
    before = [await state(call, run_id) for run_id in ids]
    begun = await call("POST", f"{RUNS}/bulk", json={**order, "dry_run": False, "at_most": 3})
    job = await ended(call, begun.json()["run_id"])

    assert (counted.status_code, counted.json()) == (200, {"count": 3, "run_id": None})
    assert too_many.status_code == 409
    assert before == ["suspended"] * 3
    assert (begun.status_code, begun.json()["count"]) == (202, 3)
    assert job["result"] == {"changed": 3, "unchanged": 0, "refused": 0, "refusals": []}
    assert job["progress"]["done"] == 3
    assert [await state(call, run_id) for run_id in ids] == ["cancelled"] * 3
    for run_id in ids:
        assert await actions(installation, run_id) == [
            ("run.cancelled", "ada", {"job": job["id"], "changed": True, "reason": "closed"})
        ]
    ((action, actor, details),) = await actions(installation, job["id"])
    assert (action, actor, details["count"]) == ("runs.bulk_started", "ada", 3)
    assert details["filter"] == {"workflow": ["wait_for_letter"]}


async def test_a_filter_too_long_for_the_audit_trail_is_shortened_there(
    call: Caller, installation: Installation
) -> None:
    run_id = await suspended(call)
    wanted = [run_id, *(f"{at:08d}-0000-7000-8000-000000000000" for at in range(400))]
    order = {"action": "cancel", "dry_run": False, "filter": {"id": wanted, "tag": []}, "reason": "closed"}

    begun = await call("POST", f"{RUNS}/bulk", json=order)
    job = await ended(call, begun.json()["run_id"])

    assert (begun.status_code, job["result"]["changed"]) == (202, 1)
    ((action, _, details),) = await actions(installation, job["id"])
    assert (action, details["reason"]) == ("runs.bulk_started", "closed")
    assert (details["filter"]["id"]["count"], details["filter"]["id"]["first"][0]) == (401, run_id)


async def test_who_may_not_do_it_to_one_run_may_not_do_it_to_many(guarded: Caller) -> None:
    key = guarded.key_of(Permission.RUNS_BULK)

    response = await guarded(
        "POST", f"{RUNS}/bulk", json={"action": "cancel"}, headers={"authorization": f"Bearer {key}"}
    )

    assert response.status_code == 403
    assert "runs:cancel" in response.json()["detail"]


async def test_what_belongs_to_a_fork_is_refused_elsewhere(call: Caller) -> None:
    response = await call("POST", f"{RUNS}/bulk", json={"action": "cancel", "from_step": "deliver/0"})

    assert response.status_code == 422


async def test_nobody_starts_a_bulk_change_as_if_it_were_a_workflow(call: Caller) -> None:
    names = [each["name"] for each in (await call("GET", WORKFLOWS)).json()["items"]]

    assert "toolkit.change_runs" not in names
    assert (await call("POST", f"{WORKFLOWS}/toolkit.change_runs/runs", json={"input": {}})).status_code == 404


async def test_runs_are_found_by_what_they_were_given(call: Caller) -> None:
    given = {
        "input": {"name": "post"},
        "tags": ["north"],
        "attributes": {"customer": "ACME", "total": 1000.5, "due": {"time": "2026-03-01T12:00:00Z"}},
    }
    started = await call("POST", f"{WORKFLOWS}/collect/runs", json=given)
    run_id = started.json()["id"]
    other = await start(call, "collect", name="other")
    await ended(call, other)

    async def found(query: str) -> list[str]:
        response = await call("GET", f"{RUNS}?{query}")
        assert response.status_code == 200, response.text
        return [run["id"] for run in response.json()["items"]]

    assert await found("tag=north") == [run_id]
    assert await found("attribute=customer%3DACME&attribute=total%3E%3D1000") == [run_id]
    assert await found("attribute=due%3C2026-03-02T00:00:00Z") == [run_id]
    assert await found("workflow=collect&workflow=greet&state=succeeded&state=failed&tag=south") == []
    assert await found("created_from=2026-01-01T00:00:00Z&created_until=2026-01-02T00:00:00Z") == []
    (run,) = (await call("GET", f"{RUNS}?tag=north")).json()["items"]
    assert run["tags"] == ["north"]
    assert run["attributes"] == {
        "customer": "ACME",
        "due": "2026-03-01T12:00:00Z",
        "total": "1000.5",
    }


@pytest.mark.parametrize(
    "query", ["attribute=total", "attribute=total%3E%3Dmany", "created_from=2026-01-01T00:00:00", "state=unheard"]
)
async def test_a_filter_that_cannot_be_read_is_refused(call: Caller, query: str) -> None:
    response = await call("GET", f"{RUNS}?{query}")

    assert response.status_code == 422
    assert response.json()["errors"]


@pytest.mark.parametrize("attributes", [{"total": True}, {"due": {"time": "soon"}}, {"list": [1]}, {"a b": "c"}])
async def test_an_attribute_that_no_run_could_be_found_by_is_refused(call: Caller, attributes: dict[str, Any]) -> None:
    body = {"input": {"name": "post"}, "attributes": attributes}

    response = await call("POST", f"{WORKFLOWS}/collect/runs", json=body)

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"].startswith("attributes")


async def test_the_journal_comes_in_pages(call: Caller) -> None:
    run_id = await start(call, "collect", name="post")
    await ended(call, run_id)

    first = (await call("GET", f"{RUNS}/{run_id}/steps?limit=1")).json()
    second = (await call("GET", f"{RUNS}/{run_id}/steps", params={"limit": 1, "after": first["next"]})).json()

    assert [step["path"] for step in first["items"]] == ["fetch/0"]
    assert first["next"] == "fetch/0"
    assert [step["path"] for step in second["items"]] == ["deliver/0"]
    assert second["next"] is None


async def test_an_event_with_a_key_is_emitted_once(call: Caller, installation: Installation) -> None:
    body = {"key": "letter", "payload": 7}

    sent = [await call("POST", EVENTS, json=body, headers={"idempotency-key": "a"}) for _ in range(3)]
    other = await call("POST", EVENTS, json={**body, "payload": 8}, headers={"idempotency-key": "a"})

    assert [each.status_code for each in sent] == [202] * 3
    assert other.status_code == 409
    assert len(await list_audit(installation.services.database, action="event.emitted")) == 1


@pytest.mark.parametrize("key", ["task:0198", "run-ended:0198"])
async def test_an_event_with_a_key_of_the_toolkits_own_is_refused(
    call: Caller, installation: Installation, key: str
) -> None:
    refused = await call("POST", EVENTS, json={"key": key, "payload": {"outcome": "completed"}})

    assert refused.status_code == 422
    assert "choose another key" in refused.json()["detail"]
    assert [error["loc"] for error in refused.json()["errors"]] == ["key"]
    assert not await list_audit(installation.services.database, action="event.emitted")
