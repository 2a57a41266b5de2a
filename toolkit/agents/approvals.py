"""Approvals: tool calls that wait for a person, who sees the exact arguments and decides about each.

All calls that one answer of a model asks for together are one question. A call runs only as it was approved: what was
shown has a digest, and the digest is compared again at the moment of execution. Below the agent's step stand

    approval:{n}    what is held, with an entry in the audit trail for each call
    decision:{n}    who decided what, likewise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json, to_jsonable_python

from toolkit.agents.calls import AgentCall
from toolkit.agents.events import shown, tell
from toolkit.agents.fingerprints import digest
from toolkit.agents.people import Question, Reply
from toolkit.agents.tools import Effect
from toolkit.errors import AgentDiverged, DefinitionError, InvalidInput
from toolkit.serialization import field_errors
from toolkit.workflows import checkpoint, step_context

if TYPE_CHECKING:
    from pydantic_ai import RunContext
    from pydantic_ai.messages import ToolCallPart
    from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

    from toolkit.agents.agent import Agent

_LONGEST_REASON = 2000


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Who is asked about an agent's tool calls, and for how long; a question that nobody answers in time is a no."""

    assign_to: str | None = None
    expires: timedelta | None = None

    def __post_init__(self) -> None:
        if self.expires is not None and self.expires <= timedelta(0):
            raise DefinitionError(f"an approval must be open longer than nothing, found expires={self.expires!r}")


class HeldCall(BaseModel):
    """A tool call as the person sees it."""

    id: str
    tool: str
    effect: Effect
    arguments: dict[str, Any]
    digest: str
    """Stands for tool and arguments together."""


class HeldCalls(BaseModel):
    """What a person is asked to decide about."""

    agent: str
    calls: list[HeldCall]


class CallDecision(BaseModel):
    """The decision about one call."""

    model_config = ConfigDict(extra="forbid")

    id: str
    """Of the call."""
    decision: Literal["approve", "deny"]
    arguments: dict[str, Any] | None = None
    """Other arguments to run it with; left out, it runs as shown."""
    reason: str | None = Field(default=None, max_length=_LONGEST_REASON)
    """What the model is told when it is denied."""


class CallDecisions(BaseModel):
    """The decisions about all held calls, each once."""

    model_config = ConfigDict(extra="forbid")

    decisions: list[CallDecision]


class Verdict(BaseModel):
    """What became of one held call."""

    id: str
    outcome: Literal["approved", "edited", "denied", "expired"]
    digest: str
    """Of the call as it may run; as it was held, if it may not."""
    arguments: dict[str, Any] | None = None
    """The person's own, where they were edited."""
    by: str | None = None
    task_id: str | None = None
    reason: str = ""


class _Held(BaseModel):
    """What is kept of held calls; their arguments are in the model's answer and in the task."""

    asked_at: datetime
    digests: dict[str, str]


class ArgumentsInvalid(ValueError):
    """Edited arguments that the tool does not take."""


def check_decisions(agent: Agent[Any, Any], held: HeldCalls, decisions: CallDecisions) -> None:
    """See, before an answer counts, that it is about the calls that are held and that edited arguments fit their tools.

    Tools of toolsets are known only while the agent works: what is wrong with theirs is asked about again.

    Raises:
        InvalidInput: it is not, or they do not; with an entry for each field.
    """
    from toolkit.agents.tools import pydantic_tools

    calls = {one.id: one for one in held.calls}
    made = [decision.id for decision in decisions.decisions]
    errors = [
        {"loc": "decisions", "msg": f"decide about the call {id_} once", "type": "decision"}
        for id_ in sorted(calls.keys() | set(made))
        if made.count(id_) != 1 or id_ not in calls
    ]
    tools = {tool.name: tool for tool in agent.tools}
    for at, decision in enumerate(decisions.decisions):
        tool = tools.get(calls[decision.id].tool) if decision.id in calls else None
        if tool is None or decision.decision == "deny" or decision.arguments is None:
            continue
        (found,) = pydantic_tools([tool], agent=agent.name)
        try:
            found.function_schema.validator.validate_python(decision.arguments)
        except ValidationError as error:
            errors += [
                {**wrong, "loc": f"decisions.{at}.arguments.{wrong['loc']}".rstrip(".")}
                for wrong in field_errors(error)
            ]
    if errors:
        raise InvalidInput(f"the decisions do not fit the calls: {errors[0]['msg']}", errors=errors)


