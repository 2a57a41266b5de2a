"""Rules decide: by a function of the author's, and where the business wants it otherwise, by an uploaded graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.rules.definitions import Rule, rule

if TYPE_CHECKING:
    from toolkit.rules.analysis import Analysis, TableAnalysis
    from toolkit.rules.backtests import BackTest
    from toolkit.rules.cases import Case, CaseReport, CaseResult
    from toolkit.rules.coverage import Coverage
    from toolkit.rules.differences import Change
    from toolkit.rules.explanations import ExplainedNode, Explanation
    from toolkit.rules.issues import Issue, Report
    from toolkit.rules.jobs import RULE_WORKFLOWS, FileOutcome, evaluate_file
    from toolkit.rules.journal import DecisionRecord
    from toolkit.rules.redaction import Secret
    from toolkit.rules.sandbox import Sandbox
    from toolkit.rules.service import RuleService
    from toolkit.rules.shadows import Shadow
    from toolkit.rules.spreadsheets import SpreadsheetFormat, read_spreadsheet, write_spreadsheet
    from toolkit.rules.summaries import BatchItem, Decision, RuleSummary, RuleVersion
    from toolkit.rules.workbench import Workbench

__all__ = [
    "RULE_WORKFLOWS",
    "Analysis",
    "BackTest",
    "BatchItem",
    "Case",
    "CaseReport",
    "CaseResult",
    "Change",
    "Coverage",
    "Decision",
    "DecisionRecord",
    "ExplainedNode",
    "Explanation",
    "FileOutcome",
    "Issue",
    "Report",
    "Rule",
    "RuleService",
    "RuleSummary",
    "RuleVersion",
    "Sandbox",
    "Secret",
    "Shadow",
    "SpreadsheetFormat",
    "TableAnalysis",
    "Workbench",
    "evaluate_file",
    "read_spreadsheet",
    "rule",
    "write_spreadsheet",
]

_HOMES = {
    "Analysis": "analysis",
    "BackTest": "backtests",
    "BatchItem": "summaries",
    "Case": "cases",
    "CaseReport": "cases",
    "CaseResult": "cases",
    "Change": "differences",
    "Coverage": "coverage",
    "Decision": "summaries",
    "DecisionRecord": "journal",
    "ExplainedNode": "explanations",
    "Explanation": "explanations",
    "FileOutcome": "jobs",
    "Issue": "issues",
    "RULE_WORKFLOWS": "jobs",
    "Report": "issues",
    "RuleService": "service",
    "RuleSummary": "summaries",
    "RuleVersion": "summaries",
    "Sandbox": "sandbox",
    "Secret": "redaction",
    "Shadow": "shadows",
    "SpreadsheetFormat": "spreadsheets",
    "TableAnalysis": "analysis",
    "Workbench": "workbench",
    "evaluate_file": "jobs",
    "read_spreadsheet": "spreadsheets",
    "write_spreadsheet": "spreadsheets",
}


def __getattr__(name: str) -> Any:
    """What belongs to overrides is loaded when it is asked for: a rule that only decorates a function stays light."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"toolkit.rules.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
