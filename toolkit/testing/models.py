"""A model that answers from a script: no network, no key, the same words every time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponsePart, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from toolkit.errors import ModelBehaviorError

Turn = str | BaseModel | Sequence[ModelResponsePart]
"""What a model says in one turn: text, an output of the agent's type, or tool calls (see :func:`call_tool`)."""


class ScriptedModel:
    """Answers each turn of a conversation with the next line of a script, and counts the requests.

    The turn is read from the conversation itself, so a resumed agent goes on where its journal ends. ``before`` is
    called before each answer, with the number of the turn from 0. ``heard`` holds the messages of each request.
    """

    def __init__(self, *turns: Turn, before: Callable[[int], None] = lambda turn: None) -> None:
        self.turns = turns
        self.before = before
        self.requests = 0
        self.heard: list[list[ModelMessage]] = []
        self.model = FunctionModel(self._answer, model_name="scripted")

    def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        self.before(turn)
        self.requests += 1
        self.heard.append(messages)
        if turn >= len(self.turns):
            raise ModelBehaviorError(f"the script has {len(self.turns)} turn(s), and the agent asks for one more")
        return ModelResponse(parts=_parts(self.turns[turn], info))


def call_tool(tool: str, /, id: str | None = None, **arguments: object) -> ToolCallPart:
    """A call of a tool, as a turn of a script names it."""
    return ToolCallPart(tool, arguments, tool_call_id=id or f"{tool}-1")


def _parts(line: Turn, info: AgentInfo) -> list[ModelResponsePart]:
    if isinstance(line, str):
        return [TextPart(line)]
    if not isinstance(line, BaseModel):
        return list(line)
    values: dict[str, Any] = line.model_dump(mode="json")
    if not info.output_tools:  # the agent asks for its output as text
        return [TextPart(line.model_dump_json())]
    return [ToolCallPart(info.output_tools[0].name, values, tool_call_id="output")]
