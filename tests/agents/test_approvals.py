"""Promise: what moves money runs only after a person has seen its exact arguments, and only with those."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, Turn, call
from toolkit.access import list_audit
from toolkit.agents import Agent, Approval, ModelRegistry, ToolContext, approvals, tool, using_model
from toolkit.errors import ApprovalMismatch, WrongContext
from toolkit.storage import Database
from toolkit.workflows import step


@dataclass(frozen=True)
class Office:
    effects: Counter[str] = field(default_factory=Counter)


@tool(effect="money")
async def pay(ctx: ToolContext[Office], account: str, amount: Decimal) -> str:
    """Pay an amount to an account."""
    ctx.deps.effects[f"pay {account} {amount}"] += 1
    return f"paid {amount}"


@tool(effect="read")
async def look(ctx: ToolContext[Office], letter: str) -> str:
    """Look something up."""
    ctx.deps.effects[f"look {letter}"] += 1
    return letter.upper()


AGENT = Agent("payer", model="m", tool_context_type=Office, tools=[look, pay], approval=Approval(assign_to="finance"))

ONE_ROUND: tuple[Turn, ...] = (
    [call("look", letter="a"), call("pay", id="p1", account="DE1", amount="12.50"), call("look", id="l2", letter="b")],
    "done",
)
TWO_ROUNDS: tuple[Turn, ...] = (
    [call("look", letter="a"), call("pay", id="p1", account="DE1", amount="12.50")],
    [call("pay", id="p2", account="DE2", amount="3")],
    "done",
)


@pytest.fixture
async def runs(database: Database, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
    async with Runs(database, registry).open(monkeypatch) as runs:
        yield runs


async def test_a_person_sees_tool_arguments_and_effect_and_siblings_are_done_meanwhile(runs: Runs) -> None:
    script, office = _scripted(runs, *ONE_ROUND), Office()

    await runs.start(AGENT, "Invoice 7", tool_context=office)
    question = await runs.asked()  # the run is suspended now

    assert office.effects == {"look a": 1, "look b": 1}
    (held,) = question.about.model_dump()["calls"]
    assert (held["tool"], held["effect"]) == ("pay", "money")
    assert held["arguments"] == {"account": "DE1", "amount": "12.50"}
    assert question.assign_to == "finance"
    await runs.approve(question)
    assert (await runs.outcome()).output == "done"
    assert office.effects == {"look a": 1, "look b": 1, "pay DE1 12.50": 1}
    assert script.requests == 2


async def test_the_calls_of_one_answer_are_one_question(runs: Runs) -> None:
    office = Office()
    _scripted(runs, [call("pay", id=f"p{n}", account=f"DE{n}", amount=str(n)) for n in (1, 2)], "done")

    await runs.start(AGENT, "Invoice 7", tool_context=office)
    question = await runs.asked()

    assert [held["id"] for held in question.about.model_dump()["calls"]] == ["p1", "p2"]
    await runs.answer(
        {"decisions": [{"id": "p1", "decision": "approve"}, {"id": "p2", "decision": "deny", "reason": "twice"}]}
    )
    await runs.outcome()
    assert office.effects == {"pay DE1 1": 1}


async def test_edited_arguments_run_and_wrong_ones_are_asked_about_again(runs: Runs) -> None:
    office = Office()
    _scripted(runs, *ONE_ROUND)
    await runs.start(AGENT, "Invoice 7", tool_context=office)

    await runs.approve(await runs.asked(), arguments={"account": "DE1", "amount": "much"})
    again = await runs.asked()
    assert "amount" in again.message
    await runs.approve(again, arguments={"account": "DE1", "amount": "9.99"})

    await runs.outcome()
    assert _paid(office) == {"pay DE1 9.99": 1}


async def test_a_decision_about_other_calls_is_asked_for_again(runs: Runs) -> None:
    office = Office()
    _scripted(runs, *ONE_ROUND)
    await runs.start(AGENT, "Invoice 7", tool_context=office)
    await runs.asked()

    await runs.answer({"decisions": [{"id": "p9", "decision": "approve"}]})

    again = await runs.asked()
    assert "p1" in again.message
    assert not _paid(office)
    await runs.approve(again)
    await runs.outcome()


async def test_the_model_hears_why_a_call_was_denied(runs: Runs) -> None:
    office = Office()
    script = _scripted(runs, *ONE_ROUND)
    await runs.start(AGENT, "Invoice 7", tool_context=office)

    await runs.asked()
    await runs.answer({"decisions": [{"id": "p1", "decision": "deny", "reason": "wrong account"}]})

    assert (await runs.outcome()).output == "done"
    assert "wrong account" in str(script.heard[-1])
    assert not _paid(office)


async def test_a_question_that_nobody_answers_is_a_no(runs: Runs) -> None:
    office = Office()
    _scripted(runs, *ONE_ROUND)
    soon = Approval(expires=timedelta(milliseconds=50))
    impatient = Agent("payer", model="m", tool_context_type=Office, tools=[look, pay], approval=soon)

    result = await runs.call(impatient, "Invoice 7", tool_context=office)

    assert result.output == "done"
    assert not _paid(office)
    actions = [entry.action for entry in await list_audit(runs.database, object_id=runs.run.id)]
    assert sorted(actions) == ["tool_call.expired", "tool_call.held"]


async def test_a_withdrawn_question_is_a_no(runs: Runs) -> None:
    office = Office()
    _scripted(runs, *ONE_ROUND)
    await runs.start(AGENT, "Invoice 7", tool_context=office)

    await runs.asked()
    await runs.answer(None)

    assert (await runs.outcome()).output == "done"
    assert not _paid(office)


async def test_held_and_decided_calls_are_in_the_audit_trail_without_their_arguments(runs: Runs) -> None:
    _scripted(runs, *ONE_ROUND)
    await runs.start(AGENT, "Invoice 7", tool_context=Office())
    await runs.approve(await runs.asked())
    await runs.outcome()

    trail = {entry.action: entry for entry in await list_audit(runs.database, object_id=runs.run.id)}
    assert trail["tool_call.held"].details["tool"] == "pay"
    assert trail["tool_call.approved"].details["by"] == "ada"
    assert trail["tool_call.approved"].details["digest"] == trail["tool_call.held"].details["digest"]
    assert "DE1" not in str(trail)


KEYS = [
    "config",
    "model:0",
    "tool:agent:look#look-1:0",
    "approval:0",
    "decision:0",
    "tool:agent:pay#p1:0",
    "model:1",
    "approval:1",
    "decision:1",
    "tool:agent:pay#p2:0",
    "model:2",
]


ASKED = ["payer/0/suspend/0", "payer/0/suspend/1"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_two_rounds_survive_a_death_at_every_checkpoint(runs: Runs, when: Any) -> None:
    for key in KEYS:
        script, office = _scripted(runs, *TWO_ROUNDS), Office()
        runs.is_approving = True

        await runs.cut_off(Cut(when, key), AGENT, "Invoice 7", tool_context=office)
        result = await runs.go_on()

        assert result.output == "done", key
        assert result.usage.requests == script.requests == len(TWO_ROUNDS), key
        assert office.effects == {"look a": 1, "pay DE1 12.50": 1, "pay DE2 3": 1}, key
        assert [path for path in await runs.steps() if "/suspend/" in path] == ASKED, key


async def test_an_answer_that_comes_while_no_process_runs_is_not_lost(runs: Runs) -> None:
    script, office = _scripted(runs, *ONE_ROUND), Office()
    await runs.start(AGENT, "Invoice 7", tool_context=office)
    question = await runs.asked()
    await runs.engine.close()

    await runs.approve(question)

    assert (await runs.go_on()).output == "done"
    assert office.effects["pay DE1 12.50"] == 1
    assert script.requests == 2


async def test_what_runs_is_compared_again_with_what_was_approved(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    _scripted(runs, *ONE_ROUND)
    verdict = approvals._verdict
    monkeypatch.setattr(
        approvals, "_verdict", lambda *args: verdict(*args).model_copy(update={"digest": "of something else"})
    )
    await runs.start(AGENT, "Invoice 7", tool_context=office)
    await runs.approve(await runs.asked())

    with pytest.raises(ApprovalMismatch):
        await runs.outcome()
    assert not _paid(office)


async def test_where_no_run_can_wait_the_agent_is_refused_before_it_costs_anything(runs: Runs) -> None:
    script = _scripted(runs, *ONE_ROUND)

    @step()
    async def in_a_step() -> None:
        await AGENT("Invoice 7", tool_context=Office())

    async def outer(given: str) -> None:
        await in_a_step()

    with pytest.raises(WrongContext, match="inside a step"):
        await runs.call(outer, "x")  # type: ignore[arg-type]
    assert script.requests == 0


async def test_outside_a_run_nobody_can_be_asked_and_the_call_is_denied() -> None:
    office = Office()
    with using_model(ScriptedModel(*ONE_ROUND).model):
        result = await AGENT("Invoice 7", tool_context=office)

    assert result.output == "done"
    assert not _paid(office)


def test_only_money_needs_approval_unless_it_is_said() -> None:
    assert [tool(effect=effect)(_f).is_gated for effect in ("read", "write", "money", "external")] == [
        False,
        False,
        True,
        False,
    ]
    assert tool(effect="read", needs_approval=True)(_f).is_gated
    assert not tool(effect="money", needs_approval=False)(_f).is_gated


def _f() -> None: ...


def _paid(office: Office) -> dict[str, int]:
    return {effect: count for effect, count in office.effects.items() if effect.startswith("pay")}


def _scripted(runs: Runs, *turns: Turn) -> ScriptedModel:
    script = ScriptedModel(*turns)
    registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    runs.use(registry)
    return script
