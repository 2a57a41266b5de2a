from __future__ import annotations

from decimal import Decimal

import pytest

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, Limits, ModelRegistry, Retries, tool, using_model, work
from toolkit.errors import BudgetExceeded

PRICED = {"provider": "scripted", "price": {"input_per_million": "1000000", "output_per_million": "0"}}

inner = Agent("inner", model="inner", user_prompt="Think of {{ input }}")


async def ask(topic: str) -> str:
    """Ask another agent."""
    return (await inner(topic)).output


outer = Agent("outer", model="outer", tools=[ask])


@pytest.fixture
def registry() -> ModelRegistry:
    return ModelRegistry({"inner": PRICED, "outer": PRICED})


@pytest.fixture
def models(registry: ModelRegistry) -> tuple[ScriptedModel, ScriptedModel]:
    above = ScriptedModel([call("ask", id="a", topic="tea"), call("ask", id="b", topic="rain")], "both")
    below = ScriptedModel("thought")
    registry.register_model_factory("outer", lambda settings: above.model)
    registry.register_model_factory("inner", lambda settings: below.model)
    return above, below


async def test_an_agent_in_a_tool_is_recorded_below_the_tool(
    runs: Runs, models: tuple[ScriptedModel, ScriptedModel]
) -> None:
    await runs.call(outer, "?")

    paths = sorted(path.partition("outer/0")[2] for path in await runs.steps())
    below = ["", "/inner/0", "/inner/0/config", "/inner/0/model:0"]
    assert [path for path in paths if path.startswith("/tool")] == [
        f"/tool:agent:ask#{letter}:0{path}" for letter in ("a", "b") for path in below
    ]


async def test_usage_and_cost_include_the_agents_below(runs: Runs, models: tuple[ScriptedModel, ScriptedModel]) -> None:
    result = await runs.call(outer, "?")

    assert result.usage.requests == 2 + 2
    assert result.usage.tool_calls == 2
    assert result.cost == Decimal(result.usage.input_tokens)


async def test_a_resumed_agent_adds_what_its_finished_tools_used(
    runs: Runs, models: tuple[ScriptedModel, ScriptedModel]
) -> None:
    above, below = models
    undisturbed = await runs.call(outer, "?")
    above.requests = below.requests = 0

    await runs.cut_off(Cut("before", "model:1"), outer, "?")
    resumed = await runs.go_on()

    assert resumed == undisturbed
    assert (above.requests, below.requests) == (2, 2)


async def test_usage_outside_a_run_includes_the_agents_below_too(registry: ModelRegistry) -> None:
    script = ScriptedModel([call("ask", topic="tea")], "both")
    thought = ScriptedModel("thought")

    async def ask(topic: str) -> str:
        """Ask another agent."""
        with using_model(thought.model):
            return (await inner(topic)).output

    with using_model(script.model):
        result = await Agent("outer", model="outer", tools=[ask])("?")

    assert result.usage.requests == 3


@pytest.mark.parametrize("where", ["in a run", "resumed", "outside a run"])
async def test_what_an_agent_below_used_counts_although_it_failed(
    runs: Runs, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    @tool(effect="read")
    async def try_it(topic: str) -> str:
        """Ask an agent that may fail."""
        try:
            return (await busy(topic)).output
        except BudgetExceeded:
            return "it gave up"

    busy: Agent[str] = Agent("inner", model="inner", limits=Limits(requests=2), retries=Retries(tools=9))
    above: Agent[str] = Agent("outer", model="outer", tools=[try_it])
    answers = ScriptedModel([call("try_it", topic="tea")], "both")
    failing = ScriptedModel(*([call("nothing", id=str(turn))] for turn in range(3)))
    registry.register_model_factory("outer", lambda settings: answers.model)
    registry.register_model_factory("inner", lambda settings: failing.model)

    if where == "outside a run":
        monkeypatch.setattr(work, "current_registry", lambda: registry)
        result = await above("?")
    elif where == "in a run":
        result = await runs.call(above, "?")
    else:
        await runs.cut_off(Cut("before", "outer/0/model:1"), above, "?")
        result = await runs.go_on()

    assert result.output == "both"
    assert (answers.requests, failing.requests, result.usage.requests) == (2, 2, 4)
    assert result.cost == Decimal(result.usage.input_tokens)
    assert result.usage.input_tokens > 150