async def decide(call: AgentCall, context: RunContext[Any], requests: DeferredToolRequests) -> DeferredToolResults:
    """Hold the calls of ``requests``, have a person decide, and say so in pydantic-ai's words."""
    from pydantic_ai.tools import ToolApproved, ToolDenied

    held = [_held(part, call, context) for part in requests.approvals]
    verdicts = await _verdicts(call, context, held)
    results: dict[str, bool | ToolApproved | ToolDenied] = {}
    for verdict in verdicts:
        if verdict.outcome in ("approved", "edited"):
            call.approved[verdict.id] = verdict
            results[verdict.id] = ToolApproved(override_args=verdict.arguments)
        else:
            results[verdict.id] = ToolDenied(verdict.reason)
    return requests.build_results(approvals=results)


def digest_of_call(tool: str, arguments: Mapping[str, Any]) -> str:
    """What stands for a call with validated ``arguments``."""
    return digest([tool, arguments])


async def _verdicts(call: AgentCall, context: RunContext[Any], held: Sequence[HeldCall]) -> list[Verdict]:
    if call.simulation is not None:  # nothing of it is carried out
        _tell_asked(call, "simulated", held)
        return [Verdict(id=one.id, outcome="approved", digest=one.digest) for one in held]
    if call.step_id is None:
        reason = "This action needs the approval of a person, and nobody can be asked outside of a run."
        return [Verdict(id=one.id, outcome="denied", digest=one.digest, reason=reason) for one in held]
    number = call.occurrence("approval")
    asked_at = await _record_held(call, number, held)
    key = f"{call.prefix}decision:{number}"
    _tell_asked(call, f"approval:{number}", held)
    if key not in call.desk.answers:  # a pass after a raised limit has the answer already
        before = call.desk.waited
        verdicts = await _ask(call, context, held, asked_at=asked_at)
        call.desk.answers[key] = (verdicts, call.desk.waited - before)
    answered: tuple[list[Verdict], timedelta] = call.desk.answers[key]
    await _record_verdicts(call, key, held, *answered)
    return answered[0]


def _tell_asked(call: AgentCall, place: str, held: Sequence[HeldCall]) -> None:
    tell(call, "approval_asked", f"{place}/asked", calls=[shown(one.model_dump(mode="json")) for one in held])


async def _ask(
    call: AgentCall, context: RunContext[Any], held: Sequence[HeldCall], *, asked_at: datetime
) -> list[Verdict]:
    """Ask until the answer is about these calls and its arguments fit their tools."""
    problems: list[str] = []
    while True:
        reply = await call.desk.ask(_question(call, held, problems))
        verdicts, problems = _read(reply, context, held)
        if not problems:
            call.desk.waited += reply.at - asked_at
            return verdicts


def _question(call: AgentCall, held: Sequence[HeldCall], problems: Sequence[str]) -> Question:
    tools = ", ".join(dict.fromkeys(one.tool for one in held))
    again = f" The last answer could not be used: {'; '.join(problems)}." if problems else ""
    return Question(
        kind="approve_tool_calls",
        message=f"Agent {call.agent!r} wants to call {tools}.{again}",
        about=HeldCalls(agent=call.agent, calls=list(held)),
        answer_type=CallDecisions,
        suggested={"decisions": [{"id": one.id} for one in held]},
        assign_to=call.approval.assign_to,
        expires=call.approval.expires,
    )


def _read(reply: Reply, context: RunContext[Any], held: Sequence[HeldCall]) -> tuple[list[Verdict], list[str]]:
    """The verdicts in ``reply``, or what is wrong with it."""
    if reply.answer is None:
        outcome: Literal["denied", "expired"] = "denied" if reply.by else "expired"
        reason = reply.reason or ("Nobody approved this in time." if outcome == "expired" else "This was refused.")
        return [_refused(one, outcome, reply, reason) for one in held], []
    assert isinstance(reply.answer, CallDecisions)
    made = {decision.id: decision for decision in reply.answer.decisions}
    wanted = [one.id for one in held]
    if sorted(decision.id for decision in reply.answer.decisions) != sorted(wanted):
        return [], [f"decide about each of these calls once: {', '.join(wanted)}"]
    verdicts, problems = [], []
    for one in held:
        try:
            verdicts.append(_verdict(made[one.id], one, context, reply))
        except ArgumentsInvalid as error:
            problems.append(f"{one.tool} ({one.id}): {error}")
    return verdicts, problems


