"""Promise: a run ends on the prompts and the model that it began with; the next run takes the new ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, AgentService, Changes, Limits, ModelRegistry, tool, using_model
from toolkit.agents.changes import Definition
from toolkit.storage import Database


@tool(effect="money")
def pay(amount: int) -> str:
    """Pay."""
    return str(amount)


AGENT: Agent[str] = Agent(
    "clerk", model="old", system_prompt="Old prompt.", user_prompt="Old: {{ input }}", tools=[pay]
)
SCRIPT = ([call("pay", amount=1)], "done")
CHANGES = Changes(system_prompt="New prompt.", user_prompt="New: {{ input }}", model="new", max_turns=7)


@pytest.fixture
async def runs(database: Database, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
    async with Runs(database, registry).open(monkeypatch) as runs:
        runs.service = AgentService(database, [AGENT], models=ModelRegistry({"new": {"model": "m", "api_key": "k"}}))
        runs.engine.resources[AgentService] = runs.service
        yield runs


async def test_prompt_and_model_changed_while_a_run_sleeps_hold_for_the_next_run_only(runs: Runs) -> None:
    old, new = _models(runs)
    await runs.start(AGENT, "7")
    question = await runs.asked()
    await runs.service.add("clerk", CHANGES)
    await runs.service.activate("clerk", 1)

    await runs.approve(question)
    await runs.outcome()
    assert (old.requests, new.requests) == (2, 0)
    assert "Old prompt." in str(old.heard)

    runs.is_approving = True
    await runs.call(AGENT, "8")
    assert (old.requests, new.requests) == (2, 2)
    assert "New prompt." in str(new.heard)
    assert "New: 8" in str(new.heard)
    assert "Old" not in str(new.heard)


async def test_a_run_that_died_goes_on_with_what_it_began_with(runs: Runs) -> None:
    old, new = _models(runs)
    runs.is_approving = True
    await runs.service.add("clerk", CHANGES)
    await runs.service.activate("clerk", 1)
    await runs.cut_off(Cut("after", "model:0"), AGENT, "7")

    await runs.service.deactivate("clerk")

    assert (await runs.go_on()).output == "done"
    assert (old.requests, new.requests) == (0, 2)


async def test_a_second_call_in_the_same_run_stays_with_the_version_of_the_first(runs: Runs) -> None:
    old, new = _models(runs)
    runs.is_approving = True

    async def twice(input: str) -> str:
        await AGENT(input)
        await runs.service.add("clerk", CHANGES)
        await runs.service.activate("clerk", 1)
        return (await AGENT(input)).output

    assert await runs.call(twice, "7") == "done"  # type: ignore[arg-type]
    assert (old.requests, new.requests) == (4, 0)


async def test_two_activations_at_once_leave_one_history(runs: Runs) -> None:
    for _ in range(2):
        await runs.service.add("clerk", CHANGES)

    done = await asyncio.gather(*(runs.service.activate("clerk", number) for number in (1, 2)), return_exceptions=True)

    assert not [error for error in done if isinstance(error, BaseException)]
    last = (await runs.service.get_agent("clerk")).active_version
    assert last in (1, 2)
    assert (await runs.service.roll_back("clerk")).active_version == 3 - last
    assert (await runs.service.roll_back("clerk")).active_version is None


async def test_outside_an_installation_an_agent_goes_by_its_code() -> None:
    script = ScriptedModel("done")
    with using_model(script.model):
        await AGENT("7")
    assert "Old prompt." in str(script.heard)


def _models(runs: Runs) -> tuple[ScriptedModel, ScriptedModel]:
    old, new = ScriptedModel(*SCRIPT), ScriptedModel(*SCRIPT)
    registry = ModelRegistry()
    registry.register_model_factory("old", lambda settings: old.model)
    registry.register_model_factory("new", lambda settings: new.model)
    runs.use(registry)
    return old, new


@pytest.mark.parametrize(
    ("limits", "max_turns", "requests"),
    [(None, 50, 50), (Limits(requests=5), 50, 5), (Limits(requests=5), 3, 3), (Limits(requests=5), None, 5)],
)
def test_a_version_never_raises_a_limit_of_the_code(
    limits: Limits | None, max_turns: int | None, requests: int
) -> None:
    agent: Agent[str] = Agent("clerk", model="old", limits=limits)

    assert Definition(agent, Changes(max_turns=max_turns)).limits.requests == requests
