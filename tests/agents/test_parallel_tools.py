from __future__ import annotations

import asyncio

import pytest

from tests.agents.runs import Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, tool_idempotency_key, using_model

LETTERS = "abc"


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
async def test_parallel_tools_may_end_in_any_order(runs: Runs, order: str) -> None:
    ended = {letter: asyncio.Event() for letter in LETTERS}
    ended_in: list[str] = []

    async def look(letter: str) -> str:
        """Look something up, after those before it in the order."""
        place = order.index(letter)
        if place > 0:
            await ended[order[place - 1]].wait()
        ended_in.append(letter)
        ended[letter].set()
        return letter.upper()

    script = ScriptedModel([call("look", id=letter, letter=letter) for letter in LETTERS], "done")
    runs.registry.register_model_factory("m", lambda settings: script.model)

    result = await runs.call(Agent("find", model="m", tools=[look]), "?")

    assert ended_in == list(order)
    assert result.usage.tool_calls == 3
    recorded = [path for path in await runs.steps() if "/tool:" in path]
    assert sorted(path.rpartition("#")[2] for path in recorded) == ["a:0", "b:0", "c:0"]


async def test_each_tool_call_has_an_idempotency_key_of_its_own(runs: Runs) -> None:
    keys: list[str] = []

    def pay(amount: int) -> str:
        """Pay something."""
        keys.append(tool_idempotency_key())
        return "paid"

    script = ScriptedModel([call("pay", id="a", amount=1), call("pay", id="b", amount=1)], "done")
    runs.registry.register_model_factory("m", lambda settings: script.model)

    await runs.call(Agent("pay", model="m", tools=[pay]), "?")

    assert len(set(keys)) == 2
    assert all("/tool:agent:pay#" in key for key in keys)


async def test_one_model_serves_many_calls_at_once() -> None:
    script = ScriptedModel("done")
    agent = Agent("many", model="m", user_prompt="{{ input }}")

    with using_model(script.model):
        results = await asyncio.gather(*(agent(str(number)) for number in range(10)))

    assert [result.output for result in results] == ["done"] * 10
    assert script.requests == 10
