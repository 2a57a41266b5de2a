"""Why a decision came out as it did: the engine's trace of one input, told in words.

The trace is made anew, in the sandbox, from the version and the input; neither ever changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.errors import RuleEvaluationError
from toolkit.rules.compilation import MARK, Compiled, Part
from toolkit.rules.contract import Contract, In, Out
from toolkit.rules.decisions import decide_by_function
from toolkit.rules.definitions import Rule
from toolkit.rules.documents import graph_of
from toolkit.rules.engine import Evaluation, Failure, nested_traces
from toolkit.rules.graphs import DecisionTable, Function, Graph, Node, SubDecision, Switch, canonical_json
from toolkit.rules.overrides import read_evaluation
from toolkit.rules.redaction import Redaction
from toolkit.rules.sandbox import Sandbox, Trial, Trying
from toolkit.rules.words import row_in_words, value_in_words

MOST_NODES_TOLD = 200  # a sub-decision that loops has as many as items


class ExplainedNode(BaseModel):
    """What one node of the graph did. ``rows`` are the ids of the rows that matched."""

    model_config = ConfigDict(frozen=True)

    node: str
    kind: Literal["table", "expression", "switch", "decision", "function"]
    text: str
    rows: list[str] = []
    output: Any = None


class Explanation(BaseModel):
    """One decision and why. Either ``output`` or ``error`` is there."""

    model_config = ConfigDict(frozen=True)

    rule: str
    source: Literal["python", "override"]
    version: int | None = None
    input: Any
    output: Any = None
    error: str | None = None
    rows: list[str] = []
    nodes: list[ExplainedNode] = []
    """In the order in which they were evaluated; up to the one that failed."""
    text: str
    """All of it in words, one sentence a line."""
    decision: str | None = None
    """The id of the recorded decision, if it is about one."""
    agrees: bool | None = None
    """Whether evaluating again gave what is on record; a graph that asks for the time or for chance may differ."""


_NEVER_SECRET = frozenset({"rule", "source", "version", "rows", "decision", "agrees"})


class Traced(BaseModel):
    """What came of evaluating one input with the engine's trace."""

    output: dict[str, Any] | None = None
    error: str | None = None
    cut_off: str | None = None
    """Why the sandbox ended before there was an answer, if it did."""
    rows: list[str] = []
    nodes: list[ExplainedNode] = []


def explain_function(rule: Rule[In, Out], input: In) -> Explanation:
    """What the rule's function says about ``input``; it gives no reasons but those in its output."""
    told = Explanation(
        rule=rule.name,
        source="python",
        input=input.model_dump(mode="json", by_alias=True),
        output=decide_by_function(rule, input, {}).model_dump(mode="json", by_alias=True),
        text="The rule's function decided: no uploaded version is active.",
    )
    return redacted(rule.contract, told, given=told.input)


def redacted(contract: Contract[Any, Any], told: Explanation, *, given: Any) -> Explanation:
    """``told`` without the secrets of the input ``given``, a JSON value, and of its own output."""
    return Redaction(contract).hide(told, input=given, outputs=(told.output,), keep=_NEVER_SECRET)


def trace(graph: Graph, compiled: Compiled, contract: Contract[Any, Any], context: str, *, sandbox: Sandbox) -> Traced:
    """Evaluate ``context``, JSON text, in the sandbox and tell what each node did. Blocks.

    Never raises for what the graph does.
    """
    tried = _try(compiled, [context], sandbox=sandbox, with_trace=True)
    (found,) = _evaluations(tried, 1)
    traces = found.trace if isinstance(found, Evaluation) else _trace_before(compiled, found, context, sandbox)
    nodes = list(islice(_explained(graph, compiled, compiled, traces or {}), MOST_NODES_TOLD))
    traced = Traced(cut_off=tried.cut_off, nodes=nodes)
    try:
        output, traced.rows = read_evaluation(contract, compiled, found)
        traced.output = output.model_dump(mode="json", by_alias=True)
    except RuleEvaluationError as error:
        traced.error = str(error)
        traced.rows = [f"{node.node}/{row}" for node in traced.nodes for row in node.rows]
    return traced


def evaluate_quietly(compiled: Compiled, contexts: list[str], *, sandbox: Sandbox) -> list[Evaluation | Failure]:
    """Each context's evaluation; a failure for those that the sandbox did not come to."""
    return _evaluations(_try(compiled, contexts, sandbox=sandbox, with_trace=compiled.is_traced), len(contexts))


def _try(compiled: Compiled, contexts: list[str], *, sandbox: Sandbox, with_trace: bool) -> Trying:
    return sandbox.run(Trial(compiled.graph, contexts, with_trace=with_trace, parts=compiled.texts))


