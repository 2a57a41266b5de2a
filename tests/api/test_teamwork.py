"""What people do with tasks over REST: claimed, passed on, commented, answered in bulk; and who they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.installation import Caller, Installation
from tests.api.test_tasks import TASKS, ended, opened
from toolkit.access import ApiKey, ApiKeyAuthenticator, new_api_key
from toolkit.api import Services

V1 = "/toolkit/v1"


def as_person(name: str) -> dict[str, str]:
    return {"x-toolkit-user": name}


@pytest.fixture
def staffed(installation: Installation) -> Caller:
    """Grace may answer tasks and no more; Ada manages them."""
    keys = {name: new_api_key() for name in ("ada", "grace", "hedy")}
    may: dict[str, Any] = dict.fromkeys(keys, ("tasks:read", "tasks:complete")) | {"ada": "*"}
    authenticator = ApiKeyAuthenticator(
        [ApiKey(name=name, hash=key.hash, kind="person", permissions=may[name]) for name, key in keys.items()]
    )
    services: Services = installation.services
    from dataclasses import replace

    app = Installation(replace(services, authenticator=authenticator)).app
    caller = Caller(app, headers={"x-api-key": keys["ada"].text})
    caller.people = {name: {"x-api-key": key.text} for name, key in keys.items()}  # type: ignore[attr-defined]
    return caller


async def test_a_task_goes_from_hand_to_hand(staffed: Caller) -> None:
    people: dict[str, dict[str, str]] = staffed.people  # type: ignore[attr-defined]
    task = await opened(staffed)
    path = f"{TASKS}/{task['id']}"

    refused = await staffed("POST", f"{path}/assign", json={"user": "grace"}, headers=people["grace"])
    not_hers = await staffed("POST", f"{path}/complete", json={"output": {"approved": True}}, headers=people["grace"])
    await staffed("POST", f"{path}/assign", json={"user": "grace", "reason": "she knows"})
    claimed = await staffed("POST", f"{path}/claim", headers=people["grace"])
    delegated = await staffed("POST", f"{path}/delegate", json={"to": "hedy"}, headers=people["grace"])
    comment = await staffed("POST", f"{path}/comments", json={"text": "Looks right"}, headers=people["hedy"])
    draft = await staffed("PUT", f"{path}/draft", json={"output": {"limit": 1}}, headers=people["hedy"])
    kept = await staffed("GET", f"{path}/draft", headers=people["hedy"])
    mine = await staffed("GET", f"{TASKS}?mine=true", headers=people["hedy"])
    stale = await staffed(
        "POST",
        f"{path}/complete",
        json={"output": {"approved": True}, "version": task["version"]},
        headers=people["hedy"],
    )
    done = await staffed("POST", f"{path}/complete", json={"output": {"approved": True}}, headers=people["hedy"])
    history = (await staffed("GET", f"{path}/history")).json()["items"]
    verified = (await staffed("GET", f"{path}/verification")).json()

    assert (refused.status_code, not_hers.status_code) == (403, 403)
    assert claimed.json()["state"] == "claimed"
    assert (delegated.json()["owner"], delegated.json()["assigned_to"]) == ("grace", "hedy")
    assert (comment.status_code, draft.status_code) == (201, 204)
    assert kept.json() == {"output": {"limit": 1}}
    assert [each["id"] for each in mine.json()["items"]] == [task["id"]]
    assert stale.status_code == 409
    assert done.json()["completed_by"] == "hedy"
    assert [(each["action"], each["actor"]) for each in history] == [
        ("opened", "ada"),
        ("assigned", "ada"),
        ("claimed", "grace"),
        ("delegated", "grace"),
        ("commented", "hedy"),
        ("completed", "hedy"),
    ]
    assert history[1]["note"] == "she knows"
    assert verified == {"task_id": task["id"], "is_unchanged": True, "changed": [], "answers": 1, "files": []}


async def test_files_are_added_to_a_task(call: Caller) -> None:
    task = await opened(call)
    uploaded = await call(
        "POST", f"{V1}/files?filename=note.txt", content=b"paid", headers={"content-type": "text/plain"}
    )
    file = uploaded.json()["items"][0]

    added = await call("POST", f"{TASKS}/{task['id']}/files", json={"files": [file["id"]]})
    unknown = await call("POST", f"{TASKS}/{task['id']}/files", json={"files": ["nothing"]})

    assert [each["id"] for each in added.json()["files"]] == [file["id"]]
    assert unknown.status_code == 404


async def test_many_are_answered_at_once_each_with_its_own_result(call: Caller) -> None:
    good, bad, done = [await opened(call) for _ in range(3)]
    await call("POST", f"{TASKS}/{done['id']}/complete", json={"output": {"approved": True}})
    items = [
        {"id": good["id"], "output": {"approved": True, "limit": "7"}},
        {"id": bad["id"], "output": {"approved": "perhaps"}},
        {"id": done["id"], "output": {"approved": True}},
        {"id": "unknown", "output": {}},
    ]

    response = await call("POST", f"{TASKS}/bulk/complete", json={"items": items})
    wrong = await call("POST", f"{TASKS}/bulk/complete", json={"items": [{"id": "x", "state": "completed"}]})
    results = response.json()["items"]

    assert [each["status"] for each in results] == [200, 422, 409, 404]
    assert results[1]["errors"][0]["loc"] == "approved"
    assert "was completed by 'ada'" in results[2]["detail"]
    assert {error["loc"] for error in wrong.json()["errors"]} == {"items.0.output", "items.0.state"}
    assert (await ended(call, good["run_id"]))["result"] == "ada: True 7"


async def test_an_answer_that_raises_stops_no_other(call: Caller, caplog: pytest.LogCaptureFixture) -> None:
    first, raising, last = [await opened(call) for _ in range(3)]
    items = [
        {"id": first["id"], "output": {"approved": True}},
        {"id": raising["id"], "output": {"approved": True, "limit": 666}},
        {"id": last["id"], "output": {"approved": True}},
    ]

    response = await call("POST", f"{TASKS}/bulk/complete", json={"items": items})
    results = response.json()["items"]

    assert (response.status_code, [each["status"] for each in results]) == (200, [200, 500, 200])
    assert response.headers["x-request-id"] in results[1]["detail"]
    assert "unlucky" not in response.text
    assert "unlucky" in caplog.text
    assert (await call("GET", f"{TASKS}/{raising['id']}")).json()["state"] == "open"


async def test_an_administrator_who_answers_for_others_says_why(staffed: Caller, installation: Installation) -> None:
    installation.services.tasks.managers_explain = True
    one, other = await opened(staffed), await opened(staffed)
    answer = {"output": {"approved": True}}

    without = await staffed("POST", f"{TASKS}/{one['id']}/complete", json=answer)
    bulk = await staffed("POST", f"{TASKS}/bulk/complete", json={"items": [{"id": other["id"], **answer}]})
    done = await staffed("POST", f"{TASKS}/{one['id']}/complete", json=answer | {"reason": "month end"})
    item = {"id": other["id"], **answer, "reason": "month end"}
    bulk_done = await staffed("POST", f"{TASKS}/bulk/complete", json={"items": [item]})
    last = (await staffed("GET", f"{TASKS}/{one['id']}/history")).json()["items"][-1]

    assert (without.status_code, bulk.json()["items"][0]["status"]) == (403, 403)
    assert "with a reason; give one" in without.json()["detail"]
    assert (done.status_code, bulk_done.json()["items"][0]["status"]) == (200, 200)
    assert (last["note"], last["details"]["capacity"]) == ("month end", "manager")


async def test_bulk_passes_by_no_permission(staffed: Caller) -> None:
    people: dict[str, dict[str, str]] = staffed.people  # type: ignore[attr-defined]
    task = await opened(staffed)
    item = {"id": task["id"], "output": {"approved": True}}

    response = await staffed("POST", f"{TASKS}/bulk/complete", json={"items": [item]}, headers=people["grace"])

    assert [each["status"] for each in response.json()["items"]] == [403]


async def test_many_are_assigned_at_once(call: Caller) -> None:
    tasks = [await opened(call) for _ in range(2)]

    both = {"ids": [*(task["id"] for task in tasks), "unknown"], "group": "finance"}
    response = await call("POST", f"{TASKS}/bulk/assign", json=both)
    unclear = await call("POST", f"{TASKS}/bulk/assign", json={"ids": ["a"], "group": "b", "user": "c"})
    found = (await call("GET", f"{TASKS}?candidate=group:finance")).json()["items"]

    assert [each["status"] for each in response.json()["items"]] == [200, 200, 404]
    assert unclear.status_code == 422
    assert {each["id"] for each in found} == {task["id"] for task in tasks}


async def test_changes_are_streamed_from_where_one_was(call: Caller) -> None:
    task = await opened(call)
    await call("POST", f"{TASKS}/{task['id']}/claim")
    first = await call("GET", f"{TASKS}/changes?seconds=0", headers={"last-event-id": "0"})
    last = [line.removeprefix("id: ") for line in first.text.splitlines() if line.startswith("id: ")][-1]
    await call("POST", f"{TASKS}/{task['id']}/unclaim", json={"reason": "busy"})

    everything = await call("GET", f"{TASKS}/changes?seconds=0", headers={"last-event-id": "0"})
    rest = await call("GET", f"{TASKS}/changes?seconds=0", headers={"last-event-id": last})
    from_now = await call("GET", f"{TASKS}/changes?seconds=0")
    refused = [
        (await call("GET", f"{TASKS}/changes?seconds=0", headers={"last-event-id": text})).status_code
        for text in (task["id"], "9" * 5000, "-1", "")
    ]

    assert "event: " not in from_now.text
    assert refused == [422] * 4
    assert everything.headers["content-type"].startswith("text/event-stream")
    assert everything.text.count("event: task.") == 3
    data = [line.removeprefix("data: ") for line in rest.text.splitlines() if line.startswith("data: ")]
    assert [(json.loads(line)["action"], json.loads(line)["note"]) for line in data] == [("unclaimed", "busy")]


async def test_the_due_date_and_the_priority_are_edited(call: Caller) -> None:
    task = await opened(call)

    edited = await call(
        "PATCH", f"{TASKS}/{task['id']}", json={"due_at": "2031-01-01T12:00:00+01:00", "priority": 9, "reason": "late"}
    )
    naive = await call("PATCH", f"{TASKS}/{task['id']}", json={"due_at": "2031-01-01T12:00:00"})
    counts = (await call("GET", f"{TASKS}/counts")).json()

    assert (edited.json()["due_at"], edited.json()["priority"]) == ("2031-01-01T11:00:00Z", 9)
    assert naive.status_code == 422
    assert counts["open"] == 1


async def test_rework_is_asked_for_and_returned(call: Caller) -> None:
    task = await opened(call)
    path = f"{TASKS}/{task['id']}"

    back = await call("POST", f"{path}/send-back", json={"reason": "no receipt", "to": "hedy"})
    refused = await call("POST", f"{path}/complete", json={"output": {"approved": True}})
    returned = await call(
        "POST", f"{path}/return", json={"suggested_data": {"limit": "3"}, "note": "here"}, headers=as_person("hedy")
    )

    assert (back.json()["state"], back.json()["sent_back_to"]) == ("open", "hedy")
    assert refused.status_code == 409
    assert returned.json()["suggested_data"] == {"limit": "3"}


async def test_the_directory_is_kept_over_rest(call: Caller) -> None:
    ada = await call("PUT", f"{V1}/users/ada", json={"display_name": "Ada Byron", "email": "ada@example.com"})
    wrong = await call("PUT", f"{V1}/users/ada", json={"email": "nonsense"})
    await call("PUT", f"{V1}/users/bob", json={})
    group = await call("PUT", f"{V1}/groups/finance", json={"members": ["ada", "bob", "ada"]})
    absent = {"user": "ada", "substitute": "bob", "first_day": "2031-01-01", "last_day": "2031-01-09"}
    added = await call("POST", f"{V1}/substitutions", json=absent)
    nonsense = await call("POST", f"{V1}/substitutions", json=absent | {"substitute": "ada"})

    assert ada.json()["display_name"] == "Ada Byron"
    assert wrong.status_code == 422
    assert group.json() == {"id": "finance", "display_name": "finance", "members": ["ada", "bob"]}
    assert (await call("GET", f"{V1}/users/ada")).json()["groups"] == ["finance"]
    page = (await call("GET", f"{V1}/users?limit=1")).json()
    assert ([each["id"] for each in page["items"]], page["next"]) == (["ada"], "ada")
    assert [each["id"] for each in (await call("GET", f"{V1}/users?after=ada")).json()["items"]] == ["bob"]
    assert (added.status_code, nonsense.status_code) == (201, 422)
    assert (await call("DELETE", f"{V1}/users/ada")).status_code == 204
    assert (await call("GET", f"{V1}/substitutions")).json() == {"items": []}
    assert (await call("GET", f"{V1}/groups")).json()["items"][0]["members"] == ["bob"]
    for path in ("users/ada", "groups/none", "substitutions/none"):
        assert (await call("DELETE", f"{V1}/{path}")).status_code == 404
