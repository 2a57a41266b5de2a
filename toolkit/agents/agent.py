"""The agent: a step whose work is done by a language model, with every paid request and every tool call kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, Literal

from pydantic import BaseModel
from typing_extensions import TypeVar

from toolkit.agents.accounts import current_account
from toolkit.agents.approvals import Approval
from toolkit.agents.attachments import check_files, files_of
from toolkit.agents.configs import AgentInput, Given, Retries
from toolkit.agents.fingerprints import digest
from toolkit.agents.histories import History
from toolkit.agents.inputs import check_input, check_tool_context, decode_arguments, encode_arguments
from toolkit.agents.limits import Limits
from toolkit.agents.prompts import WHOLE_INPUT, Prompt
from toolkit.agents.results import AgentRunResult, OutputT
from toolkit.agents.scorers import custom_scorers
from toolkit.agents.tools import (
    Effect,
    Tool,
    check_context_type,
    check_toolsets,
    check_wanted_contexts,
    pydantic_tools,
    tools_of,
)
from toolkit.agents.work import Work
from toolkit.errors import DefinitionError
from toolkit.files import File
from toolkit.serialization import Codec, codec_for
from toolkit.workflows import current_run, run_step, step_context

if TYPE_CHECKING:
    from pydantic_ai import Agent as PydanticAgent
    from pydantic_ai.toolsets import AbstractToolset

ContextT = TypeVar("ContextT", default=Any)

OutputMode = Literal["tool", "native", "prompted"]

_RETRIES = Retries()


class Agent(Generic[OutputT, ContextT]):
    """A named piece of work for a language model. Calling it inside a run is a step; outside, it simply runs.

    ``system_prompt`` and ``user_prompt`` are Jinja2 templates over the input: ``{{ input }}``, ``{{ input.vendor }}``.
    ``model`` is a key of ``ai_models``, or a string such as ``openai:gpt-5``. ``model_parameters`` are pydantic-ai's
    model settings and win over those of the configuration. ``max_turns`` bounds the requests of one call.

    ``output_type`` is checked by Pydantic; validators of it run again when a run resumes, so they must be pure. A tool
    may run again if the process dies inside it: give :func:`tool_idempotency_key` to what must happen once.
    ``toolsets`` are pydantic-ai's, each with an ``id`` of its own, which is part of the journal.
    Tools that move money wait for a person (``approval`` says who is asked); ``limits`` bounds what one call uses.
    Where the code changed under a run and would now ask something else, the run fails (``on_divergence="fail"``), or
    the agent begins its work again from the first request (``"restart"``), which pays and calls tools once more.

    With ``stream`` text is told while the model writes it (see :mod:`toolkit.agents.events`). With ``keep_history`` the
    result has a ``history``, which a later call of this or another agent takes to go on with the conversation.

    ``scorers`` (functions, or evaluators of pydantic-evals) and ``evaluation_context`` (makes the tool context) are for
    evaluations. ``activation_requires`` names a data set: a version is activated only after it has passed on it.

    Raises:
        DefinitionError: a template, a tool or the tool context is declared in a way that cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        output_type: type[OutputT] = str,  # type: ignore[assignment]  # the default of the type variable
        input_type: type[Any] | None = None,
        system_prompt: str = "",
        user_prompt: str = WHOLE_INPUT,
        tools: Sequence[Tool[ContextT] | Callable[..., Any]] = (),
        toolsets: Sequence[AbstractToolset[Any]] = (),
        tool_context_type: type[ContextT] | None = None,
        max_turns: int = 20,
        model_parameters: Mapping[str, Any] | None = None,
        output_mode: OutputMode = "tool",
        limits: Limits | None = None,
        approval: Approval | None = None,
        retries: Retries = _RETRIES,
        on_divergence: Literal["fail", "restart"] = "fail",
        stream: bool = False,
        keep_history: bool = False,
        scorers: Sequence[Any] = (),
        evaluation_context: Callable[[], ContextT] | None = None,
        activation_requires: str | None = None,
    ) -> None:
        if not name or "/" in name or any(character.isspace() for character in name):
            raise DefinitionError(
                f"an agent has the name {name!r}; expected one without '/' and without white space, because it is part "
                "of every path in the journal"
            )
        if max_turns < 1:
            raise DefinitionError(f"agent {name!r}: max_turns is {max_turns}; an agent needs at least one request")
        self.name, self.model = name, model
        self.output_type, self.input_type, self.tool_context_type = output_type, input_type, tool_context_type
        self.system_prompt = Prompt(system_prompt, place=f"agent {name!r}: system_prompt", input_type=input_type)
        self.user_prompt = Prompt(user_prompt, place=f"agent {name!r}: user_prompt", input_type=input_type)
        check_context_type(tool_context_type, agent=name)
        self.tools = tools_of(tools, agent=name)
        check_wanted_contexts(self.tools, agent=name, context_type=tool_context_type)
        self.toolsets = tuple(toolsets)
        check_toolsets(self.toolsets, agent=name)
        self.max_turns, self.retries = max_turns, retries
        limits = limits or Limits()
        self.has_request_limit = limits.requests is not None
        self.limits = limits if limits.requests is not None else limits.model_copy(update={"requests": max_turns})
        self.approval = approval or Approval()
        self.model_parameters = dict(model_parameters or {})
        self.output_mode, self.on_divergence = output_mode, on_divergence
        self.stream, self.keep_history = stream, keep_history
        self.scorers = tuple(scorers)
        custom_scorers(self.scorers, agent=name)
        self.evaluation_context, self.activation_requires = evaluation_context, activation_requires
        self._pydantic_agents: dict[bool, PydanticAgent[Any, Any]] = {}
        frame = sys._getframe(1)  # noqa: SLF001  # where the author wrote it, for messages about duplicates
        self.source = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, model={str(self.model)!r})"

    async def __call__(
        self,
        input: AgentInput,
        *,
        tool_context: ContextT | None = None,
        files: Sequence[File] = (),
        history: History | None = None,
    ) -> AgentRunResult[OutputT]:
        """Do the work for one input. ``files`` go along with it; a ``File`` as input goes as a file as well.

        ``history`` is that of an earlier result: the model is told what was said then, before this input.

        Raises:
            InvalidInput: the input is not what this agent takes.
            LimitExceeded: the files are larger than a request may be.
            ModelUnavailable: the model did not answer, however often it was asked.
            ConfigurationError: the model cannot be asked; the message says what to change.
            ModelBehaviorError: the model answered with nothing usable.
            BudgetExceeded: a limit was reached, and nobody raised it; ``TurnsExceeded`` if it is the requests.
            WrongContext: a person may have to be asked, and the agent was called inside a step or a tool.
            AgentDiverged: the code changed while the run was away, and would now ask something else.
        """
        check_input(input, agent=self.name, input_type=self.input_type)
        check_tool_context(tool_context, agent=self.name, wanted=self.tool_context_type)
        sent = files_of(input, files)
        check_files(sent)
        can_wait = current_run() is not None and step_context() is None  # below a step or a tool no run can wait
        given = Given(input=input, files=sent, tool_context=tool_context, history=history)
        work = Work(self, given, can_wait=can_wait)
        account = current_account()
        with account.counting(work.total) if account is not None else nullcontext():
            result = await run_step(
                name=self.name,
                kind="agent",
                body=work.run,
                result=self._result_codec,
                arguments=encode_arguments(input, files, history),
                decode=partial(decode_arguments, type(input)) if isinstance(input, BaseModel) else None,
                can_wait=can_wait,
            )
            work.settle(result)
        return result

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of the input; text when no ``input_type`` is declared."""
        return codec_for(self.input_type or str).schema()

    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of ``output``."""
        return codec_for(self.output_type).schema()

    def pydantic_agent(self, *, streams: bool) -> PydanticAgent[Any, Any]:
        """The library's agent that does the asking; one that ``streams`` tells text while it is written."""
        from toolkit.agents.assembly import assemble

        if streams not in self._pydantic_agents:
            self._pydantic_agents[streams] = assemble(self, streams=streams)
        return self._pydantic_agents[streams]

    @cached_property
    def result_type(self) -> type[AgentRunResult[OutputT]]:
        """What a call returns."""
        return AgentRunResult.__class_getitem__(self.output_type)  # type: ignore[return-value]

    @cached_property
    def _result_codec(self) -> Codec[AgentRunResult[OutputT]]:
        return codec_for(self.result_type)

    @cached_property
    def tools_digest(self) -> str:
        """Sixteen digits that change with what the model is told of the tools."""
        tools = pydantic_tools(self.tools, agent=self.name)
        return digest([(found.name, found.description, found.function_schema.json_schema) for found in tools])

    @cached_property
    def effects(self) -> dict[str, Effect]:
        """What each tool does, by name, where that is declared."""
        known: dict[str, Effect] = {}
        for toolset in self.toolsets:
            known |= getattr(toolset, "effects", {})
        return known | {tool.name: tool.effect for tool in self.tools}

    @cached_property
    def gated(self) -> frozenset[str]:
        """The names of the tools of which each call waits for a person."""
        return frozenset(tool.name for tool in self.tools if tool.is_gated)
