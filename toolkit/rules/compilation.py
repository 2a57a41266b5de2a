"""What the engine runs instead of what was uploaded: our schemas, known keys only, and a mark on every row.

Sub-decisions are part of it: the version that a decision node names is fixed at the upload and copied in, so that
what a version decides never changes with another rule.

The light trace. The engine's own trace switches off the index of a table, so a first-hit table gets a hidden output
column with the row's number, and a hidden last row that means "none". In a chain of plain nodes the number is carried
to the output; elsewhere the engine's trace is asked for.

Loops. A chain of plain nodes over many inputs is one call: each node repeats itself over ``items``.

Nulls. The engine leaves a null at the top of its output out, which is not the same where the output model has another
default. There a last node puts the whole output one level down, where nulls stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.rules.contract import Contract
from toolkit.rules.expressions import read_expression
from toolkit.rules.graphs import (
    DecisionTable,
    Edge,
    Function,
    Graph,
    Node,
    SubDecision,
    Switch,
    canonical_json,
    digest,
)

MARK = "__row_"
"""Hidden fields begin like this; an upload that uses the name is refused."""
WRAPPED = f"{MARK}output"
"""Where the whole output is, in a graph that keeps its nulls."""
DEEPEST_SUB_DECISIONS = 5

_LOOP = {"executionMode": "loop", "inputField": "items", "outputPath": "items"}


class MarkedTable(BaseModel):
    """One table: the hidden field with its row number, if it has one, and the ids of its rows."""

    model_config = ConfigDict(frozen=True)

    node: str
    name: str
    hit_policy: Literal["first", "collect"]
    mark: str | None
    rows: list[str]

    @cached_property
    def labels(self) -> list[str]:
        """What a record calls the rows: the table's name and the row's id."""
        return [f"{self.name}/{row}" for row in self.rows]


class Part(BaseModel):
    """A graph as the engine gets it, with what its records are called."""

    model_config = ConfigDict(frozen=True)

    graph: str
    names: dict[str, str]
    """What the nodes are called, by id."""
    tables: list[MarkedTable]
    calls: dict[str, str] = {}
    """The key of the part that each decision node asks, by the node's id."""


class SubPart(Part):
    """A version of a rule that another graph asks."""

    rule: str
    version: int


class Compiled(Part):
    """What one version decides with. ``loop`` decides many inputs in one call, where the graph allows that."""

    loop: str | None
    is_traced: bool
    """Whether the engine's own trace is needed to say which rows matched."""
    parts: dict[str, SubPart] = {}
    """The sub-decisions by key, those of sub-decisions included."""
    depth: int = 0
    """How many sub-decisions ask each other at most."""
    has_functions: bool = False
    """Whether there is JavaScript in it or its parts: it is then never evaluated outside the sandbox."""
    is_wrapped: bool = False
    """Whether the output is under :data:`WRAPPED`."""

    @property
    def sha256(self) -> str:
        return digest(self.graph)  # the keys of its parts are in it, and name their content

    @property
    def texts(self) -> dict[str, str]:
        """The parts as the engine gets them."""
        return {key: part.graph for key, part in self.parts.items()}


@dataclass(frozen=True)
class Asked:
    """A version that a decision node names: its graph, and what it was compiled to."""

    rule: str
    version: int
    graph: Graph
    contract: Contract[Any, Any]
    compiled: Compiled

    @cached_property
    def part(self) -> SubPart:
        """What is copied into the graph that asks. Without marks: their fields would be among its fields."""
        rewrite = _Rewrite(self.graph, self.contract.engine_schema, calls=self.compiled.calls)
        return SubPart(
            rule=self.rule,
            version=self.version,
            graph=canonical_json(rewrite.document()),
            names=self.compiled.names,
            tables=[table.model_copy(update={"mark": None}) for table in self.compiled.tables],
            calls=self.compiled.calls,
        )

    @cached_property
    def key(self) -> str:
        """Names the part: the same key is the same content, wherever it was compiled."""
        return f"{self.rule}@{self.version}#{digest(self.part.graph)[:16]}"


def compile_graph(graph: Graph, contract: Contract[Any, Any], asked: Mapping[str, Asked] | None = None) -> Compiled:
    """Rewrite a validated ``graph``; ``asked`` has the sub-decisions by the keys that it uses."""
    found = {node.id: (asked or {})[node.content.key] for node in graph.nodes if isinstance(node.content, SubDecision)}
    calls = {node: one.key for node, one in found.items()}
    plain = all(node.is_plain for node in graph.nodes)
    first_only = all(table.hit_policy == "first" for _, table in graph.tables())
    is_marked = graph.is_chain and plain and first_only
    marks = {node.id: f"{MARK}{index}" for index, (node, _) in enumerate(graph.tables())} if is_marked else {}
    wraps = contract.tells_null_from_missing
    single = _Rewrite(graph, contract.engine_schema, marks, calls=calls, wraps=wraps).document()
    loop = None
    if is_marked and not _uses_nodes(graph):
        schema = {"type": "object", "properties": {"items": {"type": "array", "items": contract.engine_schema}}}
        loop = canonical_json(_Rewrite(graph, schema, marks, wraps=wraps, is_loop=True).document())
    tables = [
        MarkedTable(
            node=node.id,
            name=node.name,
            hit_policy=table.hit_policy,
            mark=marks.get(node.id),
            rows=[row.id for row in table.rows],
        )
        for node, table in graph.tables()
    ]
    return Compiled(
        graph=canonical_json(single),
        loop=loop,
        names={node.id: node.name for node in graph.nodes},
        tables=tables,
        calls=calls,
        is_traced=bool(tables or calls) and not is_marked,
        parts={key: part for one in found.values() for key, part in (*one.compiled.parts.items(), (one.key, one.part))},
        depth=max((1 + one.compiled.depth for one in found.values()), default=0),
        has_functions=bool(graph.of_type("functionNode")) or any(o.compiled.has_functions for o in found.values()),
        is_wrapped=wraps,
    )


