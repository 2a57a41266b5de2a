"""Promise: the agents of a run stop at what the run may use, whichever of them used it, and go on where one raises it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import respx

from tests.agents.openai_http import CHAT_URL, chat_answer, chat_call
from tests.agents.runs import Runs
from toolkit.agents import Agent, Limits, ModelRegistry, run_limits, tool
from toolkit.errors import ConfigurationError, RunBudgetExceeded
from toolkit.storage import Database

PRICE = {"input_per_million": "1000", "output_per_million": "0"}  # 0.10 a request of 100 tokens
LOOKED: Counter[str] = Counter()


@tool(effect="read")
def look(letter: str) -> str:
    """Look something up."""
    LOOKED[letter] += 1
    return letter.upper()


LOOKER: Agent[str] = Agent("looker", model="chat", tools=[look])


@pytest.fixture
async def runs(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
    LOOKED.clear()
    openai = {"provider": "openai", "api": "chat", "model": "gpt-5-mini", "base_url": "https://models.test/v1"}
    registry = ModelRegistry({"chat": {**openai, "api_key": "sk-test", "price": PRICE}})
    async with Runs(database, registry).open(monkeypatch) as runs:
        yield runs


def _within(limits: Limits, *, times: int = 3, caught: list[RunBudgetExceeded] | None = None) -> Any:
    """A piece of a workflow that asks one agent several times, within the limits of the run."""

    async def ask(input: str) -> list[str]:
        outputs = []
        with run_limits(limits):
            for _ in range(times):
                try:
                    outputs.append((await LOOKER(input)).output)
                except RunBudgetExceeded as error:
                    if caught is None:
                        raise
                    caught.append(error)
        return outputs

    return ask


@pytest.mark.parametrize(
    ("limits", "name", "requests"),
    [
        ({"cost": Decimal("0.20")}, "cost", 2),
        ({"tokens": 240}, "tokens", 2),
        ({"requests": 1}, "requests", 1),
        ({"wall": timedelta(microseconds=1)}, "wall", 0),
    ],
)
async def test_each_limit_of_a_run_counts_all_its_agents(
    openai: respx.MockRouter, runs: Runs, limits: dict[str, Any], name: str, requests: int
) -> None:
    route = openai.post(CHAT_URL).mock(return_value=chat_answer("ok"))
    caught: list[RunBudgetExceeded] = []

    outputs = await runs.call(_within(Limits(**limits), caught=caught), "?")

    assert route.call_count == len(outputs) == requests
    assert {error.limit for error in caught} == {name}


async def test_the_tool_calls_of_one_answer_are_all_made_or_none(openai: respx.MockRouter, runs: Runs) -> None:
    two = chat_answer(calls=[chat_call("look", {"letter": letter}, id=letter) for letter in "ab"])
    openai.post(CHAT_URL).mock(side_effect=[two, chat_answer("ok"), two, chat_answer("ok")])
    caught: list[RunBudgetExceeded] = []

    await runs.call(_within(Limits(tool_calls=3), times=2, caught=caught), "?")

    assert LOOKED == {"a": 1, "b": 1}
    assert [(error.limit, error.used, error.allowed) for error in caught] == [("tool_calls", 2, 3)]


async def test_a_tool_whose_name_begins_like_that_of_the_result_is_counted(
    openai: respx.MockRouter, runs: Runs
) -> None:
    made = []

    @tool(effect="read")
    def final_result_x(letter: str) -> str:
        """Make something."""
        made.append(letter)
        return letter

    agent = Agent("maker", model="chat", tools=[final_result_x], output_type=int)
    two = chat_answer(calls=[chat_call("final_result_x", {"letter": letter}, id=letter) for letter in "ab"])
    openai.post(CHAT_URL).mock(side_effect=[two, chat_answer(calls=[chat_call("final_result", {"response": 7})])])

    async def ask(limit: int) -> int:
        with run_limits(Limits(tool_calls=limit)):
            return (await agent("?")).output

    with pytest.raises(RunBudgetExceeded):
        await runs.call(ask, 1)  # type: ignore[arg-type]  # anything that is awaited with one input
    assert made == []

    openai.post(CHAT_URL).mock(side_effect=[two, chat_answer(calls=[chat_call("final_result", {"response": 7})])])
    assert await runs.call(ask, 2) == 7  # type: ignore[arg-type]
    assert sorted(made) == ["a", "b"]


@pytest.mark.parametrize(
    ("limits", "first", "second"),
    [
        ({"cost": Decimal("0.10")}, ("cost", 1, "0.20"), ("cost", 2, "9")),
        ({"tool_calls": 0}, ("tool_calls", 1, "1"), ("tool_calls", 3, "9")),
    ],
)
async def test_a_person_raises_the_limit_of_a_run_and_nothing_is_paid_again(
    openai: respx.MockRouter, runs: Runs, limits: dict[str, Any], first: Any, second: Any
) -> None:
    calls = [chat_answer(calls=[chat_call("look", {"letter": letter}, id=letter)]) for letter in "ab"]
    route = openai.post(CHAT_URL).mock(side_effect=[calls[0], chat_answer("one"), calls[1], chat_answer("two")])

    await runs.start(_within(Limits(**limits, on_reached="ask", assign_to="boss"), times=2), "?")
    for limit, paid, raised in (first, second):
        question = await runs.asked()
        assert question.assign_to == "boss"
        assert question.about.model_dump()["limit"] == limit
        assert "agents of this run" in question.message
        assert route.call_count == paid
        await runs.answer({"decision": "raise", "limit": raised})
        await runs.restart()  # another process goes on, and stops where the first one stopped
    assert await runs.outcome() == ["one", "two"]

    assert route.call_count == 4
    assert LOOKED == {"a": 1, "b": 1}


async def test_a_person_can_stop_the_run(openai: respx.MockRouter, runs: Runs) -> None:
    openai.post(CHAT_URL).mock(return_value=chat_answer("ok"))
    await runs.start(_within(Limits(requests=1, on_reached="ask")), "?")
    await runs.asked()

    await runs.answer({"decision": "stop"})

    with pytest.raises(RunBudgetExceeded):
        await runs.outcome()


async def test_money_that_nobody_can_count_stops_the_run_and_names_the_model(
    openai: respx.MockRouter, runs: Runs
) -> None:
    openai_model = {"provider": "openai", "api": "chat", "base_url": "https://models.test/v1", "api_key": "sk-test"}
    runs.use(
        ModelRegistry(
            {
                "chat": {**openai_model, "model": "gpt-5-mini", "price": PRICE},
                "free": {**openai_model, "model": "a-model-of-our-own"},
            }
        )
    )
    answer = {**chat_answer("ok").json(), "model": "a-model-of-our-own"}
    route = openai.post(CHAT_URL).respond(200, json=answer)
    free: Agent[str] = Agent("free", model="free")

    async def ask(input: str) -> str:
        await free(input)
        with run_limits(Limits(cost=Decimal(1))):
            return (await LOOKER(input)).output

    with pytest.raises(ConfigurationError, match="what model 'free' cost is unknown"):
        await runs.call(ask, "?")  # type: ignore[arg-type]  # anything that is awaited with one input
    assert route.call_count == 1
