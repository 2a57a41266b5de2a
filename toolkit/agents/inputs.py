"""Inputs: what an agent may be given, checked, and as its step keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from toolkit.errors import DefinitionError, InvalidInput
from toolkit.serialization import codec_for, describe


def check_input(input: Any, *, agent: str, input_type: Any) -> None:
    """Refuse what is neither of ``input_type`` nor anything that can be told a model.

    Raises:
        InvalidInput: it is not.
    """
    if input_type is not None and not _is_a(input_type, input):
        raise InvalidInput(f"agent {agent!r} takes {describe(input_type)}, not {type(input).__qualname__}")
    items = input if isinstance(input, list | tuple) else [input]
    wrong = [type(item).__qualname__ for item in items if not isinstance(item, str | BaseModel)]
    if wrong:
        raise InvalidInput(
            f"agent {agent!r} was given {wrong[0]}; its input is text, a Pydantic model, a File or a list of them"
        )


def check_tool_context(tool_context: Any, *, agent: str, wanted: type[Any] | None) -> None:
    """Refuse a tool context that is not what the agent declares.

    Raises:
        DefinitionError: it is not.
    """
    if wanted is None and tool_context is not None:
        raise DefinitionError(f"agent {agent!r} has no tool_context_type; declare it to pass tool_context=")
    if wanted is not None and not isinstance(tool_context, wanted):
        raise DefinitionError(
            f"agent {agent!r} needs tool_context={wanted.__qualname__}(...), not {type(tool_context).__qualname__}"
        )


def encode_arguments(input: Any, files: Sequence[Any], history: Any = None) -> str:
    """What a call was given, as JSON text for its step."""
    more = {} if history is None else {"history": history}
    return to_json({"input": input, "files": list(files), **more}).decode()


def decode_arguments(type_: type[BaseModel], text: str) -> tuple[BaseModel, Any, Any]:
    """Arguments as :func:`encode_arguments` wrote them, the input as today's type has it."""
    kept = from_json(text)
    return codec_for(type_).decode(to_json(kept["input"])), kept["files"], kept.get("history")


def _is_a(type_: Any, value: object) -> bool:
    """Whether ``value`` is of a class, of one class of a union, or of the class behind ``list[...]``."""
    origin = get_origin(type_)
    if origin in (Union, UnionType):
        return any(_is_a(arm, value) for arm in get_args(type_))
    return isinstance(value, origin or type_)