def _uses_nodes(graph: Graph) -> bool:
    return any("$nodes" in text and read_expression(text).uses_nodes for node in graph.nodes for text in texts_of(node))


def texts_of(node: Node) -> list[str]:
    """Every expression of a node."""
    content = node.content
    if isinstance(content, DecisionTable):
        fields = [column.field for column in content.inputs if column.field]
        return [*fields, *(text for row in content.rows for text in row.cells.values())]
    if isinstance(content, Switch):
        return [statement.condition for statement in content.statements]
    return [one.value for one in content] if isinstance(content, tuple) else []


@dataclass(frozen=True)
class _Rewrite:
    graph: Graph
    schema: dict[str, Any]
    marks: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
    wraps: bool = False
    is_loop: bool = False

    def document(self) -> dict[str, Any]:
        carried: list[str] = []  # the marks of tables further up the chain
        nodes = []
        for node in self.graph.order:
            nodes.append(self.node(node, carried))
            if node.id in self.marks:
                carried.append(self.marks[node.id])
        edges = [self.edge(number, edge) for number, edge in enumerate(self.graph.edges)]
        if self.wraps:
            nodes.append(self.wrapper())
            ends = {node.id for node in self.graph.of_type("outputNode")}
            into = [edge | {"targetId": WRAPPED} if edge["targetId"] in ends else edge for edge in edges]
            edges = [*into, *({"id": f"to-{end}", "sourceId": WRAPPED, "targetId": end} for end in sorted(ends))]
        return {"nodes": nodes, "edges": edges}

    def wrapper(self) -> dict[str, Any]:
        whole = {"expressions": [{"id": WRAPPED, "key": WRAPPED, "value": "$root"}]} | (_LOOP if self.is_loop else {})
        return {"id": WRAPPED, "name": WRAPPED, "type": "expressionNode", "content": whole}

    def edge(self, number: int, edge: Edge) -> dict[str, Any]:
        kept = {"id": f"edge-{number}", "type": "edge", "sourceId": edge.source, "targetId": edge.target}
        return kept | ({"sourceHandle": edge.handle} if edge.handle is not None else {})

    def node(self, node: Node, carried: list[str]) -> dict[str, Any]:
        return {"id": node.id, "name": node.name, "type": node.type, "content": self.content(node, carried)}

    def content(self, node: Node, carried: list[str]) -> dict[str, Any]:
        content = node.content
        if content is None:
            return {"schema": json.dumps(self.schema, sort_keys=True)} if node.type == "inputNode" else {}
        if isinstance(content, Switch):
            statements = [{"id": s.id, "condition": s.condition, "isDefault": s.is_default} for s in content.statements]
            return {"hitPolicy": content.hit_policy, "statements": statements}
        if isinstance(content, Function):
            return {"source": content.source}
        if isinstance(content, SubDecision):
            return {"key": self.calls[node.id]} | self.settings(node)
        carried = [] if node.passes_through else carried  # what passes through carries the marks with it
        if isinstance(content, DecisionTable):
            return self.table(content, self.marks.get(node.id), carried) | self.settings(node)
        expressions = [{"id": f"{index}", "key": one.key, "value": one.value} for index, one in enumerate(content)]
        expressions += [{"id": mark, "key": mark, "value": mark} for mark in carried]
        return {"expressions": expressions} | self.settings(node)

    def settings(self, node: Node) -> dict[str, Any]:
        if self.is_loop:
            return {"passThrough": node.passes_through, **_LOOP}
        mode = "loop" if node.loops else "single"
        return {
            "passThrough": node.passes_through,
            "executionMode": mode,
            "inputField": node.input_field,
            "outputPath": node.output_path,
        }

    def table(self, table: DecisionTable, mark: str | None, carried: list[str]) -> dict[str, Any]:
        inputs = [_column(column.id, column.name, column.field) for column in table.inputs]
        outputs = [_column(column.id, column.name, column.field) for column in table.outputs]
        rows: list[dict[str, str]] = [{"_id": row.id, **row.cells} for row in table.rows]
        if mark is not None:
            rows.append({"_id": mark})
            for number, row in enumerate(rows):
                row[mark] = str(number) if number < len(table.rows) else "-1"
            outputs.append(_column(mark, mark, mark))
        for name in carried:
            outputs.append(_column(name, name, name))
            for row in rows:
                row[name] = name
        return {"hitPolicy": table.hit_policy, "inputs": inputs, "outputs": outputs, "rules": rows}


def _column(id: str, name: str, field: str | None) -> dict[str, Any]:
    return {"id": id, "name": name} | ({"field": field} if field is not None else {})
