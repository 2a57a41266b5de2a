"""The agent: a step whose work is done by a language model, with every paid request and every tool call kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, Literal

from pydantic import BaseModel
from typing_extensions import TypeVar

from toolkit.agents.approvals import Approval
from toolkit.agents.attachments import check_files, files_of, read_message
from toolkit.agents.calls import AgentCall, current_spending, entered
from toolkit.agents.changes import Definition
from toolkit.agents.configs import AgentInput, Given, RecordedConfig, Retries
from toolkit.agents.events import Channel, shown, tell
from toolkit.agents.failures import retry_policy, translated_failure
from toolkit.agents.fingerprints import digest
from toolkit.agents.histories import History, keep_history, recall_history
from toolkit.agents.inputs import check_input, check_tool_context, encode_arguments, reencode_arguments
from toolkit.agents.limits import Limits, ask_to_raise
from toolkit.agents.model_registry import ModelRegistry, current_registry
from toolkit.agents.people import Desk, People
from toolkit.agents.prices import price_of
from toolkit.agents.prompts import WHOLE_INPUT, Prompt
from toolkit.agents.results import AgentRunResult, OutputT, Spending, Usage, total
from toolkit.agents.run_budgets import current_run_limits, recall_stop
from toolkit.agents.scorers import custom_scorers
from toolkit.agents.service import AgentService
from toolkit.agents.simulations import current_simulation
from toolkit.agents.tools import (
    Effect,
    Tool,
    check_context_type,
    check_toolsets,
    check_wanted_contexts,
    pydantic_tools,
    tools_of,
)
from toolkit.errors import (
    AgentDiverged,
    BudgetExceeded,
    DefinitionError,
    ModelBehaviorError,
    RunBudgetExceeded,
)
from toolkit.files import File
from toolkit.serialization import Codec, codec_for
from toolkit.workflows import checkpoint, current_run, resource, run_step, step_context

if TYPE_CHECKING:
    from pydantic_ai import Agent as PydanticAgent
    from pydantic_ai.messages import ModelResponse, UserContent
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
        result = await run_step(
            name=self.name,
            kind="agent",
            body=partial(self._perform, given, can_wait=can_wait),
            result=self._result_codec,
            arguments=encode_arguments(input, files, history),
            reencode=partial(reencode_arguments, type(input)) if isinstance(input, BaseModel) else None,
            can_wait=can_wait,
        )
        spending = current_spending()
        if spending is not None:
            spending.add(result.usage, result.cost)
        return result

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of the input; text when no ``input_type`` is declared."""
        return codec_for(self.input_type or str).schema()

    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of ``output``."""
        return codec_for(self.output_type).schema()

    async def _perform(self, given: Given, *, can_wait: bool) -> AgentRunResult[OutputT]:
        step = step_context()
        desk = Desk(agent=self.name, people=resource(People), obstacle=None if can_wait else _obstacle())
        may_ask = current_simulation() is None
        if (
            step is not None
            and may_ask
            and desk.obstacle is not None
            and (self._gated or self.limits.on_reached == "ask")
        ):
            desk.require()  # before anything is paid
        lost = Spending()
        result = await self._attempts(given, desk, lost)
        result = result.model_copy(update={"usage": result.usage + lost.usage, "cost": total((result.cost, lost.cost))})
        if step is not None:
            step.details.update(model=result.model, usage=result.usage.model_dump(), cost=_shown(result.cost))
        return result

    async def _attempts(self, given: Given, desk: Desk, lost: Spending) -> AgentRunResult[OutputT]:
        """The work, begun again where that is wanted; every beginning has checkpoints of its own."""
        for number in count():
            try:
                return await self._attempt(given, desk, lost, prefix=f"attempt:{number}/" if number else "")
            except AgentDiverged:
                if self.on_divergence == "fail":
                    raise
            except ModelBehaviorError:
                if number >= self.retries.behavior:
                    raise
        raise AssertionError  # count() does not end

    async def _attempt(self, given: Given, desk: Desk, lost: Spending, *, prefix: str) -> AgentRunResult[OutputT]:
        """The work from its first request; after a limit is raised it is gone through again, all from the journal."""
        registry = current_registry()
        await registry.load(self.model)
        config = await self._settle_config(registry, given, desk, prefix=prefix)
        await registry.load(config.model)
        message = await read_message(config.user_prompt, given.files)
        limits = config.limits
        for number in count():
            call = self._call(registry, given, desk, config, limits, prefix=prefix)
            question = f"{prefix}limit:{number}"
            if call.step_id is not None:
                recall_stop(step=call.path, key=question)
            try:
                return await desk.attend(self._ask(call, config, message, given))
            except BudgetExceeded as reached:
                of_run = current_run_limits() if isinstance(reached, RunBudgetExceeded) else None
                asking = of_run or limits
                if asking.on_reached == "fail" or desk.obstacle is not None:
                    raise
                raised = await ask_to_raise(asking, reached, desk, key=question)
                limits = limits if of_run is not None else raised
            except (AgentDiverged, ModelBehaviorError):
                lost.add(call.spent.usage + call.nested.usage, total((call.spent.cost, call.nested.cost)))
                raise
        raise AssertionError

    def _call(
        self,
        registry: ModelRegistry,
        given: Given,
        desk: Desk,
        config: RecordedConfig,
        limits: Limits,
        *,
        prefix: str,
    ) -> AgentCall:
        step, simulation = step_context(), current_simulation()
        return AgentCall(
            agent=self.name,
            model=config.model,
            registry=registry,
            tool_context=given.tool_context,
            retry=retry_policy(self.retries.model),
            step_id=f"{step.run_id}/{step.path}" if step is not None else None,
            path=step.path if step is not None else self.name,
            desk=desk,
            limits=limits,
            approval=self.approval,
            effects=self._effects,
            gated=self._gated,
            started_at=config.started_at,
            channel=simulation.channel if simulation is not None else _channel(),
            simulation=simulation,
            prefix=prefix,
        )

    async def _settle_config(self, registry: ModelRegistry, given: Given, desk: Desk, *, prefix: str) -> RecordedConfig:
        """What this work goes by: decided when it first begins, read from the journal ever after."""

        async def decide() -> str:
            simulation = current_simulation()
            made = (simulation and simulation.definitions.get(self.name)) or await self._definition()
            of_run = current_run_limits()
            if made.limits.cost is not None or (of_run is not None and of_run.cost is not None):
                registry.check_price(made.model, wanted_by=f"agent {self.name!r}")
            step = step_context()
            if step is not None:
                step.details.update(agent=self.name, version=made.number, started_at=desk.now().isoformat())
            return RecordedConfig(
                system_prompt=made.system_prompt.render(given.input, given.files),
                user_prompt=made.user_prompt.render(given.input, given.files),
                model=made.model,
                settings={**registry.recorded_settings(made.model), **made.model_parameters},
                max_turns=made.max_turns,
                tools=self._tools_digest,
                limits=made.limits,
                version=made.number,
                started_at=desk.now(),
            ).model_dump_json()

        if step_context() is None:
            return RecordedConfig.model_validate_json(await decide())
        # It goes with the first answer: until that is paid for, nothing was done by it.
        kept = await checkpoint(f"{prefix}config", kind="compute", body=decide, is_deferred=True)
        return RecordedConfig.model_validate_json(kept.value)

    async def _definition(self) -> Definition:
        """By what this work is done: what the run began with, or what is active where it has not begun."""
        service, run = resource(AgentService), current_run()
        if service is None:
            return Definition(self)
        if run is None:
            return await service.active(self)
        key = f"version of agent {self.name}"
        if key not in run.memory:
            configs = run.recorded_details(kind="compute", name="config")
            begun = [config["version"] for config in configs if config.get("agent") == self.name]
            made = await (service.definition(self, begun[0]) if begun else service.active(self))
            run.memory.setdefault(key, made)  # a call beside this one may have come first, meanwhile
        kept = run.memory[key]
        assert isinstance(kept, Definition)
        return kept

    async def _ask(
        self, call: AgentCall, config: RecordedConfig, message: str | list[UserContent], given: Given
    ) -> AgentRunResult[OutputT]:
        from toolkit.agents.assembly import usage_limits
        from toolkit.agents.durability import telling_once

        settings: Any = config.settings
        earlier, earlier_files = await recall_history(given.history) if given.history is not None else (None, [])
        simulation = call.simulation
        agent = self._pydantic_agent(streams=self.stream if simulation is None else simulation.streams)
        try:
            with entered(call), telling_once(call):
                found = await agent.run(
                    message,
                    model=config.model,
                    instructions=config.system_prompt or None,
                    deps=call.tool_context,
                    model_settings=settings,
                    usage_limits=usage_limits(call, max_turns=config.max_turns),
                    message_history=earlier,
                )
        except Exception as error:
            translated = translated_failure(error, agent=self.name, model=config.model, limits=call.limits)
            if translated is None:
                raise
            raise translated from error
        responses: list[ModelResponse] = [message for message in found.new_messages() if message.kind == "response"]
        last = responses[-1]
        if last.finish_reason == "length" and self.output_type is str:
            raise ModelBehaviorError(
                f"agent {self.name!r}: the answer was cut off at the output limit; "
                "raise max_tokens in model_parameters="
            )
        prices = (call.registry.price(config.model, answered_by=message.model_name) for message in responses)
        costs = (
            message.usage.cost if call.step_id else price_of(message, price)
            for message, price in zip(responses, prices, strict=True)
        )
        history = None
        if self.keep_history and call.step_id is not None:
            body = partial(keep_history, self.name, found.all_messages(), [*earlier_files, *given.files])
            kept = await checkpoint(f"{call.prefix}history", kind="compute", body=body)
            history = History.model_validate_json(kept.value)
        result = self._result_type(
            output=found.output,
            usage=Usage.of(found.usage) + call.nested.usage,
            cost=total((*costs, call.nested.cost)),
            model=last.model_name or str(config.model),
            history=history,
        )
        tell(call, "output", "output", output=shown(result.output), usage=result.usage, cost=result.cost)
        return result

    def _pydantic_agent(self, *, streams: bool) -> PydanticAgent[Any, Any]:
        from toolkit.agents.assembly import assemble

        if streams not in self._pydantic_agents:
            self._pydantic_agents[streams] = assemble(self, streams=streams)
        return self._pydantic_agents[streams]

    @cached_property
    def _result_type(self) -> type[AgentRunResult[OutputT]]:
        return AgentRunResult.__class_getitem__(self.output_type)  # type: ignore[return-value]

    @cached_property
    def _result_codec(self) -> Codec[AgentRunResult[OutputT]]:
        return codec_for(self._result_type)

    @cached_property
    def _tools_digest(self) -> str:
        tools = pydantic_tools(self.tools, agent=self.name)
        return digest([(found.name, found.description, found.function_schema.json_schema) for found in tools])

    @cached_property
    def _effects(self) -> dict[str, Effect]:
        known: dict[str, Effect] = {}
        for toolset in self.toolsets:
            known |= getattr(toolset, "effects", {})
        return known | {tool.name: tool.effect for tool in self.tools}

    @cached_property
    def _gated(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.tools if tool.is_gated)


def _channel() -> Channel | None:
    """Where the events of the run that the caller stands in go."""
    service, run = resource(AgentService), current_run()
    return service.events.channel(run.run_id) if service is not None and run is not None else None


def _obstacle() -> str:
    if current_run() is None:
        return "it runs outside of a run"
    return "it was called inside a step or a tool, where a run cannot wait; call it in the workflow"


def _shown(cost: object | None) -> str | None:
    return None if cost is None else str(cost)
