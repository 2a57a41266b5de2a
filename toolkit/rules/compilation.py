"""What the engine runs instead of what was uploaded: our schemas, known keys only, and a mark on every row.

The light trace. The engine's own trace switches off the index of a table, so a first-hit table gets a hidden output
column with the row's number, and a hidden last row that means "none". In a chain of plain nodes the number is carried
to the output; elsewhere the engine's trace is asked for.

Loops. A chain of plain nodes over many inputs is one call: each node repeats itself over ``items``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.rules.bounds import is_bounded
from toolkit.rules.contract import Contract
from toolkit.rules.expressions import read_expression
from toolkit.rules.graphs import DecisionTable, Edge, Graph, Node, Switch, canonical_json, digest

MARK = "__row_"
"""Hidden fields begin like this; an upload that uses the name is refused."""

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


class Compiled(BaseModel):
    """A graph as the engine gets it. ``loop`` decides many inputs in one call, where the graph allows that."""

    model_config = ConfigDict(frozen=True)

    graph: str
    loop: str | None
    names: dict[str, str]
    """What the nodes are called, by id."""
    tables: list[MarkedTable]
    is_traced: bool
    """Whether the engine's own trace is needed to say which rows matched."""
    is_bounded: bool = False
    """Whether no input can make it harm the process that evaluates it."""

    @property
    def sha256(self) -> str:
        return digest(self.graph)


def compile_graph(graph: Graph, contract: Contract[Any, Any]) -> Compiled:
    """Rewrite a validated ``graph``."""
    plain = all(node.is_plain for node in graph.nodes)
    first_only = all(table.hit_policy == "first" for _, table in graph.tables())
    is_marked = graph.is_chain and plain and first_only
    marks = {node.id: f"{MARK}{index}" for index, (node, _) in enumerate(graph.tables())} if is_marked else {}
    single = _Rewrite(graph, contract.engine_schema, marks, is_loop=False).document()
    loop = None
    if is_marked and not _uses_nodes(graph):
        schema = {"type": "object", "properties": {"items": {"type": "array", "items": contract.engine_schema}}}
        loop = canonical_json(_Rewrite(graph, schema, marks, is_loop=True).document())
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
        is_traced=bool(tables) and not is_marked,
        is_bounded=is_bounded(graph),
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
    return [one.value for one in content or ()]


@dataclass(frozen=True)
class _Rewrite:
    graph: Graph
    schema: dict[str, Any]
    marks: dict[str, str]
    is_loop: bool

    def document(self) -> dict[str, Any]:
        carried: list[str] = []  # the marks of tables further up the chain
        nodes = []
        for node in self.graph.order:
            nodes.append(self.node(node, carried))
            if node.id in self.marks:
                carried.append(self.marks[node.id])
        return {"nodes": nodes, "edges": [self.edge(number, edge) for number, edge in enumerate(self.graph.edges)]}

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
