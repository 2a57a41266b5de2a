"""Tools: functions of the author that a model may call, and what they may ask about their call."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from pydantic import BaseModel
from typing_extensions import TypeVar

from toolkit.agents.calls import current_call
from toolkit.agents.delegates import as_function, is_harmless
from toolkit.errors import DefinitionError, WrongContext
from toolkit.ids import new_id
from toolkit.workflows import step_context

if TYPE_CHECKING:
    from pydantic_ai import RunContext as ToolContext
    from pydantic_ai import Tool as PydanticTool
    from pydantic_ai.toolsets import AbstractToolset

ContextT = TypeVar("ContextT", default=Any)
ContextT_contra = TypeVar("ContextT_contra", contravariant=True, default=Any)
ParamsP = ParamSpec("ParamsP")

RESERVED_NAME = "final_result"
"""The tool by which a model hands in structured output."""


Effect = Literal["read", "write", "money", "external"]
"""What a tool does to the world: nothing; change what is ours; move money; reach somebody outside."""


@dataclass(frozen=True)
class Tool(Generic[ContextT_contra]):
    """A function marked by :func:`tool`, so that type checkers know which tool context it wants."""

    function: Callable[..., Any]
    effect: Effect = "write"
    needs_approval: bool | None = None
    """Whether a person decides about each call; left out, that is so where the effect is ``money``."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def is_gated(self) -> bool:
        """Whether no call of it runs without a person's approval."""
        return self.effect == "money" if self.needs_approval is None else self.needs_approval


class _Mark(Protocol):
    """``tool(...)``, waiting for its function."""

    @overload
    def __call__(self, function: Callable[Concatenate[ToolContext[ContextT], ParamsP], Any], /) -> Tool[ContextT]: ...
    @overload
    def __call__(self, function: Callable[..., Any], /) -> Tool[Any]: ...


@overload
def tool(*, effect: Effect = "write", needs_approval: bool | None = None) -> _Mark: ...
@overload
def tool(function: Callable[Concatenate[ToolContext[ContextT], ParamsP], Any], /) -> Tool[ContextT]: ...
@overload
def tool(function: Callable[..., Any], /) -> Tool[Any]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, effect: Effect = "write", needs_approval: bool | None = None
) -> Any:
    """Mark a function, sync or async, as a tool. A model reads its name, its docstring and its parameters.

    A plain function can be given to an agent as well; the mark lets type checkers see a tool whose
    ``ToolContext[...]`` is not the agent's ``tool_context_type``, and says what the tool does to the world. With
    ``effect="money"`` no call of it runs before a person has approved it.
    """
    if function is None:
        return lambda function: Tool(function, effect, needs_approval)
    return Tool(function, effect, needs_approval)


@overload
def get_tool_context() -> Any: ...
@overload
def get_tool_context(context_type: type[ContextT], /) -> ContextT: ...
def get_tool_context(context_type: type[Any] | None = None, /) -> Any:
    """The ``tool_context`` of the agent that runs here, for tools (and what they call) that are not handed it.

    Raises:
        WrongContext: no agent is running here, or its tool context is not a ``context_type``.
    """
    call = current_call()
    if call is None:
        raise WrongContext("get_tool_context() was called where no agent is running; call it inside a tool")
    if context_type is not None and not isinstance(call.tool_context, context_type):
        raise WrongContext(
            f"the tool context of agent {call.agent!r} is a {type(call.tool_context).__qualname__}, "
            f"not a {context_type.__qualname__}"
        )
    return call.tool_context


def tool_idempotency_key() -> str:
    """A key of this tool call, the same in every attempt of it: hand it to whatever must act once.

    Outside a run nothing is attempted twice, and the key is a fresh one.

    Raises:
        WrongContext: no agent is running here.
    """
    if current_call() is None:
        raise WrongContext("tool_idempotency_key() was called where no agent is running; call it inside a tool")
    step = step_context()
    return step.idempotency_key if step is not None else new_id()


