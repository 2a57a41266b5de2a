"""Agents: steps whose work is done by a language model. Every paid request and every tool call is kept."""

from typing import TYPE_CHECKING, Any

from toolkit.agents.agent import Agent, AgentInput, Retries
from toolkit.agents.approvals import Approval, CallDecision, CallDecisions, HeldCalls
from toolkit.agents.changes import Changes
from toolkit.agents.limits import LimitDecision, Limits, LimitShown, run_limits
from toolkit.agents.model_registry import ConfiguredModelKey, ModelRegistry, using_model
from toolkit.agents.people import People, Question, Reply
from toolkit.agents.results import AgentRunResult, Usage
from toolkit.agents.service import AgentDifference, AgentService, AgentSummary, AgentVersion
from toolkit.agents.tools import Effect, Tool, get_tool_context, tool, tool_idempotency_key

if TYPE_CHECKING:
    from pydantic_ai import ModelRetry, ToolFailed
    from pydantic_ai import RunContext as ToolContext

__all__ = [
    "Agent",
    "AgentDifference",
    "AgentInput",
    "AgentRunResult",
    "AgentService",
    "AgentSummary",
    "AgentVersion",
    "Approval",
    "CallDecision",
    "CallDecisions",
    "Changes",
    "ConfiguredModelKey",
    "Effect",
    "HeldCalls",
    "LimitDecision",
    "LimitShown",
    "Limits",
    "ModelRegistry",
    "ModelRetry",
    "People",
    "Question",
    "Reply",
    "Retries",
    "Tool",
    "ToolContext",
    "ToolFailed",
    "Usage",
    "get_tool_context",
    "run_limits",
    "tool",
    "tool_idempotency_key",
    "using_model",
]

_OF_PYDANTIC_AI = {"ModelRetry": "ModelRetry", "ToolContext": "RunContext", "ToolFailed": "ToolFailed"}


def __getattr__(name: str) -> Any:
    """Names of pydantic-ai under which tools talk to their agent; it takes seconds to load, so only when asked for."""
    if name not in _OF_PYDANTIC_AI:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pydantic_ai

    return getattr(pydantic_ai, _OF_PYDANTIC_AI[name])
