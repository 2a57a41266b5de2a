"""The models, rules and graphs that the tests of this room share."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel

from toolkit.errors import RuleGraphInvalid
from toolkit.rules import Report, Rule, Sandbox, rule
from toolkit.rules.uploads import Checked, check_upload


class Claim(BaseModel):
    total: Decimal
    category: Literal["travel", "meals", "other"] = "other"
    vendor: str = "ACME"
    is_known: bool = True
    due: date | None = None
    tags: list[str] = []


class Verdict(BaseModel):
    approved: bool
    reason: str = ""
    limit: Decimal | None = None


@rule(description="May this claim be paid without a person?")
def approval(input: Claim) -> Verdict:
    return Verdict(approved=input.total <= 1000, reason="by the function")


def table_node(
    rows: Sequence[Sequence[str | None]],
    *,
    inputs: Sequence[str] = ("total", "category"),
    outputs: Sequence[str] = ("approved", "reason"),
    hit_policy: str = "first",
    **settings: Any,
) -> dict[str, Any]:
    """A decision table; an input called ``""`` is a column of conditions. Column ids are ``i0``, ``o0`` and so on."""
    columns = [*(f"i{n}" for n in range(len(inputs))), *(f"o{n}" for n in range(len(outputs)))]
    content = {
        "hitPolicy": hit_policy,
        "inputs": [
            {"id": f"i{n}", "name": field or "condition", **({"field": field} if field else {})}
            for n, field in enumerate(inputs)
        ],
        "outputs": [{"id": f"o{n}", "name": field, "field": field} for n, field in enumerate(outputs)],
        "rules": [{"_id": f"r{n}", **dict(zip(columns, row, strict=True))} for n, row in enumerate(rows, start=1)],
        **settings,
    }
    return {"type": "decisionTableNode", "content": content}


def expression_node(expressions: dict[str, str], **settings: Any) -> dict[str, Any]:
    listed = [{"id": key, "key": key, "value": value} for key, value in expressions.items()]
    return {"type": "expressionNode", "content": {"expressions": listed, **settings}}


def switch_node(conditions: Sequence[str]) -> dict[str, Any]:
    statements = [{"id": f"s{n}", "condition": text} for n, text in enumerate(conditions)]
    return {"type": "switchNode", "content": {"hitPolicy": "first", "statements": statements}}


def graph_of(nodes: dict[str, dict[str, Any]], edges: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """A graph of named nodes between ``input`` and ``output``; an edge may end with the statement it leaves by."""
    ends = {"input": {"type": "inputNode"}, "output": {"type": "outputNode"}}
    listed = [{"id": name, "name": name, "content": {}, **node} for name, node in (ends | nodes).items()]
    joined = [
        {"id": f"e{n}", "type": "edge", "sourceId": edge[0], "targetId": edge[1]}
        | ({"sourceHandle": edge[2]} if len(edge) > 2 else {})
        for n, edge in enumerate(edges)
    ]
    return {"nodes": listed, "edges": joined}


def chain(*nodes: dict[str, Any]) -> dict[str, Any]:
    """A graph in one line: input, ``node1``, ``node2``, output."""
    named = {f"node{n}": node for n, node in enumerate(nodes, start=1)}
    names = ["input", *named, "output"]
    return graph_of(named, list(itertools.pairwise(names)))


LIMITS = chain(
    table_node(
        [
            ["<= 5000", "'travel'", "true", "'travel is cheap'"],
            ["<= 100", "", "true", "'small'"],
            ["", "", "false", "'ask'"],
        ]
    )
)
"""Travel up to 5,000 and anything up to 100 is approved."""

STRICT = chain(table_node([["<= 10", "", "true", "'tiny'"], ["", "", "false", "'strict'"]]))
"""Hardly anything is approved."""


def encode(graph: Any) -> bytes:
    return json.dumps(graph).encode()


def check(graph: Any, sandbox: Sandbox, rule: Rule[Any, Any] = approval) -> Checked:
    return check_upload(rule, graph if isinstance(graph, bytes) else encode(graph), sandbox)


def issues_of(graph: Any, sandbox: Sandbox, rule: Rule[Any, Any] = approval) -> list[tuple[str, str]]:
    """Severity and code of every issue, refused or not."""
    return [(issue["severity"], issue["code"]) for issue in found_in(graph, sandbox, rule)]


def found_in(graph: Any, sandbox: Sandbox, rule: Rule[Any, Any] = approval) -> list[dict[str, Any]]:
    try:
        report: Report = check(graph, sandbox, rule).report
    except RuleGraphInvalid as error:
        return error.issues
    return [issue.model_dump() for issue in report.issues]
