"""Agents: steps whose work is done by a language model. Every paid request and every tool call is kept."""

from typing import TYPE_CHECKING, Any

from toolkit.agents.agent import Agent
from toolkit.agents.approvals import Approval, CallDecision, CallDecisions, HeldCalls, check_decisions
from toolkit.agents.changes import Changes
from toolkit.agents.configs import AgentInput, Retries
from toolkit.agents.data_sets import Case, StoredCase, read_cases
from toolkit.agents.evaluation_service import Evaluation
from toolkit.agents.evaluations import AGENT_WORKFLOWS, EvaluationComparison, EvaluationReport, Gate
from toolkit.agents.event_log import AgentEventLog, LoggedEvent
from toolkit.agents.events import AgentEvent, report_progress
from toolkit.agents.fingerprints import differences as fingerprint_differences
from toolkit.agents.fingerprints import fingerprint_of_request
from toolkit.agents.histories import History
from toolkit.agents.limits import LimitDecision, Limits, LimitShown
from toolkit.agents.mcp_servers import gated, mcp_server
from toolkit.agents.model_registry import ConfiguredModelKey, ModelRegistry, using_model
from toolkit.agents.people import People, Question, Reply
from toolkit.agents.results import AgentRunResult, Usage
from toolkit.agents.run_budgets import run_limits
from toolkit.agents.scorers import CaseInsensitive, Custom, Exact, Judge, Near, Score, Scored, Scorer
from toolkit.agents.service import AgentDifference, AgentService, AgentSummary, AgentVersion
from toolkit.agents.simulations import input_of, simulate, tool_context_of
from toolkit.agents.tools import Effect, Tool, get_tool_context, tool, tool_idempotency_key

if TYPE_CHECKING:
    from pydantic_ai import ModelRetry, ToolFailed
    from pydantic_ai import RunContext as ToolContext

__all__ = [
    "AGENT_WORKFLOWS",
    "Agent",
    "AgentDifference",
    "AgentEvent",
    "AgentEventLog",
    "AgentInput",
    "AgentRunResult",
    "AgentService",
    "AgentSummary",
    "AgentVersion",
    "Approval",
    "CallDecision",
    "CallDecisions",
    "Case",
    "CaseInsensitive",
    "Changes",
    "ConfiguredModelKey",
    "Custom",
    "Effect",
    "Evaluation",
    "EvaluationComparison",
    "EvaluationReport",
    "Exact",
    "Gate",
    "HeldCalls",
    "History",
    "Judge",
    "LimitDecision",
    "LimitShown",
    "Limits",
    "LoggedEvent",
    "ModelRegistry",
    "ModelRetry",
    "Near",
    "People",
    "Question",
    "Reply",
    "Retries",
    "Score",
    "Scored",
    "Scorer",
    "StoredCase",
    "Tool",
    "ToolContext",
    "ToolFailed",
    "Usage",
    "check_decisions",
    "fingerprint_differences",
    "fingerprint_of_request",
    "gated",
    "get_tool_context",
    "input_of",
    "mcp_server",
    "read_cases",
    "report_progress",
    "run_limits",
    "simulate",
    "tool",
    "tool_context_of",
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
