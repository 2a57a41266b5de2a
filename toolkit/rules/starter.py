"""The graph to start from: a table with every input and output field and one row that always matches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from toolkit.rules.contract import Contract, resolve
from toolkit.rules.samples import sample_value


def starter_graph(contract: Contract[Any, Any]) -> dict[str, Any]:
    """A JDM graph that opens in the editor, runs as it is and gives a fitting output for every input."""
    inputs = [_column(path) for path, _ in _leaves(contract.input_schema)]
    definitions = contract.output_schema.get("$defs", {})
    row = {"_id": "row-1", "_description": "Always"} | {_id("in", column["field"]): "" for column in inputs}
    outputs = []
    for path, schema in _leaves(contract.output_schema, whole_lists=True):
        outputs.append(_column(path) | {"id": _id("out", path)})
        row[_id("out", path)] = _expression(sample_value(schema, definitions))
    table = {
        "hitPolicy": "first",
        "inputs": [column | {"id": _id("in", column["field"])} for column in inputs],
        "outputs": outputs,
        "rules": [row],
        "passThrough": False,
        "inputField": None,
        "outputPath": None,
        "executionMode": "single",
    }
    nodes = [
        _node("input", "Request", "inputNode", {"schema": json.dumps(contract.input_schema)}, x=80),
        _node("table", contract.rule, "decisionTableNode", table, x=400),
        _node("output", "Response", "outputNode", {"schema": json.dumps(contract.output_schema)}, x=720),
    ]
    edges = [
        {"id": f"{source}-{target}", "type": "edge", "sourceId": source, "targetId": target}
        for source, target in (("input", "table"), ("table", "output"))
    ]
    return {"contentType": "application/vnd.gorules.decision", "nodes": nodes, "edges": edges}


def _node(id: str, name: str, type: str, content: dict[str, Any], *, x: int) -> dict[str, Any]:
    return {"id": id, "name": name, "type": type, "content": content, "position": {"x": x, "y": 160}}


def _column(path: str) -> dict[str, Any]:
    return {"id": "", "name": path.replace("_", " ").replace(".", " / ").capitalize(), "field": path}


def _id(side: str, path: str) -> str:
    return f"{side}-{path}"


def _leaves(schema: dict[str, Any], *, whole_lists: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """The dotted paths of plain values; lists are no column to compare, but one to fill."""
    definitions = schema.get("$defs", {})

    def walk(part: dict[str, Any], path: str, levels: int) -> Iterator[tuple[str, dict[str, Any]]]:
        part = resolve(part, definitions)
        options = [resolve(one, definitions) for one in part.get("anyOf", [part])]
        options = [one for one in options if one.get("type") != "null"] or [part]
        only = options[0]
        if len(options) == 1 and only.get("properties") and levels and "default" not in part:
            for name, inner in only["properties"].items():
                yield from walk(inner, f"{path}.{name}" if path else name, levels - 1)
        elif path and (whole_lists or not any(one.get("type") in {"array", "object"} for one in options)):
            yield path, part

    yield from walk(schema, "", 3)


def _expression(value: Any) -> str:
    """A JSON value as an expression, which knows no escapes in texts."""
    if isinstance(value, str):
        quote = '"' if "'" in value else "'"
        return f"{quote}{value.replace(quote, '')}{quote}"
    if isinstance(value, list):
        return "[" + ", ".join(_expression(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_expression(str(name))}: {_expression(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)
