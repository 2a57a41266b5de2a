"""The dry run: an uploaded graph decides sample inputs in the sandbox before it is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from toolkit.errors import RuleEvaluationError, RuleNoMatch
from toolkit.rules.compilation import Compiled
from toolkit.rules.contract import Contract
from toolkit.rules.engine import Evaluation, Failure
from toolkit.rules.expressions import read_expression
from toolkit.rules.fields import Scope, scopes_of, value_type
from toolkit.rules.graphs import DecisionTable, Graph, Node, Switch
from toolkit.rules.issues import Findings, Report
from toolkit.rules.overrides import read_evaluation
from toolkit.rules.samples import make_samples
from toolkit.rules.sandbox import Probe, Sandbox, Trial

MOST_PROBES = 2_000
_CONTEXTS_PER_PROBE = 3


def dry_run(
    graph: Graph, compiled: Compiled, contract: Contract[Any, Any], sandbox: Sandbox, findings: Findings
) -> Report:
    """Try the graph on samples, add what came of it to ``findings`` and report all of them. Blocks, up to seconds."""
    contexts = [contract.encode(sample) for sample in make_samples(graph, contract)]
    if not contexts:
        message = "no sample input could be made for the model; give it `examples` so that uploads can be tried"
        findings.warning("no_samples", message, path="")
    placed = list(_probes(graph, contract, [json.loads(context) for context in contexts]))[:MOST_PROBES]
    tried = sandbox.run(
        Trial(
            compiled.graph,
            contexts,
            [probe for *_, probe in placed],
            with_trace=compiled.is_traced,
            parts=compiled.texts,
        )
    )
    if tried.refused is not None:
        findings.error("engine_refused", f"the engine does not take the graph: {tried.refused}", path="")
    if tried.cut_off is not None:
        findings.error("not_containable", f"the dry run was ended: {tried.cut_off}", path="")
    for (node, path, place, probe), raises in zip(placed, tried.raises, strict=False):
        if raises and probe.kind == "test" and not read_expression(probe.text, is_cell=True).fields:
            message = f"{place}: {probe.text!r} fails for every value of this field, so the row can never match"
            findings.error("cell_cannot_match", message, path=path, node=node.name)
        elif raises:
            message = f"{place}: {probe.text!r} failed for every sample; where it fails it counts as false"
            findings.warning("condition_fails", message, path=path, node=node.name)
    return _judge(tried.evaluations, len(contexts), compiled, contract, findings)


def _judge(
    evaluations: Sequence[Evaluation | Failure],
    samples: int,
    compiled: Compiled,
    contract: Contract[Any, Any],
    findings: Findings,
) -> Report:
    decided = unmatched = 0
    reasons: dict[str, int] = {}
    for evaluation in evaluations:
        try:
            read_evaluation(contract, compiled, evaluation)
            decided += 1
        except RuleNoMatch:
            unmatched += 1
        except RuleEvaluationError as error:
            place = f"{error.node}: " if error.node else ""
            reasons[place + error.reason] = reasons.get(place + error.reason, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:5]:
        report = findings.warning if decided else findings.error
        report("dry_run_failed", f"{count} of {samples} sample inputs failed: {reason}", path="")
    if unmatched and not decided and not reasons:
        message = f"none of {samples} sample inputs was matched by a row; check the conditions"
        findings.warning("dry_run_unmatched", message, path="")
    return Report(
        issues=findings.issues, samples=samples, decided=decided, unmatched=unmatched, failed=sum(reasons.values())
    )


def _probes(
    graph: Graph, contract: Contract[Any, Any], samples: Sequence[dict[str, Any]]
) -> Iterator[tuple[Node, str, str, Probe]]:
    """Conditions whose failure the engine hides, with contexts to try them in; only where all they see is the input."""
    scopes = scopes_of(graph, contract)
    whole = [json.dumps(sample) for sample in samples[:_CONTEXTS_PER_PROBE]]
    for node in graph.nodes:
        if any(parent.type != "inputNode" for parent in graph.parents(node)) or not node.is_plain:
            continue
        if isinstance(node.content, Switch):
            for statement in node.content.statements:
                if statement.condition.strip():
                    probe = Probe("expression", statement.condition, whole)
                    yield node, statement.path, "the condition", probe
        elif isinstance(node.content, DecisionTable) and node.id in scopes:
            yield from _cell_probes(node, node.content, scopes[node.id][0], samples, whole)


def _cell_probes(
    node: Node, table: DecisionTable, seen: Scope, samples: Sequence[dict[str, Any]], whole: Sequence[str]
) -> Iterator[tuple[Node, str, str, Probe]]:
    for column in table.inputs:
        contexts = whole
        if column.field is not None:
            # The engine reads dates as dates through the schema, which a single expression does not have.
            is_moment = value_type(seen.find(column.field.split(".")), seen.definitions).is_moment
            contexts = [] if is_moment else _test_contexts(column.field, samples)
        for number, row in enumerate(table.rows, start=1):
            if (text := row.cells.get(column.id)) is not None and contexts:
                probe = Probe("expression" if column.field is None else "test", text, contexts)
                yield node, f"{row.path}.{column.id}", f"row {number}, column {column.name!r}", probe


def _test_contexts(field: str, samples: Sequence[dict[str, Any]]) -> list[str]:
    """Contexts with different values of ``field`` as ``$``; none where no sample has a value."""
    found: dict[str, str] = {}
    for sample in samples:
        value: Any = sample
        for name in field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            found.setdefault(json.dumps(value), json.dumps({**sample, "$": value}))
        if len(found) == _CONTEXTS_PER_PROBE:
            break
    return list(found.values())
