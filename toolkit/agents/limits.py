"""Limits: how much one call of an agent may use before it is stopped, or a person is asked whether it may go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.agents.people import Desk, Question
from toolkit.agents.results import Spending, Usage
from toolkit.errors import BudgetExceeded, DefinitionError, RunBudgetExceeded
from toolkit.serialization import codec_for
from toolkit.workflows import RunContext, checkpoint, current_run

LimitName = Literal["requests", "tool_calls", "tokens", "cost", "wall"]


class Limits(BaseModel):
    """What one call may use; None is no limit. What is under way when a limit is reached is finished and kept.

    ``tokens`` and ``cost`` stop the next request, so a call may go over by what one request uses. Both count what the
    agents below its tools use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Annotated[int, Field(ge=1)] | None = None
    """Requests to the model; left out, the agent's ``max_turns``."""
    tool_calls: Annotated[int, Field(ge=0)] | None = None
    """Calls of tools. Calls that the model asks for together are all made, or none."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Input and output together."""
    cost: Annotated[Decimal, Field(gt=0)] | None = None
    """In the currency of the model's price, which must be known."""
    wall: Annotated[timedelta, Field(gt=timedelta(0))] | None = None
    """From the call's first attempt; the time in which it waits for a person does not count."""
    on_reached: Literal["fail", "ask"] = "fail"
    """``ask`` suspends the run until a person raises the limit or stops the agent; what was paid stays paid."""
    assign_to: str | None = None
    """Whose task that question is first."""

    def check(self, spent: Spending, *, agent: str) -> None:
        """Before another request.

        Raises:
            BudgetExceeded: the tokens or the money are used up.
        """
        if self.tokens is not None and spent.usage.tokens >= self.tokens:
            raise BudgetExceeded(agent, limit="tokens", allowed=self.tokens, used=spent.usage.tokens)
        if self.cost is not None and spent.cost is not None and spent.cost >= self.cost:
            raise BudgetExceeded(agent, limit="cost", allowed=self.cost, used=spent.cost)

    def check_wall(self, worked: timedelta, *, agent: str) -> None:
        """Before a request or a tool call that is not on record.

        Raises:
            BudgetExceeded: the time is used up.
        """
        if self.wall is not None and worked >= self.wall:
            raise BudgetExceeded(
                agent, limit="wall", allowed=self.wall.total_seconds(), used=round(worked.total_seconds(), 3)
            )

    def raised(self, limit: LimitName, to: Decimal) -> Limits:
        """These limits with another value for ``limit``; seconds for ``wall``."""
        value: Any = to
        if limit == "wall":
            value = timedelta(seconds=float(to))
        elif limit != "cost":
            value = int(to)
        return self.model_copy(update={limit: value})


_RUN_LIMITS: ContextVar[Limits | None] = ContextVar("toolkit_agents_run_limits", default=None)


@contextmanager
def run_limits(limits: Limits) -> Iterator[None]:
    """Within the block, in a workflow: what all agents of the run may use together, from the run's beginning.

    Only ``requests``, ``tokens`` and ``cost`` can be limited so. The journal is the ledger, so a request counts once
    however often the run is resumed; agents side by side may each go over by one request.

    Raises:
        DefinitionError: another limit is set.
    """
    wrong = {"tool_calls": limits.tool_calls, "wall": limits.wall}
    named = [name for name, value in wrong.items() if value is not None]
    if named or limits.on_reached != "fail":
        raise DefinitionError(
            f"run_limits was given {(named or ['on_reached'])[0]}; a whole run can be limited by requests, tokens and "
            "cost, and fails at its limit"
        )
    token = _RUN_LIMITS.set(limits)
    try:
        yield
    finally:
        _RUN_LIMITS.reset(token)


def current_run_limits() -> Limits | None:
    """What holds for all agents of the run together."""
    return _RUN_LIMITS.get()


def check_run(agent: str) -> None:
    """Before a request that is not on record.

    Raises:
        RunBudgetExceeded: the run has used what it may.
    """
    limits, run = _RUN_LIMITS.get(), current_run()
    if limits is None or run is None:
        return
    spent = _spent_by(run)
    for limit, allowed, used in (
        ("requests", limits.requests, spent.usage.requests),
        ("tokens", limits.tokens, spent.usage.tokens),
        ("cost", limits.cost, spent.cost),
    ):
        if allowed is not None and used is not None and used >= allowed:
            raise RunBudgetExceeded(agent, limit=limit, allowed=allowed, used=used)


def _spent_by(run: RunContext) -> Spending:
    """What the requests on record used, wherever in the run they were made."""
    spent = Spending()
    for attempt in count():
        prefix = f"attempt:{attempt}/" if attempt else ""
        before = spent.usage.requests
        for number in count():
            requests = run.recorded_details(kind="model_call", name=f"{prefix}model:{number}")
            if not requests:
                break
            for details in requests:
                spent.add(*used_by_request(details))
        if spent.usage.requests == before:
            return spent
    raise AssertionError  # count() does not end


def used_by_request(details: Mapping[str, Any]) -> tuple[Usage, Decimal | None]:
    """What one request used, as its checkpoint says."""
    usage = Usage(requests=1, input_tokens=details["input_tokens"], output_tokens=details["output_tokens"])
    return usage, None if details["cost"] is None else Decimal(details["cost"])


class LimitShown(BaseModel):
    """What a person sees who is to raise a limit; seconds for ``wall``."""

    agent: str
    limit: LimitName
    allowed: Decimal
    used: Decimal


class LimitDecision(BaseModel):
    """Whether an agent may go on."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["raise", "stop"]
    limit: Decimal | None = None
    """The new limit, more than what is used; in seconds for ``wall``."""


async def ask_to_raise(limits: Limits, reached: BudgetExceeded, desk: Desk, *, key: str) -> Limits:
    """Ask a person about the limit that was reached, and return the raised limits.

    Raises:
        BudgetExceeded: the same, where the person stops the agent or withdraws the question.
    """

    async def note_moment() -> str:
        return codec_for(datetime).encode(desk.now())

    asked_at = codec_for(datetime).decode((await checkpoint(key, kind="compute", body=note_moment)).value)
    shown = LimitShown.model_validate(reached, from_attributes=True)
    again = ""
    while True:
        reply = await desk.ask_here(
            Question(
                kind="raise_agent_limit",
                message=f"Agent {shown.agent!r} has used {shown.used} of {shown.allowed} ({shown.limit}).{again}",
                about=shown,
                answer_type=LimitDecision,
                suggested={"limit": str(shown.allowed * 2)},
                assign_to=limits.assign_to,
            )
        )
        if not isinstance(reply.answer, LimitDecision) or reply.answer.decision == "stop":
            raise reached
        wanted = reply.answer.limit
        if wanted is not None and wanted > max(shown.used, shown.allowed):
            desk.waited += reply.at - asked_at
            return limits.raised(shown.limit, wanted)
        again = f" The last answer did not raise it: limit must be more than {max(shown.used, shown.allowed)}."