def _evaluations(tried: Trying, wanted: int) -> list[Evaluation | Failure]:
    missing = Failure(tried.refused or tried.cut_off or "the sandbox gave no answer")
    return [*tried.evaluations, *[missing] * (wanted - len(tried.evaluations))]


def _trace_before(compiled: Compiled, failure: Failure, context: str, sandbox: Sandbox) -> dict[str, Any] | None:
    """The trace of the nodes before the one that failed: the engine gives none with an error, so that node is cut."""
    document = json.loads(compiled.graph)
    if failure.node_id is None:
        return None
    gone, edges = {failure.node_id}, document["edges"]
    for _ in document["nodes"]:
        gone |= {edge["targetId"] for edge in edges if edge["sourceId"] in gone}
    document["nodes"] = [node for node in document["nodes"] if node["id"] not in gone]
    document["edges"] = [edge for edge in edges if not {edge["sourceId"], edge["targetId"]} & gone]
    tried = sandbox.run(Trial(canonical_json(document), [context], with_trace=True, parts=compiled.texts))
    found = next(iter(tried.evaluations), None)
    return found.trace if isinstance(found, Evaluation) else None


def _explained(graph: Graph, compiled: Compiled, part: Part, traces: dict[str, Any]) -> Iterator[ExplainedNode]:
    for traced in sorted(traces.values(), key=lambda one: one.get("order", 0)):
        node = graph.by_id.get(traced["id"])
        if node is None or node.content is None:
            continue
        output = _without_marks(traced["output"])
        if isinstance(node.content, DecisionTable):
            numbers = list(_row_numbers(traced["traceData"], node.content))
            rows = [node.content.rows[number].id for number in numbers]
            text = _table_text(node, node.content, numbers)
            yield ExplainedNode(node=node.name, kind="table", text=text, rows=rows, output=output)
        elif isinstance(node.content, Switch):
            yield ExplainedNode(node=node.name, kind="switch", text=_switch_text(node.content, traced), output=None)
        elif isinstance(node.content, SubDecision):
            asked = compiled.parts[part.calls[node.id]]
            text = f"version {asked.version} of {asked.rule} was asked"
            yield ExplainedNode(node=node.name, kind="decision", text=text, output=output)
            for inner in nested_traces(traced):
                for one in _explained(graph_of(asked.graph), compiled, asked, inner):
                    yield one.model_copy(update={"node": f"{node.name}/{one.node}"})
        elif isinstance(node.content, Function):
            yield ExplainedNode(node=node.name, kind="function", text="computed by JavaScript", output=output)
        else:
            results = traced["traceData"] if isinstance(traced["traceData"], dict) else {}
            told = [
                f"{one.key} is {value_in_words(results[one.key].get('result'))}"
                for one in node.content
                if isinstance(results.get(one.key), dict)
            ]
            text = "; ".join(told) or "computed for each item"
            yield ExplainedNode(node=node.name, kind="expression", text=text, output=output)


def _row_numbers(data: Any, table: DecisionTable) -> Iterator[int]:
    for hit in data if isinstance(data, list) else [data]:
        if isinstance(hit, list):
            yield from _row_numbers(hit, table)
        elif isinstance(hit, dict) and hit["index"] < len(table.rows):  # beyond them lies our row that means "none"
            yield int(hit["index"])


def _table_text(node: Node, table: DecisionTable, numbers: list[int]) -> str:
    if not numbers:
        return f"no row of {node.name} matched"
    return "; ".join(f"row {number + 1} matched: {row_in_words(table, table.rows[number])}" for number in numbers)


def _switch_text(switch: Switch, traced: dict[str, Any]) -> str:
    taken = {one["id"] for one in (traced["traceData"] or {}).get("statements", ())}
    conditions = [one.condition.strip() for one in switch.statements if one.id in taken]
    if not conditions:
        return "no condition held"
    return " and ".join(f"`{condition}` held" if condition else "otherwise" for condition in conditions)


def _without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: part for key, part in value.items() if not key.startswith(MARK)}
    return value


def tell(traced: Traced, *, version: int | None) -> str:
    """What was traced in sentences, one a line."""
    who = f"Version {version} decided." if version is not None else "The graph was tried."
    lines = [who, *(f"{node.node}: {node.text}." for node in traced.nodes)]
    if traced.error is not None:
        lines.append(f"It failed: {traced.error}.")
    elif traced.output is not None:
        lines.append("The outcome: " + ", ".join(f"{k} {value_in_words(v)}" for k, v in traced.output.items()) + ".")
    return "\n".join(lines)
