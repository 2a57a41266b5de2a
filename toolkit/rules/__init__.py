"""Rules decide: by a function of the author's, and where the business wants it otherwise, by an uploaded graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.rules.definitions import Rule, rule

if TYPE_CHECKING:
    from toolkit.rules.issues import Issue, Report
    from toolkit.rules.sandbox import Sandbox
    from toolkit.rules.service import RuleService
    from toolkit.rules.summaries import BatchItem, Decision, RuleSummary, RuleVersion

__all__ = [
    "BatchItem",
    "Decision",
    "Issue",
    "Report",
    "Rule",
    "RuleService",
    "RuleSummary",
    "RuleVersion",
    "Sandbox",
    "rule",
]

_HOMES = {
    "BatchItem": "summaries",
    "Decision": "summaries",
    "Issue": "issues",
    "Report": "issues",
    "RuleService": "service",
    "RuleSummary": "summaries",
    "RuleVersion": "summaries",
    "Sandbox": "sandbox",
}


def __getattr__(name: str) -> Any:
    """What belongs to overrides is loaded when it is asked for: a rule that only decorates a function stays light."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"toolkit.rules.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