def _verdict(decision: CallDecision, held: HeldCall, context: RunContext[Any], reply: Reply) -> Verdict:
    if decision.decision == "deny":
        return _refused(held, "denied", reply, decision.reason or "A person refused this action.")
    if decision.arguments is None or decision.arguments == held.arguments:
        return Verdict(id=held.id, outcome="approved", digest=held.digest, by=reply.by, task_id=reply.task_id)
    try:
        validated = _validated(held.tool, decision.arguments, context)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        raise ArgumentsInvalid(f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from error
    return Verdict(
        id=held.id,
        outcome="edited",
        digest=digest_of_call(held.tool, validated),
        arguments=decision.arguments,
        by=reply.by,
        task_id=reply.task_id,
        reason=decision.reason or "",
    )


def _refused(held: HeldCall, outcome: Literal["denied", "expired"], reply: Reply, reason: str) -> Verdict:
    return Verdict(id=held.id, outcome=outcome, digest=held.digest, by=reply.by, task_id=reply.task_id, reason=reason)


def _held(part: ToolCallPart, call: AgentCall, context: RunContext[Any]) -> HeldCall:
    try:
        arguments = _validated(part.tool_name, part.args, context)
    except ValidationError:  # the tool will say so to the model, if it comes to that
        arguments = part.args_as_dict()
    return HeldCall(
        id=part.tool_call_id,
        tool=part.tool_name,
        effect=call.effects.get(part.tool_name, "external"),
        arguments=to_jsonable_python(arguments, fallback=str),
        digest=digest_of_call(part.tool_name, arguments),
    )


def _validated(tool: str, arguments: str | Mapping[str, Any] | None, context: RunContext[Any]) -> dict[str, Any]:
    """``arguments`` as the tool will get them."""
    tools = context.tool_manager.tools if context.tool_manager is not None else None
    assert tools is not None  # a run has prepared its tools before a model could ask for one
    validator = tools[tool].args_validator
    found: dict[str, Any] = (
        validator.validate_json(arguments or "{}", context=context.validation_context)
        if isinstance(arguments, str)
        else validator.validate_python(arguments or {}, context=context.validation_context)
    )
    return found


async def _record_held(call: AgentCall, number: int, held: Sequence[HeldCall]) -> datetime:
    """Since when the calls are held."""

    async def body() -> str:
        for one in held:
            await _audit(call, "tool_call.held", tool=one.tool, call_id=one.id, digest=one.digest)
        return _Held(asked_at=call.desk.now(), digests=digests).model_dump_json()

    digests = {one.id: one.digest for one in held}
    kept = await checkpoint(f"{call.prefix}approval:{number}", kind="compute", body=body, display_name="held calls")
    recorded = _Held.model_validate_json(kept.value)
    if recorded.digests != digests:
        raise AgentDiverged(f"approval:{number}", [f"held calls: recorded {recorded.digests}, now {digests}"])
    return recorded.asked_at


async def _record_verdicts(
    call: AgentCall, key: str, held: Sequence[HeldCall], verdicts: Sequence[Verdict], waited: timedelta
) -> None:
    async def body() -> str:
        step = step_context()
        assert step is not None  # the body of a checkpoint
        step.details["waited_seconds"] = waited.total_seconds()
        tools = {one.id: one.tool for one in held}
        for verdict in verdicts:
            kept = verdict.model_dump(include={"digest", "by", "task_id"})
            await _audit(call, f"tool_call.{verdict.outcome}", tool=tools[verdict.id], call_id=verdict.id, **kept)
        return to_json(list(verdicts)).decode()

    await checkpoint(key, kind="compute", body=body, display_name="decisions")


async def _audit(call: AgentCall, action: str, **details: Any) -> None:
    """An entry in the commit of the checkpoint; arguments stay out of it, they may be what a document says."""
    from toolkit.access import record_audit
    from toolkit.workflows import get_session

    step = step_context()
    assert step is not None  # the body of a checkpoint
    await record_audit(
        get_session(),
        action=action,
        object_kind="run",
        object_id=step.run_id,
        details={"agent": call.agent, "step": step.path, **details},
    )
