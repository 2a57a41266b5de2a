"""Promise: what an agent may use holds for the agents below its tools, before each of their requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

import pytest

from tests.agents.runs import Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, Limits, ModelRegistry, people, tool, work
from toolkit.errors import BudgetExceeded, ConfigurationError, TurnsExceeded

PRICE = {"input_per_million": "0", "output_per_million": "1000000"}  # 1 a word, as these models count


@tool(effect="read")
def look(letter: str) -> str:
    """Look something up."""
    return letter.upper()


inner: Agent[str] = Agent("inner", model="inner", tools=[look])


class Both:
    """An agent that asks another one, which looks up five letters before it answers."""

    def __init__(self, price: Any = PRICE) -> None:
        self.above = ScriptedModel([call("inner", input="?")], "both")
        self.below = ScriptedModel(*([call("look", id=letter, letter=letter)] for letter in "abcde"), "below")
        self.registry = ModelRegistry(
            {"outer": {"provider": "above", "price": PRICE}, "inner": {"provider": "below", "price": price}}
        )
        self.registry.register_model_factory("above", lambda settings: self.above.model)
        self.registry.register_model_factory("below", lambda settings: self.below.model)


def _outer(asked: Agent[str] = inner, **limits: Any) -> Agent[str]:
    return Agent("outer", model="outer", tools=[asked], limits=Limits(**limits))


@pytest.fixture
def both() -> Both:
    return Both()


@pytest.fixture
async def words(both: Both, runs: Runs) -> list[int]:
    """What the two agents use together, after each request."""
    runs.use(both.registry)
    await runs.call(_outer(), "?")
    requests = [step for step in (await runs.steps()).values() if step.kind == "model_call"]
    details = [json.loads(step.details or "{}") for step in sorted(requests, key=lambda step: step.started_at)]
    both.above.requests = both.below.requests = 0
    return list(accumulate(found["input_tokens"] + found["output_tokens"] for found in details))


async def test_tokens_of_the_agent_above_stop_the_one_below(both: Both, runs: Runs, words: list[int]) -> None:
    with pytest.raises(BudgetExceeded) as reached:
        await runs.call(_outer(tokens=words[2]), "?")

    assert (reached.value.agent, reached.value.limit, reached.value.used) == ("outer", "tokens", words[2])
    assert (both.above.requests, both.below.requests) == (1, 2)


async def test_money_of_the_agent_above_stops_the_one_below(both: Both, runs: Runs) -> None:
    runs.use(both.registry)

    with pytest.raises(BudgetExceeded) as reached:
        await runs.call(_outer(cost=Decimal("0.001")), "?")

    assert (reached.value.agent, reached.value.limit) == ("outer", "cost")
    assert (both.above.requests, both.below.requests) == (1, 0)


async def test_time_of_the_agent_above_stops_the_one_below(
    both: Both, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC)]

    def pass_a_minute(turn: int) -> None:
        moments[0] += timedelta(minutes=1)

    monkeypatch.setattr(people.Desk, "now", lambda self: moments[0])
    both.above.before = both.below.before = pass_a_minute
    runs.use(both.registry)

    with pytest.raises(BudgetExceeded) as reached:
        await runs.call(_outer(wall=timedelta(minutes=3)), "?")

    assert (reached.value.agent, reached.value.limit) == ("outer", "wall")
    assert (both.above.requests, both.below.requests) == (1, 2)


async def test_limits_hold_below_tools_outside_a_run_too(
    both: Both, runs: Runs, words: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "current_registry", lambda: both.registry)

    with pytest.raises(BudgetExceeded) as reached:
        await _outer(tokens=words[2])("?")

    assert (reached.value.agent, reached.value.used) == ("outer", words[2])
    assert (both.above.requests, both.below.requests) == (1, 2)


@pytest.mark.parametrize("limits", [{"requests": 2}, {"tool_calls": 1}])
async def test_requests_and_tool_calls_are_those_of_the_agent_itself(
    both: Both, runs: Runs, limits: dict[str, Any]
) -> None:
    runs.use(both.registry)

    result = await runs.call(_outer(**limits), "?")

    assert (result.usage.requests, result.usage.tool_calls) == (2 + 6, 1 + 5)


async def test_a_raised_limit_lets_the_agent_below_go_on_where_it_was(both: Both, runs: Runs, words: list[int]) -> None:
    await runs.start(_outer(tokens=words[2], on_reached="ask"), "?")

    for used, raised in ((words[2], words[4]), (words[4], 10_000)):
        question = await runs.asked()
        while not runs.questions.empty():  # asked before, and come by again
            question = runs.questions.get_nowait()
        assert question.about.model_dump() == {
            "agent": "outer",
            "limit": "tokens",
            "allowed": used,
            "used": used,
        }
        await runs.answer({"decision": "raise", "limit": str(raised)})
        await runs.restart()  # another process comes by what was asked and raised before
    result = await runs.outcome()

    assert result.output == "both"
    assert (both.above.requests, both.below.requests) == (2, 6)
    assert result.usage.tokens == words[-1]


async def test_nobody_is_asked_to_raise_a_limit_of_the_agent_above_for_the_one_below(both: Both, runs: Runs) -> None:
    runs.use(both.registry)
    narrow: Agent[str] = Agent("inner", model="inner", tools=[look], limits=Limits(requests=2))

    with pytest.raises(TurnsExceeded, match="'inner'"):
        await runs.call(_outer(narrow, on_reached="ask"), "?")

    assert runs.questions.empty()


async def test_under_a_limit_on_money_an_agent_below_needs_a_price_before_its_first_request(runs: Runs) -> None:
    both = Both(price=None)
    runs.use(both.registry)

    with pytest.raises(ConfigurationError, match=r"ai_models\.inner\.price"):
        await runs.call(_outer(cost=Decimal(1_000_000)), "?")

    assert (both.above.requests, both.below.requests) == (1, 0)
