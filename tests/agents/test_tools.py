from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.agents.runs import Runs
from toolkit.agents import (
    Agent,
    ModelRetry,
    ToolContext,
    get_tool_context,
    tool,
    tool_idempotency_key,
    using_model,
)
from toolkit.errors import DefinitionError, SerializationError, WrongContext


@dataclass(frozen=True)
class Vendors:
    numbers: tuple[str, ...]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Line(BaseModel):
    total: Decimal


class Named(NamedTuple):
    a: int


@tool
async def with_context(ctx: ToolContext[Vendors], position: int) -> str:
    """Read a number."""
    return ctx.deps.numbers[position]


def without_context(position: int) -> str:
    """Read a number."""
    return get_tool_context(Vendors).numbers[position]


def calling(name: str, arguments: dict[str, Any]) -> FunctionModel:
    """A model that calls one tool and repeats what it returned."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        last = messages[-1]
        assert isinstance(last, ModelRequest)
        returned = [part.content for part in last.parts if isinstance(part, ToolReturnPart)]
        if returned:
            return ModelResponse(parts=[TextPart(str(returned[0]))])
        return ModelResponse(parts=[ToolCallPart(name, arguments)])

    return FunctionModel(answer)


@pytest.mark.parametrize("name", ["with_context", "without_context"])
async def test_async_and_sync_tools_reach_their_context(name: str) -> None:
    agent = Agent("find", model="m", tools=[with_context, without_context], tool_context_type=Vendors)

    with using_model(calling(name, {"position": 1})):
        result = await agent("?", tool_context=Vendors(("a", "b")))

    assert result.output == "b"


async def test_a_tool_can_send_the_model_back() -> None:
    asked = []

    def pick(number: int) -> int:
        asked.append(number)
        if number == 1:
            raise ModelRetry("two, please")
        return number

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(asked) == 2:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart("pick", {"number": len(asked) + 1})])

    with using_model(FunctionModel(answer)):
        result = await Agent("pick", model="m", tools=[pick])("?")

    assert (result.output, asked, result.usage.tool_calls) == ("done", [1, 2], 1)


@pytest.mark.parametrize("context_type", [Vendors, Frozen, Named])
def test_a_tool_context_is_immutable(context_type: type[Any]) -> None:
    Agent("find", model="m", tool_context_type=context_type)


def test_a_mutable_tool_context_is_refused_at_definition() -> None:
    @dataclass
    class Mutable:
        a: int

    class MutableModel(BaseModel):
        a: int

    for context_type in (Mutable, MutableModel, dict):
        with pytest.raises(DefinitionError, match="frozen"):
            Agent("find", model="m", tool_context_type=context_type)


async def test_a_missing_or_wrong_tool_context_is_refused_before_anything_is_asked() -> None:
    agent = Agent("find", model="m", tools=[with_context], tool_context_type=Vendors)

    with pytest.raises(DefinitionError, match=r"needs tool_context=Vendors"):
        await agent("?")
    with pytest.raises(DefinitionError, match=r"needs tool_context=Vendors\(...\), not Named"):
        await agent("?", tool_context=Named(1))  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="no tool_context_type"):
        await Agent("find", model="m")("?", tool_context=Named(1))


def test_a_tool_that_wants_another_context_is_refused_at_definition() -> None:
    for context_type in (Named, None):
        with pytest.raises(DefinitionError, match=r"wants ToolContext\[Vendors\]"):
            Agent("find", model="m", tools=[with_context.function], tool_context_type=context_type)


async def test_a_tool_may_return_models_and_numbers() -> None:
    def lines() -> list[Line]:
        return [Line(total=Decimal("1.50"))]

    with using_model(calling("lines", {})):
        assert "1.50" in (await Agent("read", model="m", tools=[lines])("?")).output


async def test_a_tool_that_returns_what_cannot_be_stored_is_an_error_that_says_so(runs: Runs) -> None:
    def connect() -> object:
        return object()

    runs.registry.register_model_factory("m", lambda settings: calling("connect", {}))
    with pytest.raises(SerializationError, match="a tool returned what cannot be stored"):
        await runs.call(Agent("read", model="m", tools=[connect]), "?")


def test_tools_have_names_of_their_own() -> None:
    def final_result() -> str:
        return ""

    with pytest.raises(DefinitionError, match="two tools called 'without_context'"):
        Agent("find", model="m", tools=[without_context, without_context])
    with pytest.raises(DefinitionError, match="final_result"):
        Agent("find", model="m", tools=[final_result])
    with pytest.raises(DefinitionError, match="is not a function with a name"):
        Agent("find", model="m", tools=[lambda: ""])


def test_what_belongs_to_a_call_is_refused_outside_of_one() -> None:
    with pytest.raises(WrongContext):
        get_tool_context()
    with pytest.raises(WrongContext):
        tool_idempotency_key()
