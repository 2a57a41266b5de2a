"""Rules over REST: an override is uploaded, activated, rolled back; inputs are tried out."""

from __future__ import annotations

from typing import Any

from tests.api.installation import Caller, until

RULE = "/toolkit/v1/rules/limit"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


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


async def test_an_input_is_decided_and_explained(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    told = await call("POST", f"{RULE}/explain", json={"input": {"total": "5"}, "version": 1})
    wrong = await call("POST", f"{RULE}/explain", json={"input": {"total": "much"}})

    assert told.json()["rows"] == ["t/r1"]
    assert "row 1 matched: total at most 10" in told.json()["text"]
    assert wrong.json()["errors"][0]["loc"] == "input.total"


async def test_a_graph_that_is_not_stored_is_tried(call: Caller) -> None:
    told = await call("POST", f"{RULE}/simulate", json={"graph": table("10"), "input": {"total": "5"}})
    broken = await call("POST", f"{RULE}/simulate", json={"graph": {}, "input": {"total": "5"}})

    assert told.json()["output"] == {"allowed": True}
    assert told.json()["nodes"][0]["kind"] == "table"
    assert broken.status_code == 422
    assert (await call("GET", f"{RULE}/versions")).json()["items"] == []


async def test_what_was_decided_in_runs_is_listed_and_explained(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    await call("POST", f"{RULE}/versions/1/activate")
    for total in ("5", "50", "500"):
        await result_of(call, "decide", {"total": total})

    page = (await call("GET", f"{RULE}/decisions", params={"limit": 2})).json()
    rest = (await call("GET", f"{RULE}/decisions", params={"after": page["next"]})).json()
    told = (await call("GET", f"/toolkit/v1/decisions/{rest['items'][0]['id']}/explain")).json()

    assert [one["rows"] for one in [*page["items"], *rest["items"]]] == [{"t/r2": 1}, {"t/r2": 1}, {"t/r1": 1}]
    assert (told["input"], told["output"], told["agrees"]) == ({"total": "5"}, {"allowed": True}, True)
    assert "row 1 matched: total at most 10" in told["text"]
    assert (await call("GET", "/toolkit/v1/decisions/nothing/explain")).status_code == 404


async def result_of(call: Caller, workflow: str, input: dict[str, Any]) -> Any:
    """Start a run and wait for its result."""
    started = await call("POST", f"/toolkit/v1/workflows/{workflow}/runs", json={"input": input})
    assert started.status_code == 201, started.text

    async def ended() -> Any:
        run = (await call("GET", f"/toolkit/v1/runs/{started.json()['id']}")).json()
        return run if run["state"] in {"succeeded", "failed"} else None

    return await until(ended)


async def test_stored_cases_stand_before_an_activation(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    case = {"input": {"total": "50"}, "expected": {"allowed": True}, "note": "from the handbook"}

    stored = await call("PUT", f"{RULE}/cases/fifty", json=case)
    listed = (await call("GET", f"{RULE}/cases")).json()["items"]
    ran = (await call("POST", f"{RULE}/cases/run", json={"version": 1})).json()
    by_function = (await call("POST", f"{RULE}/cases/run")).json()
    refused = await call("POST", f"{RULE}/versions/1/activate")
    forced = await call("POST", f"{RULE}/versions/1/activate", json={"force": True, "reason": "new handbook"})

    assert (stored.status_code, [one["name"] for one in listed]) == (200, ["fifty"])
    assert (ran["failed"], ran["coverage"]["never_hit"], by_function["passed"]) == (1, ["t/r1"], 1)
    assert (refused.status_code, refused.json()["details"]["failing"]) == (409, ["fifty"])
    assert forced.json()["active_version"] == 1
    assert (await call("GET", f"{RULE}/versions/1/coverage")).json()["percent"] == 0
    assert (await call("DELETE", f"{RULE}/cases/fifty")).status_code == 204
    assert (await call("PUT", f"{RULE}/cases/fifty", json={"input": {}, "expected": {}})).status_code == 422


async def test_a_version_is_reviewed_before_it_decides(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    await call("POST", f"{RULE}/versions", json={"graph": table("60")})
    await result_of(call, "decide", {"total": "50"})
    await result_of(call, "decide", {"total": "5000"})

    changes = (await call("GET", f"{RULE}/versions/2/diff", params={"against": 1})).json()["items"]
    analysed = (await call("GET", f"{RULE}/versions/1/analysis")).json()["tables"]
    tested = (await call("POST", f"{RULE}/versions/1/backtest")).json()

    assert [change["text"] for change in changes] == ["t, row 1, Total: was `<= 10`, is `<= 60`"]
    assert (analysed[0]["gaps"], analysed[0]["dead_rows"]) == ([], [])
    assert (tested["compared"], tested["changed"], tested["decisions"][0]["input"]) == (2, 1, {"total": "50"})
    assert (await call("GET", f"{RULE}/versions/2/diff")).status_code == 422
    assert (await call("GET", f"{RULE}/versions/9/analysis")).status_code == 404


async def test_a_file_of_inputs_is_decided_as_a_job(call: Caller) -> None:
    upload = {"files": ("totals.csv", b"total\n50\n5000\nmuch\n", "text/csv")}
    file_id = (await call("POST", "/toolkit/v1/files", files=upload)).json()["items"][0]["id"]

    started = await call("POST", f"{RULE}/evaluate-file", json={"file_id": file_id})

    async def ended() -> Any:
        run = (await call("GET", f"/toolkit/v1/runs/{started.json()['run_id']}")).json()
        return run if run["state"] in {"succeeded", "failed"} else None

    result = (await until(ended))["result"]
    content = await call("GET", f"/toolkit/v1/files/{result['results'][0]['id']}/content")
    assert (started.status_code, result["rows"], result["failed"]) == (202, 3, 1)
    assert content.text.splitlines()[:2] == [
        '{"line":2,"output":{"allowed":true}}',
        '{"line":3,"output":{"allowed":false}}',
    ]
    assert (await call("POST", f"{RULE}/evaluate-file", json={"file_id": "none"})).status_code == 404


async def test_a_shadow_is_started_read_and_stopped(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    await call("PUT", f"{RULE}/versions/1/shadow")
    await result_of(call, "decide", {"total": "50"})

    stopped = (await call("DELETE", f"{RULE}/shadow")).json()
    kept = (await call("GET", f"{RULE}/shadow")).json()

    assert (stopped["compared"], stopped["changed"]) == (1, 1)
    assert kept == stopped
    assert kept["differences"][0]["fields"] == ["allowed"]


async def test_an_activation_can_be_planned(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    path = f"{RULE}/versions/1/activate"

    planned = (await call("POST", path, json={"valid_from": "2999-01-01T00:00:00Z"})).json()

    assert (planned["active_version"], planned["next_version"]) == (None, 1)
    assert planned["next_at"].startswith("2999-01-01T00:00:00")
    assert (await call("POST", path, json={"valid_from": "2999-01-01T00:00:00"})).status_code == 422


async def test_somebody_answers_for_a_version(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    path = f"{RULE}/versions/1/trust"

    assert (await call("POST", path, json={"reason": "we wrote it"})).json()["trusted"] is True
    assert (await call("POST", path, json={"reason": "we wrote it"})).status_code == 409
    assert (await call("DELETE", path)).json()["trusted"] is False
    assert (await call("POST", path, json={})).status_code == 422


async def test_a_table_goes_out_as_a_spreadsheet_and_comes_back_as_a_version(call: Caller) -> None:
    await call("POST", f"{RULE}/versions", json={"graph": table("10")})
    sheet = await call("GET", f"{RULE}/tables", params={"format": "csv"})
    excel = await call("GET", f"{RULE}/tables")

    changed = sheet.content.replace(b"<= 10", b"<= 20")
    stored = await call(
        "POST", f"{RULE}/tables", content=changed, headers={"content-type": "text/csv"}, params={"note": "more"}
    )
    again = await call("POST", f"{RULE}/tables", content=excel.content, headers={"content-type": EXCEL})
    wrong = await call("POST", f"{RULE}/tables", content=b"total\n", headers={"content-type": "text/csv"})
    form = await call("POST", f"{RULE}/tables", content=changed, headers={"content-type": "text/plain"})

    assert sheet.text.splitlines()[0].lstrip("\ufeff") == "row,if total,then allowed,note"
    assert 'filename="limit.xlsx"' in excel.headers["content-disposition"]
    assert (stored.status_code, stored.json()["number"], stored.json()["note"]) == (201, 2, "more")
    assert [change["text"] for change in (await call("GET", f"{RULE}/versions/2/diff?against=1")).json()["items"]] == [
        "t, row 1, Total: was `<= 10`, is `<= 20`"
    ]
    assert (again.status_code, again.json()["number"]) in {(200, 2), (201, 3)}
    assert (wrong.status_code, form.status_code) == (422, 415)
    assert "expected 'row'" in wrong.json()["detail"]
