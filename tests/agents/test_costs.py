from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import respx

from tests.agents.openai_http import CHAT_URL, chat_answer, chat_call
from tests.agents.runs import Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, Limits, ModelRegistry, using_model
from toolkit.errors import ConfigurationError

OPENAI = {"provider": "openai", "model": "gpt-5-mini", "base_url": "https://models.test/v1", "api_key": "sk-test"}


def _registry(**entry: Any) -> ModelRegistry:
    return ModelRegistry({"chat": {**OPENAI, **entry}})


def look(name: str) -> str:
    return name


async def test_the_configured_price_comes_first(openai: respx.MockRouter, runs: Runs) -> None:
    openai.post(CHAT_URL).mock(return_value=chat_answer("ok"))

    runs.use(_registry(price={"input_per_million": "2.50", "output_per_million": "10"}))
    result = await runs.call(Agent("ask", model="chat"), "?")

    assert result.cost == Decimal("0.00045")  # 100 tokens in, 20 out


async def test_the_public_price_list_comes_second(openai: respx.MockRouter, runs: Runs) -> None:
    answer = chat_answer("ok")
    openai.post(CHAT_URL).respond(200, json={**answer.json(), "model": "gpt-4o-mini"})

    runs.use(_registry())
    result = await runs.call(Agent("ask", model="chat"), "?")

    assert result.cost is not None
    assert result.cost > 0


async def test_the_price_list_is_asked_for_the_configured_name_as_well(openai: respx.MockRouter, runs: Runs) -> None:
    openai.post(CHAT_URL).respond(200, json={**chat_answer("ok").json(), "model": "a-deployment-of-our-own"})

    runs.use(_registry(model="gpt-4o-mini"))
    result = await runs.call(Agent("ask", model="chat"), "?")

    assert result.cost is not None
    assert result.cost > 0


async def test_without_any_price_the_cost_is_unknown() -> None:
    with using_model(ScriptedModel("ok").model):
        assert (await Agent("ask", model="m")("?")).cost is None


async def test_each_request_is_priced_and_the_sum_survives_the_journal(openai: respx.MockRouter, runs: Runs) -> None:
    openai.post(CHAT_URL).mock(side_effect=[chat_answer(calls=[chat_call("look", {"name": "a"})]), chat_answer("ok")])
    agent = Agent("ask", model="chat", tools=[look])
    runs.use(_registry(price={"input_per_million": "1", "output_per_million": "0"}))

    first = await runs.call(agent, "?")

    steps = (await runs.steps()).values()
    costs = [json.loads(step.details or "{}")["cost"] for step in steps if step.kind == "model_call"]
    assert costs == ["0.0001", "0.0001"]
    assert first.cost == Decimal("0.0002")


async def test_a_cost_outside_a_run_is_the_same() -> None:
    with using_model(ScriptedModel([call("look", name="a")], "ok").model):
        result = await Agent("ask", model="m", tools=[look])("?")

    assert result.usage.requests == 2
    assert result.usage.tool_calls == 1
    assert result.cost is None


async def test_under_a_limit_on_money_an_answer_of_unknown_cost_is_the_last(
    openai: respx.MockRouter, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = openai.post(CHAT_URL).mock(return_value=chat_answer(calls=[chat_call("look", {"name": "a"})]))
    runs.use(_registry(model="a-model-of-our-own"))
    monkeypatch.setattr(ModelRegistry, "check_price", lambda *_, **__: None)  # it had one when the agent began

    with pytest.raises(ConfigurationError, match="agent 'ask' has a limit on money, and what model 'chat' cost"):
        await runs.call(Agent("ask", model="chat", tools=[look], limits=Limits(cost=Decimal(1))), "?")
    assert route.call_count == 1


@pytest.mark.parametrize("price", [{"input_per_million": "-1", "output_per_million": "0"}, {"input_per_million": "1"}])
def test_a_price_that_cannot_be_is_refused(price: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"ai_models\.chat\.price"):
        _registry(price=price)
