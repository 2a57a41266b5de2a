"""From an upload to something that may be kept: read, validated, compiled and tried."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from toolkit.errors import RuleGraphInvalid
from toolkit.rules.compilation import Compiled, compile_graph
from toolkit.rules.definitions import Rule
from toolkit.rules.documents import read_document, read_graph
from toolkit.rules.engine import compilers
from toolkit.rules.graphs import Graph, canonical_json, digest
from toolkit.rules.issues import Findings, Report
from toolkit.rules.sandbox import Sandbox
from toolkit.rules.trials import dry_run
from toolkit.rules.validation import Surroundings, validate

MOST_ISSUES = 1_000


class Checked(BaseModel):
    """An upload that passed."""

    model_config = ConfigDict(frozen=True)

    text: str
    sha256: str
    compiled: Compiled
    report: Report


def check_upload(rule: Rule[Any, Any], graph: bytes, sandbox: Sandbox, around: Surroundings | None = None) -> Checked:
    """Everything between an upload and its acceptance. Blocks; call it from a worker thread.

    Raises:
        RuleGraphInvalid: with every issue found.
        ConfigurationError: zen-engine is missing here.
    """
    document, read, compiled, findings = check_statically(rule, graph, around)
    report = dry_run(read, compiled, rule.contract, sandbox, findings)
    if findings.has_errors:
        raise refused(rule, findings)
    asked = sorted(compiled.parts)
    content = canonical_json([document, asked] if asked else document)  # the versions it asks are part of it
    return Checked(text=graph.decode("utf-8-sig"), sha256=digest(content), compiled=compiled, report=report)


def check_statically(
    rule: Rule[Any, Any], graph: bytes, around: Surroundings | None = None
) -> tuple[dict[str, Any], Graph, Compiled, Findings]:
    """The part of :func:`check_upload` that evaluates nothing: the document, as it was read, and as it would be run.

    Raises:
        RuleGraphInvalid: with every issue found.
        ConfigurationError: zen-engine is missing here.
    """
    findings, around = Findings(), around or Surroundings()
    grammar = compilers()
    document = read_document(graph, findings)
    read = read_graph(document, findings) if document is not None else None
    if read is not None:
        validate(read, rule.contract, grammar, findings, around)
    if document is None or read is None or findings.has_errors:
        raise refused(rule, findings)
    return document, read, compile_graph(read, rule.contract, around.found), findings


def refused(rule: Rule[Any, Any], findings: Findings) -> RuleGraphInvalid:
    """The error that names every issue, the worst first."""
    worst_first = sorted(findings.issues, key=lambda issue: issue.severity != "error")
    return RuleGraphInvalid(rule.name, [issue.model_dump() for issue in worst_first[:MOST_ISSUES]])
