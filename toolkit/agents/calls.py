"""The call of an agent that is going on: what its model requests and its tools need to know of it.

A context variable carries it, because pydantic-ai runs every request and every tool in a task (or thread) of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from toolkit.agents.accounts import Account, reporting_to
from toolkit.agents.limits import Limits
from toolkit.agents.model_registry import is_doubled
from toolkit.agents.people import Desk
from toolkit.agents.results import Spending
from toolkit.errors import BudgetExceeded
from toolkit.workflows import RetryPolicy

if TYPE_CHECKING:
    from toolkit.agents.approvals import Approval, Verdict
    from toolkit.agents.events import Channel
    from toolkit.agents.model_registry import ModelRegistry
    from toolkit.agents.simulations import Simulation
    from toolkit.agents.tools import Effect


@dataclass(kw_only=True)
class AgentCall:
    """One pass of one call of one agent, from its first message to its result or its limit."""

    agent: str
    model: str
    """The model key on record."""
    registry: ModelRegistry
    tool_context: object
    retry: RetryPolicy
    """For model requests."""
    step_id: str | None
    """Run and path of the agent's step, the same in every attempt; None outside a run, where nothing is recorded."""
    path: str
    """Path of the agent's step; outside a run, its name."""
    desk: Desk
    limits: Limits
    approval: Approval
    effects: Mapping[str, Effect]
    """What each of the agent's tools does."""
    gated: AbstractSet[str]
    """The tools of which no call runs without approval."""
    started_at: datetime
    """When the call began, in its first attempt."""
    above: AgentCall | None = None
    """The call below one of whose tools this one goes on."""
    prefix: str = ""
    """Before every checkpoint key: another one for work that began from scratch again."""
    channel: Channel | None = None
    """Where its events go."""
    simulation: Simulation | None = None
    """What it is tried out with, if it is only tried out."""
    answered_by: str = ""
    """The key of the model that answered last: this one's or that of a fallback."""
    stream: str = ""
    """The answer that is being streamed."""
    is_replaying: bool = False
    """Whether the last unit came from the journal."""
    ordinals: Counter[str] = field(default_factory=Counter)
    """How many checkpoints of each name there were, so that names can repeat and keys do not."""
    messages_seen: int = 0
    """How many messages the last request had; they are in its fingerprint already."""
    approved: dict[str, Verdict] = field(default_factory=dict)
    """The tool calls that a person let through, by id."""
    spent: Spending = field(default_factory=Spending)
    """What its own requests and tool calls used, with those of attempts before that came to nothing."""
    nested: Account = field(default_factory=Account)
    """What the agents below its tools used."""
    reached: BudgetExceeded | None = None
    """The error that said that one of its limits is reached, and not one of an agent above or below."""

    def check_limits(self) -> None:
        """Before a request, whether on record or not: the journal decides, so every replay comes to the same end.

        Raises:
            BudgetExceeded: what was used so far is all that may be used.
        """
        if self.limits.tokens is None and self.limits.cost is None:
            return  # to add up what was used takes longer than to compare it
        try:
            self.limits.check(self.total(), agent=self.agent)
        except BudgetExceeded as error:
            self.reached = error
            raise

    def check_request(self) -> None:
        """Before a request that is not on record: what it and the agents above it may use, and how long.

        What those above have used changes with what goes on beside this call. So it does not decide about what is on
        record: a replay, in which things end in another order, would come to another end.

        Raises:
            BudgetExceeded: what was used so far is all that may be used.
            ConfigurationError: there is a limit on money, and nobody knows what was spent.
        """
        for call in upwards(self):
            if call is not self:
                call.check_limits()
            if call.limits.cost is not None and not is_doubled():
                call.limits.check_price(call.total(), whose=f"agent {call.agent!r} has")
        self.check_wall()

    def check_wall(self) -> None:
        """Before anything that is not on record.

        Raises:
            BudgetExceeded: its time, or that of an agent above it, is used up.
        """
        for call in upwards(self):
            worked = call.desk.now() - call.started_at - call.desk.waited
            try:
                call.limits.check_wall(worked, agent=call.agent)
            except BudgetExceeded as error:
                call.reached = error
                raise

    def total(self) -> Spending:
        """What was used so far, with the agents below."""
        found = self.spent.model_copy()
        found.include(self.nested.total())
        return found

    def occurrence(self, name: str) -> int:
        """0 for the first checkpoint of this name in the call, then 1, 2, ..."""
        self.ordinals[name] += 1
        return self.ordinals[name] - 1


def upwards(call: AgentCall | None) -> Iterator[AgentCall]:
    """``call``, and those that it goes on below."""
    while call is not None:
        yield call
        call = call.above


_CALL: ContextVar[AgentCall | None] = ContextVar("toolkit_agent_call", default=None)


def current_call() -> AgentCall | None:
    """The innermost agent call that this code runs below."""
    return _CALL.get()


@contextmanager
def entered(call: AgentCall) -> Iterator[None]:
    """Make ``call`` the current one; agents called inside report to it."""
    token = _CALL.set(call)
    try:
        with reporting_to(call.nested):
            yield
    finally:
        _CALL.reset(token)
