"""Promise: a script says whatever a model may say: text, outputs of any type, and several calls in one turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent as LibraryAgent
from pydantic_ai import NativeOutput

from toolkit.agents import Agent
from toolkit.errors import ModelBehaviorError
from toolkit.testing import ScriptedModel, call_tool, run_workflow
from toolkit.workflows import workflow


class Letter(BaseModel):
    sender: str


@dataclass
class Parcel:
    weight: int


paid: list[int] = []


def pay(amount: int) -> str:
    """Pay."""
    paid.append(amount)
    return f"paid {amount}"


payer = Agent("payer", model="m", output_type=Letter, user_prompt="{{ input }}", tools=[pay])
weigher = Agent("weigher", model="m", output_type=Parcel, user_prompt="{{ input }}")
counter = Agent("counter", model="m", output_type=int, user_prompt="{{ input }}")


@workflow()
async def settle_bills(text: str) -> str:
    return (await payer(text)).output.sender


@workflow()
async def weigh_only(text: str) -> int:
    return (await weigher(text)).output.weight


@workflow()
async def count_only(text: str) -> int:
    return (await counter(text)).output


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        (int, 3),
        (float, 0.5),
        (bool, True),
        (list[int], [1, 2]),
        (list[Letter], [Letter(sender="ACME")]),
        (dict[str, int], {"a": 1}),
        (Letter, Letter(sender="ACME")),
        (Parcel, Parcel(weight=3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", [lambda kind: kind, NativeOutput], ids=["tool", "text"])
async def test_an_output_of_any_type_is_handed_in(kind: Any, output: Any, mode: Any) -> None:
    agent = LibraryAgent(ScriptedModel(output).model, output_type=mode(kind))

    assert (await agent.run("go")).output == output


async def test_an_object_may_be_said_as_a_mapping() -> None:
    script = ScriptedModel({"sender": "ACME"})

    assert (await LibraryAgent(script.model, output_type=Letter).run("go")).output == Letter(sender="ACME")


async def test_agents_in_a_workflow_take_such_outputs() -> None:
    assert await run_workflow(weigh_only, "x", models={"m": ScriptedModel(Parcel(weight=3))}) == 3
    assert await run_workflow(count_only, "x", models={"m": ScriptedModel(4)}) == 4


async def test_what_cannot_be_an_output_of_the_agent_is_said() -> None:
    with pytest.raises(ModelBehaviorError, match="the script hands in a int, and the output of the agent is an object"):
        await LibraryAgent(ScriptedModel(3).model, output_type=Letter).run("go")


async def test_a_tool_may_be_called_twice_in_one_turn() -> None:
    paid.clear()
    script = ScriptedModel(
        [call_tool("pay", amount=1), call_tool("pay", amount=2), call_tool("pay", "mine", amount=3)],
        Letter(sender="ACME"),
    )

    assert await run_workflow(settle_bills, "x", models={"m": script}) == "ACME"

    assert sorted(paid) == [1, 2, 3]
    said = script.heard[1][1].parts
    assert [getattr(part, "tool_call_id", None) for part in said] == ["pay-1", "pay-2", "mine"]