def tools_of(tools: Iterable[Tool[Any] | Callable[..., Any]], *, agent: str) -> tuple[Tool[Any], ...]:
    """An agent's tools; what has no mark gets the usual one. Steps, rules and agents become functions.

    Raises:
        DefinitionError: something is not a named function, a name comes twice, or it is reserved.
    """
    marked = tuple(_marked(found, agent=agent) for found in tools)
    names: set[str] = set()
    for found in marked:
        name = getattr(found.function, "__name__", "")
        if not name.isidentifier():
            raise DefinitionError(
                f"agent {agent!r}: tool {found.function!r} is not a function with a name; write a def for it"
            )
        if name == RESERVED_NAME:
            raise DefinitionError(
                f"agent {agent!r}: a tool may not be called {name!r}; models hand in their result by it"
            )
        if name in names:
            raise DefinitionError(f"agent {agent!r} has two tools called {name!r}; give one another name")
        if found.effect not in get_args(Effect):
            raise DefinitionError(
                f"agent {agent!r}: tool {name!r} has the effect {found.effect!r}; "
                f"expected one of {', '.join(get_args(Effect))}"
            )
        names.add(name)
    return marked


def _marked(found: Tool[Any] | Callable[..., Any], *, agent: str) -> Tool[Any]:
    if isinstance(found, Tool):
        return replace(found, function=as_function(found.function, agent=agent))
    return Tool(as_function(found, agent=agent), "read" if is_harmless(found) else "write")


def check_context_type(context_type: type[Any] | None, *, agent: str) -> None:
    """A tool context is rebuilt for each attempt, so what a tool changes in it would be lost: it must be frozen.

    Raises:
        DefinitionError: it is not.
    """
    if context_type is None:
        return
    if isinstance(context_type, type):
        if issubclass(context_type, tuple):
            return
        if is_dataclass(context_type) and cast("Any", context_type).__dataclass_params__.frozen:
            return
        if issubclass(context_type, BaseModel) and context_type.model_config.get("frozen"):
            return
    raise DefinitionError(
        f"agent {agent!r}: tool_context_type must be a frozen dataclass, a frozen Pydantic model or a named tuple, "
        f"not {context_type!r}; write @dataclass(frozen=True)"
    )


def check_toolsets(toolsets: Iterable[AbstractToolset[Any]], *, agent: str) -> None:
    """A toolset's id stands in the keys of its calls; without one a resumed run could not find them again.

    Raises:
        DefinitionError: one has no id, or two have the same.
    """
    seen: set[str] = set()
    for toolset in toolsets:
        if not toolset.id:
            raise DefinitionError(
                f"agent {agent!r}: toolset {type(toolset).__qualname__} has no id; give it one that stays, id='...'"
            )
        if toolset.id in seen:
            raise DefinitionError(f"agent {agent!r} has two toolsets with the id {toolset.id!r}; give one another id")
        seen.add(toolset.id)


def check_wanted_contexts(tools: Iterable[Tool[Any]], *, agent: str, context_type: type[Any] | None) -> None:
    """Find a tool whose ``ToolContext[...]`` is not the agent's; what no annotation resolves to yet is let pass.

    Raises:
        DefinitionError: there is one.
    """
    library = sys.modules.get("pydantic_ai")
    if library is None:  # then no annotation can mean its RunContext
        return
    for function in (found.function for found in tools):
        try:
            hints = get_type_hints(function)
        except NameError:
            continue
        first = hints.get(next(iter(inspect.signature(function).parameters), ""))
        wanted = get_args(first)[0] if get_origin(first) is library.RunContext else Any
        if wanted is Any or (context_type is not None and issubclass(context_type, wanted)):
            continue
        has = "has no tool_context_type" if context_type is None else f"has {context_type.__qualname__}"
        raise DefinitionError(
            f"agent {agent!r}: tool {function.__name__!r} wants ToolContext[{wanted.__qualname__}], and the agent {has}"
        )


def pydantic_tools(tools: Sequence[Tool[Any]], *, agent: str) -> list[PydanticTool[Any]]:
    """The tools as pydantic-ai wants them.

    Raises:
        DefinitionError: the parameters of one have no JSON schema, or their annotations cannot be resolved.
    """
    from pydantic import PydanticUserError
    from pydantic_ai import Tool as PydanticTool
    from pydantic_ai.exceptions import UserError

    made: list[PydanticTool[Any]] = []
    for found in tools:
        try:
            made.append(PydanticTool(found.function, requires_approval=found.is_gated))
        except (UserError, PydanticUserError, NameError) as error:
            raise DefinitionError(f"agent {agent!r}: tool {found.name!r} cannot be offered: {error}") from error
    return made
