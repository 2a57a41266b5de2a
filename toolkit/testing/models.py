"""A model that answers from a script: no network, no key, the same words every time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponsePart, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_core import to_json, to_jsonable_python

from toolkit.errors import ModelBehaviorError

Turn = Any
"""What a model says in one turn: text, an output of the agent's type, or a list of tool calls (see :func:`call_tool`).

An empty list says nothing; an output that is one is ``call_tool("final_result", response=[])``.
"""


_WRAPPER = "response"  # pydantic-ai's name for it


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
    """A call of a tool, as a turn of a script names it; without an ``id`` the calls in a turn are numbered by tool."""
    return ToolCallPart(tool, arguments, tool_call_id=id or f"{tool}-1")


def _parts(line: Turn, info: AgentInfo) -> list[ModelResponsePart]:
    if isinstance(line, str):
        return [TextPart(line)]
    if isinstance(line, list | tuple) and all(hasattr(one, "part_kind") for one in line):
        return _numbered(line)
    if not info.output_tools:  # the agent asks for its output as text
        wanted = info.model_request_parameters.output_object
        is_wrapped = wanted is not None and wanted.json_schema.get("properties", {}).keys() == {_WRAPPER}
        values = to_jsonable_python(line)
        is_bare = not isinstance(values, dict) or values.keys() != {_WRAPPER}
        return [TextPart(to_json({_WRAPPER: values} if is_wrapped and is_bare else values).decode())]
    tool = info.output_tools[0]
    values = to_jsonable_python(line)
    if tool.outer_typed_dict_key is not None:  # models hand in objects, so that whatever is none stands in one
        values = {tool.outer_typed_dict_key: values}
    if not isinstance(values, dict):
        raise ModelBehaviorError(
            f"the script hands in a {type(line).__name__}, and the output of the agent is an object"
        )
    return [ToolCallPart(tool.name, values, tool_call_id="output")]


def _numbered(parts: Iterable[ModelResponsePart]) -> list[ModelResponsePart]:
    """The parts of one turn, in which each call that was given no id of its own gets the next number of its tool."""
    numbered: list[ModelResponsePart] = []
    used: set[str] = set()
    for part in parts:
        if not isinstance(part, ToolCallPart):
            numbered.append(part)
            continue
        call_id, number = part.tool_call_id, 1
        while call_id in used and call_id == f"{part.tool_name}-{number}":
            number += 1
            call_id = f"{part.tool_name}-{number}"
        used.add(call_id)
        numbered.append(replace(part, tool_call_id=call_id))
    return numbered
