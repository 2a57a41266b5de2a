"""The call of an agent that is going on: what its model requests and its tools need to know of it.

A context variable carries it, because pydantic-ai runs every request and every tool in a task (or thread) of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolkit.agents.results import Spending
from toolkit.workflows import RetryPolicy

if TYPE_CHECKING:
    from toolkit.agents.model_registry import ModelRegistry


@dataclass
class AgentCall:
    """One call of one agent; made anew for every attempt of its step."""

    agent: str
    model: str
    """The model key on record."""
    registry: ModelRegistry
    tool_context: object
    retry: RetryPolicy
    """For model requests."""
    step_id: str | None
    """Run and path of the agent's step, the same in every attempt; None outside a run, where nothing is recorded."""
    ordinals: Counter[str] = field(default_factory=Counter)
    """How many checkpoints of each name there were, so that names can repeat and keys do not."""
    messages_seen: int = 0
    """How many messages the last request had; they are in its fingerprint already."""
    nested: Spending = field(default_factory=Spending)
    """What the agents below its tools used."""

    def occurrence(self, name: str) -> int:
        """0 for the first checkpoint of this name in the call, then 1, 2, ..."""
        self.ordinals[name] += 1
        return self.ordinals[name] - 1


_CALL: ContextVar[AgentCall | None] = ContextVar("toolkit_agent_call", default=None)
_SPENDING: ContextVar[Spending | None] = ContextVar("toolkit_agent_spending", default=None)


def current_call() -> AgentCall | None:
    """The innermost agent call that this code runs below."""
    return _CALL.get()


@contextmanager
def entered(call: AgentCall) -> Iterator[None]:
    """Make ``call`` the current one; agents called inside report to it."""
    token = _CALL.set(call)
    try:
        with collected_spending(call.nested):
            yield
    finally:
        _CALL.reset(token)


@contextmanager
def collected_spending(spending: Spending) -> Iterator[Spending]:
    """Let agents called inside report to ``spending``; a tool that is recorded has one of its own, to store with it."""
    token = _SPENDING.set(spending)
    try:
        yield spending
    finally:
        _SPENDING.reset(token)


def current_spending() -> Spending | None:
    """Where an agent that ends here reports what it used; None when it is nobody's tool."""
    return _SPENDING.get()
