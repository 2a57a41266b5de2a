"""The work of one agent call: what it goes by, how the model is asked, and when it is begun again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Generic

from toolkit.agents.accounts import NOTHING, Account
from toolkit.agents.attachments import read_message
from toolkit.agents.calls import AgentCall, current_call, entered, upwards
from toolkit.agents.changes import Definition
from toolkit.agents.configs import Given, RecordedConfig
from toolkit.agents.events import Channel, shown, tell
from toolkit.agents.failures import retry_policy, translated_failure
from toolkit.agents.histories import History, keep_history, recall_history
from toolkit.agents.limits import Limits, ask_to_raise
from toolkit.agents.model_registry import ModelRegistry, current_registry
from toolkit.agents.people import Desk, People
from toolkit.agents.results import AgentRunResult, OutputT, Spending, Usage
from toolkit.agents.run_budgets import current_run_limits, recall_stop
from toolkit.agents.service import AgentService
from toolkit.agents.simulations import current_simulation
from toolkit.errors import AgentDiverged, BudgetExceeded, ModelBehaviorError, RunBudgetExceeded
from toolkit.workflows import checkpoint, current_run, resource, step_context

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic_ai import AgentRunResult as FoundResult
    from pydantic_ai.messages import UserContent

    from toolkit.agents.agent import Agent
    from toolkit.files import File


class Work(Generic[OutputT]):
    """One input given to an agent, on its way to a result."""

    _desk: Desk

    def __init__(self, agent: Agent[OutputT, Any], given: Given, *, can_wait: bool) -> None:
        """``can_wait`` says whether the run may wait for a person here."""
        self._agent, self._given, self._can_wait = agent, given, can_wait
        self._call: AgentCall | None = None
        self._settled: Spending | None = None
        self._spent, self._nested = Spending(), Spending()  # by attempts that came to nothing
        self._began_at: datetime | None = None
        self._raised: dict[str, Any] = {}
        """Limits that a person has raised, with what they are now; another attempt goes by them as well."""

    def total(self) -> Spending:
        """What was used so far, with the agents below."""
        if self._settled is not None:
            return self._settled
        return self._call.total() if self._call is not None else NOTHING

    def settle(self, result: AgentRunResult[OutputT]) -> None:
        """Take over what ``result`` says was used: that of a step on record was used in an earlier process."""
        self._settled = Spending(usage=result.usage, cost=result.cost)
        if result.cost is None:
            self._settled.unpriced = result.model if self._call is None else self._call.total().unpriced

    async def run(self) -> AgentRunResult[OutputT]:
        """The result, from the first attempt that comes to one; in the task of the agent's step, where there is one."""
        step, people = step_context(), resource(People)
        self._desk = Desk(agent=self._agent.name, people=people, obstacle=None if self._can_wait else _obstacle())
        may_have_to_ask = bool(self._agent.gated) or self._agent.limits.on_reached == "ask"
        if step is not None and current_simulation() is None and self._desk.obstacle is not None and may_have_to_ask:
            self._desk.require()  # before anything is paid
        result = await self._attempts()
        if step is not None:
            step.details.update(model=result.model, usage=result.usage.model_dump(), cost=_shown(result.cost))
        return result

    async def _attempts(self) -> AgentRunResult[OutputT]:
        """The work, begun again where that is wanted; every beginning has checkpoints of its own."""
        for number in count():
            try:
                return await self._attempt(prefix=f"attempt:{number}/" if number else "")
            except AgentDiverged:
                if self._agent.on_divergence == "fail":
                    raise
            except ModelBehaviorError:
                if number >= self._agent.retries.behavior:
                    raise
        raise AssertionError  # count() does not end

    async def _attempt(self, *, prefix: str) -> AgentRunResult[OutputT]:
        """The work from its first request; after a limit is raised it is gone through again, all from the journal."""
        registry = current_registry()
        await registry.load(self._agent.model)
        config = await self._settle_config(registry, prefix=prefix)
        await registry.load(config.model)
        message = await read_message(config.user_prompt, self._given.files)
        self._began_at = self._began_at or config.started_at
        limits = self._with_raised(config.limits)
        for number in count():
            self._call = call = self._new_call(registry, config, limits, prefix=prefix)
            question = f"{prefix}limit:{number}"
            if call.step_id is not None:
                recall_stop(step=call.path, key=question)
            try:
                return await self._desk.attend(self._ask(call, config, message))
            except BudgetExceeded as reached:
                of_run = current_run_limits() if isinstance(reached, RunBudgetExceeded) else None
                # From below it comes as it is on record, which is another object.
                if of_run is None and (call.reached is None or str(reached) != str(call.reached)):
                    raise  # a limit of another agent: to raise those of this one would not help
                asking = of_run or limits
                if asking.on_reached == "fail" or self._desk.obstacle is not None:
                    raise
                stop = reached if of_run is not None else call.reached or reached
                raised = await ask_to_raise(asking, stop, self._desk, key=question)
                if of_run is None:
                    self._raised |= {name: value for name, value in raised if value != getattr(limits, name)}
                    limits = raised
            except (AgentDiverged, ModelBehaviorError):
                self._spent, self._nested = call.spent, call.nested.total()
                raise
        raise AssertionError

    def _with_raised(self, limits: Limits) -> Limits:
        own = {name: getattr(limits, name) for name in self._raised}
        more = {name: value for name, value in self._raised.items() if own[name] is not None and own[name] < value}
        return limits.model_copy(update=more)

    def _new_call(
        self,
        registry: ModelRegistry,
        config: RecordedConfig,
        limits: Limits,
        *,
        prefix: str,
    ) -> AgentCall:
        step, simulation = step_context(), current_simulation()
        return AgentCall(
            agent=self._agent.name,
            model=config.model,
            registry=registry,
            tool_context=self._given.tool_context,
            retry=retry_policy(self._agent.retries.model),
            step_id=f"{step.run_id}/{step.path}" if step is not None else None,
            path=step.path if step is not None else self._agent.name,
            desk=self._desk,
            limits=limits,
            approval=self._agent.approval,
            effects=self._agent.effects,
            gated=self._agent.gated,
            started_at=self._began_at or config.started_at,
            above=current_call(),
            spent=self._spent.model_copy(),
            nested=Account(self._nested),
            channel=simulation.channel if simulation is not None else _channel(),
            simulation=simulation,
            prefix=prefix,
        )

    async def _settle_config(self, registry: ModelRegistry, *, prefix: str) -> RecordedConfig:
        """What this work goes by: decided when it first begins, read from the journal ever after."""

        async def decide() -> str:
            simulation = current_simulation()
            made = (simulation and simulation.definitions.get(self._agent.name)) or await self._definition()
            of_run = current_run_limits()
            limited = [made.limits, *(call.limits for call in upwards(current_call())), *([of_run] if of_run else ())]
            if any(limits.cost is not None for limits in limited):
                registry.check_price(made.model, wanted_by=f"agent {self._agent.name!r}")
            step = step_context()
            if step is not None:
                step.details.update(
                    agent=self._agent.name, version=made.number, started_at=self._desk.now().isoformat()
                )
            system_prompt, user_prompt = await made.render(self._given.input, self._given.files)
            return RecordedConfig(
                system_prompt=system_prompt,
                user_prompt=user_prompt,
                model=made.model,
                settings={**registry.recorded_settings(made.model), **made.model_parameters},
                max_turns=made.max_turns,
                tools=self._agent.tools_digest,
                limits=made.limits,
                version=made.number,
                started_at=self._desk.now(),
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
            return Definition(self._agent)
        if run is None:
            return await service.active(self._agent)
        key = f"version of agent {self._agent.name}"
        if key not in run.memory:
            configs = run.recorded_details(kind="compute", name="config")
            begun = [config["version"] for config in configs if config.get("agent") == self._agent.name]
            made = await (service.definition(self._agent, begun[0]) if begun else service.active(self._agent))
            run.memory.setdefault(key, made)  # a call beside this one may have come first, meanwhile
        kept = run.memory[key]
        assert isinstance(kept, Definition)
        return kept

    async def _ask(
        self, call: AgentCall, config: RecordedConfig, message: str | list[UserContent]
    ) -> AgentRunResult[OutputT]:
        from toolkit.agents.assembly import usage_before, usage_limits
        from toolkit.agents.durability import telling_once

        settings: Any = config.settings
        history, simulation = self._given.history, call.simulation
        earlier, earlier_files = await recall_history(history) if history is not None else (None, [])
        agent = self._agent.pydantic_agent(streams=self._agent.stream if simulation is None else simulation.streams)
        try:
            with entered(call), telling_once(call):
                found = await agent.run(
                    message,
                    model=config.model,
                    instructions=config.system_prompt or None,
                    deps=call.tool_context,
                    model_settings=settings,
                    usage=usage_before(call),
                    usage_limits=usage_limits(call, max_turns=config.max_turns),
                    message_history=earlier,
                )
        except Exception as error:
            translated = translated_failure(error, agent=self._agent.name, model=config.model, limits=call.limits)
            if translated is None:
                raise
            if isinstance(translated, BudgetExceeded):
                call.reached = translated
            raise translated from error
        result = await self._result(call, found, files=[*earlier_files, *self._given.files])
        tell(call, "output", "output", output=shown(result.output), usage=result.usage, cost=result.cost)
        return result

    async def _result(
        self, call: AgentCall, found: FoundResult[OutputT], *, files: Sequence[File]
    ) -> AgentRunResult[OutputT]:
        """What the library found, with what it cost; ``files`` are those that the conversation refers to."""
        responses = [message for message in found.new_messages() if message.kind == "response"]
        last = responses[-1]
        if last.finish_reason == "length" and self._agent.output_type is str:
            raise ModelBehaviorError(
                f"agent {self._agent.name!r}: the answer was cut off at the output limit; "
                "raise max_tokens in model_parameters="
            )
        history = None
        if self._agent.keep_history and call.step_id is not None:
            body = partial(keep_history, self._agent.name, found.all_messages(), files)
            kept = await checkpoint(f"{call.prefix}history", kind="compute", body=body)
            history = History.model_validate_json(kept.value)
        return self._agent.result_type(
            output=found.output,
            usage=Usage.of(found.usage) + call.nested.total().usage,
            cost=call.total().cost,
            model=last.model_name or str(call.model),
            history=history,
        )


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
