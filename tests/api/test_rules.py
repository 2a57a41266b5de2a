"""Rules over REST: an override is uploaded, activated, rolled back; inputs are tried out."""

from __future__ import annotations

from typing import Any

from tests.api.installation import Caller

RULE = "/toolkit/v1/rules/limit"


def table(threshold: str) -> dict[str, Any]:
    """A decision graph that allows what is below ``threshold``."""
    rules = [
        {"_id": "r1", "i1": f"<= {threshold}", "o1": "true"},
        {"_id": "r2", "i1": "", "o1": "false"},
    ]
    content = {
        "hitPolicy": "first",
        "inputs": [{"id": "i1", "name": "Total", "field": "total"}],
        "outputs": [{"id": "o1", "name": "Allowed", "field": "allowed"}],
        "rules": rules,
    }
    return {
        "nodes": [
            {"id": "in", "type": "inputNode", "name": "in", "position": {"x": 0, "y": 0}},
            {"id": "t", "type": "decisionTableNode", "name": "t", "position": {"x": 1, "y": 0}, "content": content},
            {"id": "out", "type": "outputNode", "name": "out", "position": {"x": 2, "y": 0}},
        ],
        "edges": [
            {"id": "e1", "sourceId": "in", "targetId": "t", "type": "edge"},
            {"id": "e2", "sourceId": "t", "targetId": "out", "type": "edge"},
        ],
    }


async def allowed(call: Caller, total: str, **more: Any) -> bool:
    response = await call("POST", f"{RULE}/evaluate", json={"input": {"total": total}} | more)
    assert response.status_code == 200, response.text
    return bool(response.json()["output"]["allowed"])


async def test_a_rule_shows_its_schemas_and_a_graph_to_begin_with(call: Caller) -> None:
    listed = (await call("GET", "/toolkit/v1/rules")).json()["items"]
    one = (await call("GET", RULE)).json()
    starter = await call("GET", f"{RULE}/starter")

    assert [rule["name"] for rule in listed] == ["limit"]
    assert one["source"] == "python"
    assert "total" in one["input_schema"]["properties"]
    assert starter.json()["nodes"]


async def test_an_override_decides_from_its_activation_to_its_rollback(call: Caller) -> None:
    before = await allowed(call, "50")
    first = await call("POST", f"{RULE}/versions", json={"graph": table("10"), "note": "tighter"})
    second = await call("POST", f"{RULE}/versions", json={"graph": table("60")})
    stored = await allowed(call, "50")
    tried = await allowed(call, "50", version=1)

    assert (first.status_code, first.json()["number"], first.json()["created_by"]) == (201, 1, "ada")
    assert second.json()["number"] == 2
    assert (before, stored, tried) == (True, True, False)

    activated = await call("POST", f"{RULE}/versions/1/activate", json={"reason": "audit"})
    assert activated.json()["active_version"] == 1
    assert not await allowed(call, "50")

    await call("POST", f"{RULE}/versions/2/activate")
    assert await allowed(call, "50")

    assert (await call("POST", f"{RULE}/rollback")).json()["active_version"] == 1
    assert not await allowed(call, "50")

    assert (await call("POST", f"{RULE}/deactivate")).json()["source"] == "python"
    assert await allowed(call, "50")


async def test_equal_content_is_stored_once(call: Caller) -> None:
    first = await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    again = await call("POST", f"{RULE}/versions", json={"graph": table("10")})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["number"] == 1
    assert len((await call("GET", f"{RULE}/versions")).json()["items"]) == 1
    assert (await call("GET", f"{RULE}/versions/1")).json()["graph"]


async def test_a_malformed_graph_is_refused_with_the_reason_and_changes_nothing(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    await call("POST", f"{RULE}/versions/1/activate")
    broken = table("10")
    broken["edges"] = []

    refused = await call("POST", f"{RULE}/versions", json={"graph": broken})

    assert refused.status_code == 422
    assert refused.json()["errors"]
    assert (await call("GET", RULE)).json()["active_version"] == 1


async def test_a_batch_gives_each_input_its_own_outcome(call: Caller) -> None:
    inputs = [{"total": "50"}, {"total": "5000"}, {"total": "much"}]

    items = (await call("POST", f"{RULE}/evaluate-batch", json={"inputs": inputs})).json()["items"]

    assert [item["output"] and item["output"]["allowed"] for item in items] == [True, False, None]
    assert items[2]["error"]["errors"][0]["loc"] == "total"


async def test_a_decision_sees_every_digit(call: Caller) -> None:
    headers = {"content-type": "application/json"}
    over = b'{"input": {"total": 100.0000000000000000001}}'

    response = await call("POST", f"{RULE}/evaluate", content=over, headers=headers)
    batch = await call("POST", f"{RULE}/evaluate-batch", content=b'{"inputs": [' + over[10:-1] + b"]}", headers=headers)

    assert response.json()["output"]["allowed"] is False
    assert batch.json()["items"][0]["output"]["allowed"] is False


async def test_input_that_does_not_fit_names_the_field(call: Caller) -> None:
    response = await call("POST", f"{RULE}/evaluate", json={"input": {"total": "much"}})

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == "input.total"


async def test_unknown_rules_and_versions_are_not_found(call: Caller) -> None:
    assert (await call("GET", "/toolkit/v1/rules/unknown")).status_code == 404
    assert (await call("GET", f"{RULE}/versions/9")).status_code == 404
    assert (await call("POST", f"{RULE}/versions/9/activate")).status_code == 404
    assert (await call("POST", f"{RULE}/rollback")).status_code == 409
