"""A pydantic-ai model that needs no network and no key: it reads the attached PDF by its labels.

It is called ``offline`` wherever a model's name is shown. It behaves as a model does towards an agent: it is given the
document in the user message, may call a tool, and answers through the output tool. Unlike a model it cannot be talked
to: sentences on the page are text without labels to it, whatever they command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from pydantic_ai import BinaryContent
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from examples.invoice.agents.extraction import Extraction
from examples.invoice.agents.labels import read_labels
from examples.invoice.files.pdf import read_pdf
from examples.invoice.files.unreadable import UnreadableFile

NAME = "offline"
LOOKUP_TOOL = "find_vendor"


def offline_model() -> FunctionModel:
    """A new offline model; it holds no state."""
    return FunctionModel(_answer, model_name=NAME)


def _answer(messages: list[ModelMessage], agent: AgentInfo) -> ModelResponse:
    extraction = _read(messages)
    seller = extraction.invoice.seller if extraction.invoice else None
    offers_lookup = any(tool.name == LOOKUP_TOOL for tool in agent.function_tools)
    if seller is not None and offers_lookup and not _has_looked_up(messages):
        return _call(LOOKUP_TOOL, {"name": seller.name, "vat_id": seller.vat_id}, turn=len(messages))
    output = extraction.model_dump(mode="json")
    if agent.output_tools:
        return _call(agent.output_tools[0].name, output, turn=len(messages))
    return ModelResponse(parts=[TextPart(json.dumps(output))], model_name=NAME)


def _call(tool: str, arguments: dict[str, object], *, turn: int) -> ModelResponse:
    # The same conversation must give the same id: a resumed run compares what it asks with what it asked before.
    return ModelResponse(parts=[ToolCallPart(tool, arguments, tool_call_id=f"offline-{turn}")], model_name=NAME)


def _read(messages: Sequence[ModelMessage]) -> Extraction:
    document = next(_documents(messages), None)
    if document is None:
        return Extraction(problem="no PDF came with the question")
    try:
        return read_labels(read_pdf(document.data).text)
    except UnreadableFile as error:
        return Extraction(problem=str(error)[:500])


def _documents(messages: Sequence[ModelMessage]) -> Iterator[BinaryContent]:
    for message in messages:
        if not isinstance(message, ModelRequest):
            continue
        for part in message.parts:
            if isinstance(part, UserPromptPart) and not isinstance(part.content, str):
                for content in part.content:
                    if isinstance(content, BinaryContent) and content.media_type == "application/pdf":
                        yield content


def _has_looked_up(messages: Sequence[ModelMessage]) -> bool:
    return any(
        isinstance(part, ToolReturnPart) and part.tool_name == LOOKUP_TOOL
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
    )
