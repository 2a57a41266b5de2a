"""Promise: while a model cannot answer, the next one of its fallbacks does; who answered is who is paid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import respx
from pydantic_ai.exceptions import ModelConnectionError
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.agents.openai_http import CHAT_URL, chat_answer, failure
from tests.agents.runs import Runs
from toolkit.agents import Agent, Limits, ModelRegistry, Retries, run_limits, work
from toolkit.errors import ConfigurationError, ModelUnavailable

SHARED = {"provider": "openai", "api": "chat", "base_url": "https://models.test/v1", "api_key": "sk-test"}
DEAR = {"input_per_million": "1000", "output_per_million": "0"}
CHEAP = {"input_per_million": "10", "output_per_million": "0"}
AGENT: Agent[str] = Agent("ask", model="first", retries=Retries(model=0))


def _registry(fallback: list[str] = ["second"], **second: Any) -> ModelRegistry:  # noqa: B006 - never changed
    return ModelRegistry(
        {
            "first": {**SHARED, "model": "dear", "price": DEAR, "fallback": fallback},
            "second": {**SHARED, "model": "cheap", "price": CHEAP, **second},
        }
    )


def _provider(openai: respx.MockRouter, *failures: httpx.Response) -> respx.Route:
    """Says ``failures`` of the model ``dear``; ``cheap`` answers."""
    left = list(failures)

    def answer(request: httpx.Request) -> httpx.Response:
        if b'"dear"' in request.content and left:
            return left.pop(0)
        name = "dear-2026" if b'"dear"' in request.content else "cheap-2026"
        return httpx.Response(200, json={**chat_answer("ok").json(), "model": name})

    return openai.post(CHAT_URL).mock(side_effect=answer)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_the_fallback_answers_and_its_price_counts(openai: respx.MockRouter, runs: Runs, status: int) -> None:
    route = _provider(openai, failure(status))
    runs.use(_registry())

    result = await runs.call(AGENT, "?")

    assert route.call_count == 2
    assert (result.model, result.cost) == ("cheap-2026", Decimal("0.001"))


async def test_a_model_that_can_answer_is_not_passed_over(openai: respx.MockRouter, runs: Runs) -> None:
    _provider(openai)
    runs.use(_registry())

    result = await runs.call(AGENT, "?")

    assert (result.model, result.cost) == ("dear-2026", Decimal("0.1"))


async def test_a_mistake_of_ours_is_not_paid_for_elsewhere(openai: respx.MockRouter, runs: Runs) -> None:
    route = _provider(openai, failure(401))
    runs.use(_registry())

    with pytest.raises(ConfigurationError):
        await runs.call(AGENT, "?")
    assert route.call_count == 1


async def test_when_no_model_answers_the_engine_tries_all_again(openai: respx.MockRouter, runs: Runs) -> None:
    openai.post(CHAT_URL).mock(return_value=failure(503))
    runs.use(_registry())

    with pytest.raises(ModelUnavailable):
        await runs.call(AGENT, "?")


@pytest.mark.parametrize("fallback", [["third"], ["first"]])
def test_a_fallback_that_is_no_other_key_is_seen_at_start(fallback: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"ai_models\.first\.fallback"):
        _registry(fallback).check(AGENT)


def test_a_fallback_without_its_key_is_seen_at_start() -> None:
    with pytest.raises(ConfigurationError, match=r"ai_models\.second\.api_key"):
        _registry(api_key=None, base_url=None).check(AGENT)


@pytest.mark.parametrize("status", [200, 503])
async def test_two_models_of_one_name_are_told_apart_by_their_keys(
    openai: respx.MockRouter, runs: Runs, status: int
) -> None:
    openai.post("https://here.test/v1/chat/completions").mock(
        return_value=chat_answer("ok") if status == 200 else failure(status)
    )
    openai.post(CHAT_URL).mock(return_value=chat_answer("ok"))
    here = {**SHARED, "base_url": "https://here.test/v1", "model": "gpt-5-mini", "price": CHEAP, "fallback": ["second"]}
    runs.use(ModelRegistry({"first": here, "second": {**SHARED, "model": "gpt-5-mini", "price": DEAR}}))

    result = await runs.call(AGENT, "?")

    assert result.cost == Decimal("0.001" if status == 200 else "0.1")


async def test_a_model_that_answers_by_another_name_has_the_price_of_its_key(
    openai: respx.MockRouter, runs: Runs
) -> None:
    answer = httpx.Response(200, json={**chat_answer("ok").json(), "model": "what-the-deployment-runs"})
    openai.post(CHAT_URL).mock(return_value=answer)
    runs.use(_registry())

    result = await runs.call(AGENT, "?")

    assert (result.model, result.cost) == ("what-the-deployment-runs", Decimal("0.1"))


def _twin(*, is_down: bool = False) -> FunctionModel:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        if is_down:
            raise ModelConnectionError("twin", "down")
        yield "a word or two"

    return FunctionModel(stream_function=stream, model_name="twin")


@pytest.mark.parametrize(("is_down", "price"), [(False, 1000), (True, 10)])
async def test_who_streamed_the_answer_is_who_is_paid_in_a_run_and_outside(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, is_down: bool, price: int
) -> None:
    registry = ModelRegistry(
        {
            "first": {"provider": "here", "model": "twin", "price": DEAR, "fallback": ["second"]},
            "second": {"provider": "there", "model": "twin", "price": CHEAP},
        }
    )
    here, there = _twin(is_down=is_down), _twin()
    registry.register_model_factory("here", lambda settings: here)
    registry.register_model_factory("there", lambda settings: there)
    runs.use(registry)
    monkeypatch.setattr(work, "current_registry", lambda: registry)
    agent: Agent[str] = Agent("ask", model="first", retries=Retries(model=0), stream=True)

    for result in (await runs.call(agent, "?"), await agent("?")):
        assert result.model == "twin"
        assert result.cost == Decimal(price * result.usage.input_tokens) / 1_000_000


async def test_a_limit_on_money_needs_the_prices_of_fallbacks_too(openai: respx.MockRouter, runs: Runs) -> None:
    route = _provider(openai)
    registry = _registry(price=None)
    runs.use(registry)

    with pytest.raises(ConfigurationError, match=r"ai_models\.second\.price"):
        registry.check(Agent("ask", model="first", limits=Limits(cost=Decimal(1))))

    async def ask(input: str) -> str:
        with run_limits(Limits(cost=Decimal(1))):
            return (await AGENT(input)).output

    with pytest.raises(ConfigurationError, match=r"ai_models\.second\.price"):
        await runs.call(ask, "?")  # type: ignore[arg-type]  # anything that is awaited with one input
    assert not route.called
