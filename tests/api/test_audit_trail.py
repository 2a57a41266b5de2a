"""Who may read the audit trail finds in it who did what, page by page."""

from __future__ import annotations

from tests.api.installation import Caller, Installation
from tests.api.test_run_changes import suspended
from tests.api.test_runs import RUNS

AUDIT = "/toolkit/v1/audit"


async def test_what_was_done_to_one_run_is_found_newest_first_with_who_did_it(
    call: Caller, installation: Installation
) -> None:
    run_id, other = await suspended(call), await suspended(call)
    olga = Caller(installation.app, headers={"x-toolkit-user": "olga"})
    await olga("POST", f"{RUNS}/{run_id}/pause", json={"reason": "holidays"})
    await olga("POST", f"{RUNS}/{other}/pause", json={})

    page = (await call("GET", AUDIT, params={"object_kind": "run", "object_id": run_id})).json()

    assert [(entry["action"], entry["actor"]) for entry in page["items"]][:1] == [("run.paused", "olga")]
    assert page["items"][0]["details"] == {"reason": "holidays"}
    assert {entry["object_id"] for entry in page["items"]} == {run_id}
    by_olga = (await call("GET", AUDIT, params={"actor": "olga", "action": "run.paused"})).json()
    assert [entry["object_id"] for entry in by_olga["items"]] == [other, run_id]


async def test_the_trail_comes_in_pages(call: Caller) -> None:
    for _ in range(3):
        await suspended(call)

    seen, after = [], None
    while True:
        page = (await call("GET", AUDIT, params={"limit": 1} | ({"after": after} if after else {}))).json()
        seen += [entry["id"] for entry in page["items"]]
        after = page["next"]
        if after is None:
            break

    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) >= 3
