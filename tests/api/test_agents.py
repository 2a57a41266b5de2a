"""Agents over REST: what they go by is changed by versions, and every change is on record."""

from __future__ import annotations

from tests.api.installation import Caller, Installation
from toolkit.access import list_audit

AGENTS = "/toolkit/v1/agents"
AGENT = f"{AGENTS}/read_payment"


async def test_an_agent_shows_what_it_goes_by_and_which_tools_wait_for_a_person(call: Caller) -> None:
    (found,) = (await call("GET", AGENTS)).json()["items"]

    assert found == (await call("GET", AGENT)).json()
    assert found["name"] == "read_payment"
    assert found["active_version"] is None
    assert found["model"] == "small"
    assert found["tools"] == {"pay": "money"}
    assert found["needs_approval"] == ["pay"]
    assert (await call("GET", f"{AGENTS}/nobody")).status_code == 404


async def test_a_version_holds_from_its_activation_and_can_be_rolled_back(call: Caller) -> None:
    first = await call("POST", f"{AGENT}/versions", json={"changes": {"system_prompt": "Be brief."}, "note": "shorter"})
    await call("POST", f"{AGENT}/versions", json={"changes": {"max_turns": 3}})

    assert first.status_code == 201
    assert first.json()["number"] == 1
    assert first.json()["created_by"] == "ada"
    assert (await call("GET", AGENT)).json()["system_prompt"] == "You read payments."

    activated = await call("POST", f"{AGENT}/versions/1/activate", json={"reason": "too long"})
    assert (activated.json()["active_version"], activated.json()["system_prompt"]) == (1, "Be brief.")
    assert (await call("POST", f"{AGENT}/versions/1/activate")).status_code == 409
    second = (await call("POST", f"{AGENT}/versions/2/activate")).json()
    assert (second["max_turns"], second["system_prompt"]) == (3, "You read payments.")
    versions = (await call("GET", f"{AGENT}/versions")).json()["items"]
    assert [(one["number"], one["active"]) for one in versions] == [(2, True), (1, False)]

    assert (await call("POST", f"{AGENT}/rollback")).json()["active_version"] == 1
    assert (await call("POST", f"{AGENT}/rollback")).json()["active_version"] is None
    assert (await call("POST", f"{AGENT}/rollback")).status_code == 409
    await call("POST", f"{AGENT}/versions/2/activate")
    assert (await call("POST", f"{AGENT}/deactivate")).json()["active_version"] is None
    assert (await call("POST", f"{AGENT}/rollback")).json()["active_version"] == 2


async def test_versions_are_compared_field_by_field(call: Caller) -> None:
    await call(
        "POST", f"{AGENT}/versions", json={"changes": {"user_prompt": "Read {{ input.total }}", "model": "small"}}
    )

    found = (await call("GET", f"{AGENT}/diff", params={"after": 1})).json()

    assert found["differences"].keys() == {"user_prompt"}
    assert "-Total: {{ input.total }}" in found["differences"]["user_prompt"]
    assert "+Read {{ input.total }}" in found["differences"]["user_prompt"]


async def test_a_version_that_could_not_run_is_refused(call: Caller) -> None:
    for changes in (
        {"user_prompt": "{{ input.vendor }}"},
        {"user_prompt": "{{ input.total"},
        {"user_prompt": "{{ invoice }}"},
        {"model": "large"},
        {"max_turns": 0},
        {"temperature": 1},
    ):
        refused = await call("POST", f"{AGENT}/versions", json={"changes": changes})
        assert refused.status_code == 422, changes
    assert (await call("GET", f"{AGENT}/versions")).json()["items"] == []
    assert (await call("POST", f"{AGENT}/versions/1/activate")).status_code == 404


async def test_each_change_is_in_the_audit_trail(call: Caller, installation: Installation) -> None:
    await call("POST", f"{AGENT}/versions", json={"changes": {"system_prompt": "A secret of the house."}})
    await call("POST", f"{AGENT}/versions/1/activate", json={"reason": "better"})
    await call("POST", f"{AGENT}/rollback")

    trail = await list_audit(installation.services.database, object_kind="agent", object_id="read_payment")
    assert [entry.action for entry in trail] == ["agent.rolled_back", "agent.activated", "agent.version_added"]
    assert {entry.actor for entry in trail} == {"ada"}
    assert trail[1].details == {"version": 1, "before": None, "reason": "better"}
    assert "secret" not in str(trail)
