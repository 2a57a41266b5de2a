"""Reads an upload into a :class:`~toolkit.rules.graphs.Graph`; what is not understood is reported, never guessed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, NoReturn, get_args

from toolkit.rules.graphs import (
    Assignment,
    Column,
    Content,
    DecisionTable,
    Edge,
    Function,
    Graph,
    Node,
    NodeType,
    Row,
    Statement,
    SubDecision,
    Switch,
)
from toolkit.rules.issues import Findings

LARGEST_UPLOAD = 2_000_000  # bytes
DEEPEST_JSON = 32
MOST_NODES, MOST_EDGES = 200, 2_000
MOST_ROWS = 5_000  # the engine's index grows with the square of distinct texts
MOST_CELLS = 100_000
LONGEST_SOURCE = 50_000  # characters of JavaScript in one node

_TYPES: dict[str, NodeType] = {name: name for name in get_args(NodeType)}


def read_document(data: bytes, findings: Findings) -> dict[str, Any] | None:
    """The JSON object in ``data``; nothing, with a finding, if there is none or it is too large or too deep."""
    if len(data) > LARGEST_UPLOAD:
        findings.error("too_large", f"the graph has {len(data)} bytes; at most {LARGEST_UPLOAD} are allowed", path="")
        return None
    try:
        document = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError:
        findings.error("too_deep", f"the JSON is nested deeper than {DEEPEST_JSON} levels", path="")
        return None
    except ValueError as error:  # includes what is not UTF-8
        findings.error("not_json", f"the graph is not JSON: {error}", path="")
        return None
    if _depth(document) > DEEPEST_JSON:
        findings.error("too_deep", f"the JSON is nested deeper than {DEEPEST_JSON} levels", path="")
        return None
    if not isinstance(document, dict):
        findings.error("not_a_graph", "a graph is a JSON object with the lists 'nodes' and 'edges'", path="")
        return None
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _depth(document: Any) -> int:
    depth, level = 0, [document]
    while level:
        depth += 1
        if depth > DEEPEST_JSON:
            break
        level = [
            part
            for value in level
            if isinstance(value, (dict, list))
            for part in (value.values() if isinstance(value, dict) else value)
        ]
    return depth


def read_graph(document: dict[str, Any], findings: Findings) -> Graph:
    """The graph in ``document``, as far as it is well formed; everything else becomes a finding."""
    for name, why in (("blocks", "policy documents are not graphs"), ("imports", "a graph stands alone")):
        if document.get(name):
            findings.error("not_allowed", f"{name!r} is not allowed here: {why}", path=name)
    nodes = list(_nodes(document, findings))
    edges = list(_edges(document, findings))
    rows = [len(node.content.rows) for node in nodes if isinstance(node.content, DecisionTable)]
    if sum(rows) > MOST_ROWS:
        findings.error("too_many_rows", f"the tables have {sum(rows)} rows; at most {MOST_ROWS} are allowed", path="")
    return Graph(tuple(nodes), tuple(edges))


def graph_of(text: str) -> Graph:
    """The graph of a stored version: it was read without findings before it was kept."""
    return read_graph(json.loads(text.removeprefix("\ufeff")), Findings())


def _listed(
    document: dict[str, Any], name: str, findings: Findings, *, path: str, node: str | None = None
) -> list[Any]:
    found = document.get(name, [])
    if isinstance(found, list):
        return found
    findings.error("wrong_shape", f"{name!r} must be a list", path=path, node=node)
    return []


def _nodes(document: dict[str, Any], findings: Findings) -> Iterator[Node]:
    listed = _listed(document, "nodes", findings, path="nodes")
    if not listed:
        findings.error("no_nodes", "the graph has no nodes", path="nodes")
    if len(listed) > MOST_NODES:
        findings.error(
            "too_many_nodes", f"there are {len(listed)} nodes; at most {MOST_NODES} are allowed", path="nodes"
        )
        listed = listed[:MOST_NODES]
    for index, raw in enumerate(listed):
        path = f"nodes.{index}"
        if not isinstance(raw, dict) or not _is_text(raw.get("id")) or not _is_text(raw.get("type")):
            findings.error("wrong_shape", "a node is an object with the texts 'id', 'name' and 'type'", path=path)
            continue
        name = raw["name"] if _is_text(raw.get("name")) else raw["id"]
        if raw["type"] not in _TYPES:
            reason = f"there is no node type {raw['type']!r}"
            allowed = "input, output, decision table, expression, switch and decision nodes are allowed"
            findings.error("node_not_allowed", f"{reason}; {allowed}", path=f"{path}.type", node=name)
            continue
        yield _node(raw, name, _TYPES[raw["type"]], findings, path=path)


def _node(raw: dict[str, Any], name: str, type: NodeType, findings: Findings, *, path: str) -> Node:
    content = raw.get("content") or {}
    if not isinstance(content, dict):
        findings.error("wrong_shape", "'content' must be an object", path=f"{path}.content", node=name)
        content = {}
    reader = _Reader(content, name, findings, f"{path}.content")
    if type in {"inputNode", "outputNode", "switchNode", "functionNode"}:
        return Node(raw["id"], name, type, reader.content_of(type), path)
    return Node(
        raw["id"],
        name,
        type,
        reader.content_of(type),
        path,
        passes_through=content.get("passThrough") is True,
        loops=content.get("executionMode") == "loop",
        input_field=content.get("inputField") if _is_text(content.get("inputField")) else None,
        output_path=content.get("outputPath") if _is_text(content.get("outputPath")) else None,
    )


class _Reader:
    """Reads the content of one node and reports with its name and path."""

    def __init__(self, content: dict[str, Any], node: str, findings: Findings, path: str) -> None:
        self.content, self.node, self.findings, self.path = content, node, findings, path

    def content_of(self, type: NodeType) -> Content:
        match type:
            case "decisionTableNode":
                return self.table()
            case "expressionNode":
                return self.assignments()
            case "switchNode":
                return self.switch()
            case "functionNode":
                return self.function()
            case "decisionNode":
                return self.sub_decision()
            case _:
                return None

    def error(self, code: str, message: str, path: str) -> None:
        self.findings.error(code, message, path=f"{self.path}.{path}", node=self.node)

    def objects(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        place = f"{self.path}.{name}"
        for index, raw in enumerate(_listed(self.content, name, self.findings, path=place, node=self.node)):
            if isinstance(raw, dict):
                yield f"{name}.{index}", raw
            else:
                self.error("wrong_shape", f"every entry of {name!r} is an object", f"{name}.{index}")

    def hit_policy(self) -> Literal["first", "collect"]:
        found = self.content.get("hitPolicy", "first")
        if found not in {"first", "collect"}:
            self.error("wrong_shape", f"the hit policy is {found!r}; expected 'first' or 'collect'", "hitPolicy")
        return "collect" if found == "collect" else "first"

    def columns(self, name: Literal["inputs", "outputs"]) -> tuple[Column, ...]:
        columns: list[Column] = []
        for path, raw in self.objects(name):
            if not _is_text(raw.get("id")):
                self.error("wrong_shape", "a column needs an 'id'", path)
                continue
            at = raw.get("field")
            at = at if _is_text(at) else None
            if name == "outputs" and at is None:
                self.error("no_output_field", "an output column needs the 'field' that it fills", f"{path}.field")
                continue
            if at is not None and name == "outputs" and "[" in at.removesuffix("[]"):
                self.error("wrong_field", f"{at!r} is no field name: brackets make no list here", f"{path}.field")
            columns.append(Column(raw["id"], raw["name"] if _is_text(raw.get("name")) else at or raw["id"], at))
        return tuple(columns)

    def table(self) -> DecisionTable:
        inputs, outputs = self.columns("inputs"), self.columns("outputs")
        ids = [column.id for column in (*inputs, *outputs)]
        for id_ in sorted({id_ for id_ in ids if ids.count(id_) > 1}):
            self.error("duplicate_id", f"two columns have the id {id_!r}", "inputs")
        if not outputs:
            self.error("no_output_column", "a decision table needs at least one output column", "outputs")
        raw_rows = list(self.objects("rules"))
        if len(raw_rows) * max(len(ids), 1) > MOST_CELLS:
            found = len(raw_rows) * len(ids)
            self.error("too_many_cells", f"the table has {found} cells; at most {MOST_CELLS} are allowed", "rules")
            raw_rows = []
        rows = [self.row(number, path, raw, set(ids)) for number, (path, raw) in enumerate(raw_rows, start=1)]
        if not rows:
            self.error("no_rows", "a decision table without rows decides nothing", "rules")
        seen: set[str] = set()
        for row in rows:
            if row.id in seen:
                self.findings.error("duplicate_id", f"two rows have the id {row.id!r}", path=row.path, node=self.node)
            seen.add(row.id)
        return DecisionTable(self.hit_policy(), inputs, outputs, tuple(rows))

    def row(self, number: int, path: str, raw: dict[str, Any], columns: set[str]) -> Row:
        cells = {}
        for name, text in raw.items():
            if text is None or (name.startswith("_") and name not in columns):
                continue  # an editor writes `_description: null`, on which the engine refuses the whole graph
            if name not in columns:
                place = f"{self.path}.{path}.{name}"
                message = f"row {number} has a cell for {name!r}, which is no column; it is ignored"
                self.findings.warning("unknown_cell", message, path=place, node=self.node)
            elif not isinstance(text, str):
                self.error("cell_not_text", f"row {number}: a cell is text, found {text!r}", f"{path}.{name}")
            elif text.strip():
                cells[name] = text
        return Row(raw["_id"] if _is_text(raw.get("_id")) else f"row {number}", cells, f"{self.path}.{path}")

    def assignments(self) -> tuple[Assignment, ...]:
        found = []
        for path, raw in self.objects("expressions"):
            if not _is_text(raw.get("key")) or not _is_text(raw.get("value")):
                self.error("empty_expression", "an expression needs the texts 'key' and 'value'", path)
                continue
            if "[" in raw["key"]:
                self.error("wrong_field", f"{raw['key']!r} is no field name: brackets make no list here", f"{path}.key")
            found.append(Assignment(raw["key"], raw["value"], f"{self.path}.{path}.value"))
        if not found:
            self.error("no_expressions", "an expression node without expressions produces nothing", "expressions")
        return tuple(found)

    def switch(self) -> Switch:
        found: list[Statement] = []
        for path, raw in self.objects("statements"):
            condition = raw.get("condition") or ""
            if not _is_text(raw.get("id")) or not isinstance(condition, str):
                self.error("wrong_shape", "a statement needs the texts 'id' and 'condition'", path)
                continue
            if raw["id"] in {one.id for one in found}:
                self.error("duplicate_id", f"two statements have the id {raw['id']!r}", path)
            found.append(Statement(raw["id"], condition, raw.get("isDefault") is True, f"{self.path}.{path}.condition"))
        if not found:
            self.error("no_statements", "a switch without statements leads nowhere", "statements")
        return Switch(self.hit_policy(), tuple(found))

    def function(self) -> Function:
        source = self.content.get("source")
        if not isinstance(source, str) or not source.strip():
            self.error("wrong_shape", "a function node needs its JavaScript as the text 'source'", "source")
            return Function("")
        if len(source) > LONGEST_SOURCE:
            message = f"the function has {len(source)} characters; at most {LONGEST_SOURCE} are allowed"
            self.error("function_too_long", message, "source")
        return Function(source)

    def sub_decision(self) -> SubDecision:
        key = self.content.get("key")
        if not isinstance(key, str) or not key.strip():
            self.error("wrong_shape", "a decision node needs the 'key' of a rule, as in 'limits' or 'limits@3'", "key")
            return SubDecision("", f"{self.path}.key")
        return SubDecision(key.strip(), f"{self.path}.key")


def _edges(document: dict[str, Any], findings: Findings) -> Iterator[Edge]:
    listed = _listed(document, "edges", findings, path="edges")
    if len(listed) > MOST_EDGES:
        findings.error(
            "too_many_edges", f"there are {len(listed)} edges; at most {MOST_EDGES} are allowed", path="edges"
        )
        listed = listed[:MOST_EDGES]
    for index, raw in enumerate(listed):
        path = f"edges.{index}"
        if not isinstance(raw, dict) or not _is_text(raw.get("sourceId")) or not _is_text(raw.get("targetId")):
            findings.error("wrong_shape", "an edge is an object with the texts 'sourceId' and 'targetId'", path=path)
            continue
        handle = raw.get("sourceHandle")
        yield Edge(raw["sourceId"], raw["targetId"], handle if _is_text(handle) else None, path)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
