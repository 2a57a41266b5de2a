"""Promise: an agent stops at its limits, and what it paid before it stopped is not paid again when it goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle
from typing import Any

import httpx
import pytest
import respx

from tests.agents.openai_http import CHAT_URL, chat_answer, chat_call
from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, Limits, ModelRegistry, Retries, people, using_model
from toolkit.errors import (
    AgentDiverged,
    BudgetExceeded,
    ConfigurationError,
    ModelBehaviorError,
    TurnsExceeded,
)
from toolkit.storage import Database

PRICE = {"input_per_million": "1000", "output_per_million": "0"}  # 0.10 a request of 100 tokens

LOOKED: Counter[str] = Counter()


def look(letter: str) -> str:
    """Look something up."""
    LOOKED[letter] += 1
    return letter.upper()


@pytest.fixture
async def runs(database: Database, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
    LOOKED.clear()
    async with Runs(database, registry).open(monkeypatch) as runs:
        yield runs


def _agent(**limits: Any) -> Agent[str]:
    return Agent("looker", model="chat", tools=[look], limits=Limits(**limits))


def _answers(openai: respx.MockRouter) -> respx.Route:
    calls = [chat_answer(calls=[chat_call("look", {"letter": letter}, id=f"c{letter}")]) for letter in "abc"]
    return openai.post(CHAT_URL).mock(side_effect=[*calls, chat_answer("done")])


@pytest.mark.parametrize(
    ("limits", "name", "requests"),
    [
        ({"cost": Decimal("0.20")}, "cost", 2),
        ({"tokens": 240}, "tokens", 2),
        ({"requests": 2}, "requests", 2),
        ({"tool_calls": 2}, "tool_calls", 3),
        ({"wall": timedelta(microseconds=1)}, "wall", 0),
    ],
)
async def test_each_limit_stops_the_agent_with_an_error_that_names_it(
    openai: respx.MockRouter, runs: Runs, limits: dict[str, Any], name: str, requests: int
) -> None:
    route = _answers(openai)
    runs.use(_registry(price=PRICE))

    with pytest.raises(BudgetExceeded) as reached:
        await runs.call(_agent(**limits), "?")

    assert reached.value.limit == name
    assert route.call_count == requests


async def test_max_turns_is_the_limit_of_requests(openai: respx.MockRouter, runs: Runs) -> None:
    _answers(openai)

    with pytest.raises(TurnsExceeded) as reached:
        await runs.call(Agent("looker", model="chat", tools=[look], max_turns=2), "?")

    assert reached.value.max_turns == 2


async def test_a_raised_limit_goes_on_without_paying_again(openai: respx.MockRouter, runs: Runs) -> None:
    route = _answers(openai)
    runs.use(_registry(price=PRICE))

    await runs.start(_agent(cost="0.10", on_reached="ask", assign_to="boss"), "?")
    first = await runs.asked()
    assert route.call_count == 1
    assert first.assign_to == "boss"
    shown = first.about.model_dump()
    assert (shown["limit"], shown["allowed"], shown["used"]) == ("cost", Decimal("0.10"), Decimal("0.10"))
    await runs.answer({"decision": "raise", "limit": "0.20"})
    await runs.asked()
    assert route.call_count == 2
    await runs.engine.close()
    await runs.answer({"decision": "raise", "limit": "9"})
    result = await runs.go_on()

    assert result.output == "done"
    assert result.cost == Decimal("0.40")
    assert route.call_count == 4
    assert LOOKED == {"a": 1, "b": 1, "c": 1}


async def test_a_limit_that_would_not_help_is_asked_for_again(openai: respx.MockRouter, runs: Runs) -> None:
    _answers(openai)
    runs.use(_registry(price=PRICE))
    await runs.start(_agent(tokens=100, on_reached="ask"), "?")
    await runs.asked()

    await runs.answer({"decision": "raise", "limit": "50"})

    assert "must be more than 120" in (await runs.asked()).message
    await runs.answer({"decision": "raise", "limit": "10000"})
    assert (await runs.outcome()).output == "done"


async def test_a_person_can_stop_the_agent(openai: respx.MockRouter, runs: Runs) -> None:
    _answers(openai)
    await runs.start(_agent(requests=1, on_reached="ask"), "?")
    await runs.asked()

    await runs.answer({"decision": "stop"})

    with pytest.raises(BudgetExceeded):
        await runs.outcome()


async def test_time_that_a_person_takes_does_not_count() -> None:
    from toolkit.agents.people import Desk

    desk = Desk(agent="a")
    started_at = desk.now() - timedelta(hours=3)
    desk.waited = timedelta(hours=2, minutes=59)

    Limits(wall=timedelta(minutes=5)).check_wall(desk.now() - started_at - desk.waited, agent="a")


async def test_a_limit_on_money_with_an_unknown_price_is_refused_at_start(runs: Runs) -> None:
    agent = _agent(cost="1")
    with pytest.raises(ConfigurationError, match=r"ai_models\.chat\.price"):
        _registry(model="a-model-of-our-own").check(agent)
    _registry(model="a-model-of-our-own", price=PRICE).check(agent)
    _registry(model="gpt-4o-mini").check(agent)

    runs.use(_registry(model="a-model-of-our-own"))
    with pytest.raises(ConfigurationError, match="unknown"):
        await runs.call(agent, "?")


@pytest.mark.parametrize(
    ("limits", "name"), [({"tool_calls": 1}, "tool_calls"), ({"tokens": 1}, "tokens"), ({"requests": 1}, "requests")]
)
async def test_limits_hold_outside_a_run_as_well(limits: dict[str, Any], name: str) -> None:
    script = ScriptedModel([call("look", letter="a")], [call("look", letter="b")], "done")
    with using_model(script.model), pytest.raises(BudgetExceeded) as reached:
        await _agent(**limits)("?")
    assert reached.value.limit == name


async def test_a_model_that_came_to_nothing_is_given_another_chance_from_the_start(runs: Runs) -> None:
    script = ScriptedModel([call("unknown")], [call("unknown")], "never")
    runs.use(_scripted(script))
    agent: Agent[str] = Agent("looker", model="chat", tools=[look], retries=Retries(behavior=1))

    with pytest.raises(ModelBehaviorError):
        await runs.call(agent, "?")

    paths = await runs.steps()
    assert "looker/0/model:0" in paths
    assert "looker/0/attempt:1/model:0" in paths
    assert script.requests == 4


async def test_what_a_lost_attempt_cost_is_counted(openai: respx.MockRouter, runs: Runs) -> None:
    bad = chat_answer(calls=[chat_call("unknown", {}, id="x")])
    openai.post(CHAT_URL).mock(side_effect=[bad, bad, chat_answer("done")])
    runs.use(_registry(price=PRICE))

    result = await runs.call(Agent("looker", model="chat", tools=[look], retries=Retries(behavior=1)), "?")

    assert result.output == "done"
    assert result.usage.requests == 3
    assert result.cost == Decimal("0.30")


@pytest.mark.parametrize(
    ("limits", "requests"),
    [
        ({"cost": Decimal("0.30")}, 3),
        ({"tokens": 360}, 3),
        ({"requests": 3}, 3),
        ({"tool_calls": 2}, 5),
        ({"wall": timedelta(minutes=3)}, 3),
    ],
)
async def test_limits_hold_for_all_attempts_of_a_call_together(
    openai: respx.MockRouter, runs: Runs, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], requests: int
) -> None:
    looking = chat_answer(calls=[chat_call("look", {"letter": "a"}, id="a")])
    bad = chat_answer(calls=[chat_call("unknown", {}, id="x")])
    each_attempt = [looking, bad, bad] if "tool_calls" in limits else [bad, bad]
    answers: Iterator[httpx.Response] = cycle(each_attempt)
    moments = [datetime(2026, 1, 1, tzinfo=UTC)]

    def answer(request: object) -> httpx.Response:
        moments[0] += timedelta(minutes=1)
        return next(answers)

    monkeypatch.setattr(people.Desk, "now", lambda self: moments[0])
    route = openai.post(CHAT_URL).mock(side_effect=answer)
    runs.use(_registry(price=PRICE))
    agent = Agent("looker", model="chat", tools=[look], retries=Retries(behavior=5), limits=Limits(**limits))

    with pytest.raises(BudgetExceeded) as reached:
        await runs.call(agent, "?")

    assert [reached.value.limit] == list(limits)
    assert route.call_count == requests


async def test_a_limit_that_was_raised_stays_raised_in_the_next_attempt(openai: respx.MockRouter, runs: Runs) -> None:
    bad = chat_answer(calls=[chat_call("unknown", {}, id="x")])
    route = openai.post(CHAT_URL).mock(side_effect=[bad, bad, chat_answer("done")])
    limits = Limits(tokens=100, on_reached="ask")
    await runs.start(Agent("looker", model="chat", tools=[look], retries=Retries(behavior=1), limits=limits), "?")

    await runs.asked()
    await runs.answer({"decision": "raise", "limit": "10000"})
    await runs.restart()
    result = await runs.outcome()

    assert (result.output, result.usage.requests) == ("done", 3)
    assert route.call_count == 3
    assert runs.questions.qsize() <= 1  # by the process that came by the answered question


@pytest.mark.parametrize("on_divergence", ["fail", "restart"])
async def test_changed_code_under_a_run_fails_or_begins_again(runs: Runs, on_divergence: Any) -> None:
    def changed(letter: str) -> str:
        """Look something up, in another way."""
        return letter

    changed.__name__ = "look"
    script = ScriptedModel([call("look", letter="a")], "done")
    runs.use(_scripted(script))
    before: Agent[str] = Agent("looker", model="chat", tools=[look])
    after: Agent[str] = Agent("looker", model="chat", tools=[changed], on_divergence=on_divergence)

    await runs.cut_off(Cut("after", "model:0"), before, "?")

    if on_divergence == "fail":
        with pytest.raises(AgentDiverged):
            await runs.go_on(after)
    else:
        assert (await runs.go_on(after)).output == "done"
        assert script.requests == 3


def _registry(**entry: Any) -> ModelRegistry:
    openai = {"provider": "openai", "model": "gpt-5-mini", "base_url": "https://models.test/v1", "api_key": "sk-test"}
    return ModelRegistry({"chat": {**openai, **entry}})


def _scripted(script: ScriptedModel) -> ModelRegistry:
    registry = ModelRegistry()
    registry.register_model_factory("chat", lambda settings: script.model)
    return registry
