"""Models that answer from a script, and tools that remember what they did, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponsePart, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

Turn = str | Sequence[ModelResponsePart]


class ScriptedModel:
    """Answers each turn of a conversation with the next line of a script, and counts the requests.

    The turn is read from the conversation itself, so a resumed agent goes on where its journal ends.
    ``before`` is called before each answer, with the number of the turn.
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
        line = self.turns[turn]
        return ModelResponse(parts=[TextPart(line)] if isinstance(line, str) else list(line))


def call(tool: str, /, id: str | None = None, **arguments: object) -> ToolCallPart:
    """A call of a tool, as a turn of a script names it."""
    return ToolCallPart(tool, arguments, tool_call_id=id or f"{tool}-1")
