"""Delegates: steps, rules and other agents as tools. A model calls them like functions; below, they are what they are.

Rooms beside this one are not known here, so a delegate is recognised by its shape: something with a name, an
``input_type`` and an ``output_type`` that is awaited with one input (rules, agents), or a wrapped function that is
awaited with its own arguments (steps). What it does in a run is recorded below the tool's own checkpoint.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, Protocol, get_type_hints, runtime_checkable

from toolkit.agents.results import AgentRunResult
from toolkit.errors import DefinitionError


@runtime_checkable
class Asked(Protocol):
    """What is awaited with one input: a rule or an agent."""

    name: str
    input_type: Any
    output_type: Any


def as_function(found: Any, *, agent: str) -> Callable[..., Any]:
    """``found`` as a function that a model can call; a function stays what it is.

    Raises:
        DefinitionError: it is none of what a tool can be.
    """
    if isinstance(found, FunctionType | MethodType):
        return found
    if isinstance(found, Asked) and callable(found):
        return _asking(found)
    if callable(found) and isinstance(getattr(found, "__wrapped__", None), FunctionType):
        return _calling(found)
    if not callable(found) or not str(getattr(found, "__name__", "")).isidentifier():
        raise DefinitionError(f"agent {agent!r}: tool {found!r} is not a function with a name; write a def for it")
    function: Callable[..., Any] = found
    return function


def is_harmless(found: Any) -> bool:
    """Whether a delegate is known to change nothing: rules do not, nor do agents whose tools all read."""
    if isinstance(found, FunctionType) or not isinstance(found, Asked):
        return False
    tools = getattr(found, "tools", ())
    return all(tool.effect == "read" for tool in tools) and not getattr(found, "toolsets", ())


def _asking(asked: Any) -> Callable[..., Any]:
    """A function of one parameter, ``input``; a model with fields is spread out to its fields by pydantic-ai."""

    async def ask(input: Any) -> Any:
        answered = await asked(input)
        return answered.output if isinstance(answered, AgentRunResult) else answered

    takes, gives = asked.input_type or str, asked.output_type
    ask.__name__ = ask.__qualname__ = asked.name
    ask.__doc__ = _description(asked)
    ask.__annotations__ = {"input": takes, "return": gives}
    return ask


def _calling(step: Any) -> Callable[..., Any]:
    """A function with the parameters of the step's own."""
    wrapped = step.__wrapped__

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await step(*args, **kwargs)

    call.__name__ = call.__qualname__ = step.__name__
    call.__doc__ = inspect.getdoc(wrapped)
    call.__module__ = wrapped.__module__
    call.__annotations__ = get_type_hints(wrapped)
    call.__signature__ = inspect.signature(wrapped, eval_str=True)  # type: ignore[attr-defined]  # read by inspect
    return call


def _description(asked: Any) -> str:
    """What a model reads about it: the author's words where there are some."""
    written = getattr(asked, "description", None) or inspect.getdoc(getattr(asked, "__wrapped__", None))
    return written or f"Have {asked.name!r} work on an input, and get its result."
