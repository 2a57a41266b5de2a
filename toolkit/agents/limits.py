"""Limits: how much one call of an agent may use before it is stopped, or a person is asked whether it may go on."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.agents.people import Desk, Question
from toolkit.agents.results import Spending
from toolkit.errors import BudgetExceeded, ConfigurationError, RunBudgetExceeded
from toolkit.serialization import codec_for
from toolkit.workflows import checkpoint, step_context

LimitName = Literal["requests", "tool_calls", "tokens", "cost", "wall"]


class Limits(BaseModel):
    """What one call may use in all its attempts; None is no limit. What is under way at a limit is finished and kept.

    ``tokens``, ``cost`` and ``wall`` hold for the agents below its tools as well: before each of their requests it is
    seen what this call has left. It may go over by what one request uses, and where several agents below its tools work
    side by side, by one of each. ``requests`` and ``tool_calls`` are those of the agent itself; an agent below has its
    own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: Annotated[int, Field(ge=1)] | None = None
    """Requests of the agent to its model; left out, its ``max_turns``."""
    tool_calls: Annotated[int, Field(ge=0)] | None = None
    """Calls of the agent's tools. Calls that the model asks for together are all made, or none."""
    tokens: Annotated[int, Field(ge=1)] | None = None
    """Input and output together."""
    cost: Annotated[Decimal, Field(gt=0)] | None = None
    """In the currency of the models' prices, which must be known: also those of fallbacks."""
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

    def check_price(self, spent: Spending, *, whose: str) -> None:
        """Before a request that is not on record. ``whose`` limits these are, with a verb: ``agent 'a' has``.

        Raises:
            ConfigurationError: nobody knows what was spent, so nobody can say whether the money is used up.
        """
        if self.cost is not None and spent.cost is None:
            raise ConfigurationError(
                f"{whose} a limit on money, and what model {spent.unpriced!r} cost is unknown; set its price under "
                "ai_models, or limit tokens instead",
                key="ai_models",
            )

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

    A limit of the whole run is raised for all its agents: the new one is kept in a checkpoint of its own.

    Raises:
        BudgetExceeded: the same, where the person stops the agent or withdraws the question.
    """
    is_of_run = isinstance(reached, RunBudgetExceeded)
    shown = LimitShown.model_validate(reached, from_attributes=True)
    names = frozenset(LimitShown.model_fields)

    async def note_moment() -> str:
        step = step_context()
        assert step is not None  # the body of a checkpoint
        step.details.update(shown.model_dump(mode="json"))
        if isinstance(reached, RunBudgetExceeded):
            step.details.update(step=step.path.removesuffix(f"/{key}"), at=reached.at)
        return codec_for(datetime).encode(desk.now())

    kept = await checkpoint(key, kind="compute", body=note_moment)
    asked_at = codec_for(datetime).decode(kept.value)
    if names <= kept.details.keys():
        # Gone through again, the same limit is reached later if an agent below a tool reached it, or another one is
        # first. Asked is what was asked.
        shown = LimitShown.model_validate({name: kept.details[name] for name in names})
    again = ""
    whose = "The agents of this run have" if is_of_run else f"Agent {shown.agent!r} has"
    while True:
        reply = await desk.ask_here(
            Question(
                kind="raise_agent_limit",
                message=f"{whose} used {shown.used} of {shown.allowed} ({shown.limit}).{again}",
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
            if is_of_run:
                await _keep_raised(shown.limit, wanted, waited=reply.at - asked_at, key=key)
            return limits.raised(shown.limit, wanted)
        again = f" The last answer did not raise it: limit must be more than {max(shown.used, shown.allowed)}."


async def _keep_raised(limit: LimitName, to: Decimal, *, waited: timedelta, key: str) -> None:
    async def body() -> str:
        step = step_context()
        assert step is not None  # the body of a checkpoint
        step.details.update(raised_for_run=limit, to=str(to), waited_seconds=waited.total_seconds())
        return "null"

    await checkpoint(f"{key}/raised", kind="compute", body=body)
