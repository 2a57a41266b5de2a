"""Static checks of what an uploaded graph gives: every field that the output needs, and nothing that cannot fit."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolkit.rules.contract import Contract
from toolkit.rules.expressions import read_literal
from toolkit.rules.fields import Scope
from toolkit.rules.graphs import DecisionTable, Graph, Node
from toolkit.rules.issues import Findings


def check_output(
    graph: Graph, scopes: dict[str, tuple[Scope, Scope]], contract: Contract[Any, Any], findings: Findings
) -> None:
    schema = contract.output_schema
    required, known = schema.get("required", []), schema.get("properties", {})
    ends = [parent for node in graph.of_type("outputNode") for parent in graph.parents(node) if parent.id in scopes]
    given = [scopes[end.id][1] for end in ends]
    produced = {name for scope in given for name in scope.roots}
    if given and not any(scope.is_open for scope in given):
        for name in required:
            if name not in produced:
                message = f"nothing fills {name!r}, which the output needs"
                findings.error("missing_output", message, path="nodes", node=None)
    for end in ends:
        if isinstance(end.content, DecisionTable) and end.is_plain:
            _check_output_cells(end, end.content, scopes[end.id][0], contract, findings, required=set(required))
    is_strict = contract.output_type.model_config.get("extra") == "forbid"
    for end in ends:
        # An expression node may keep intermediate values; a column that fills no field is a slip.
        report = findings.error if is_strict else findings.warning
        for name, path in filled_fields(end) if is_strict or isinstance(end.content, DecisionTable) else ():
            if name not in known and not schema.get("additionalProperties"):
                message = f"{name!r} is no field of {contract.output_type.__qualname__}; it has {', '.join(known)}"
                report("unknown_output", message, path=path, node=end.name)


def filled_fields(node: Node) -> Iterator[tuple[str, str]]:
    """The top-level fields that ``node`` fills, each with its place in the upload."""
    if not node.is_plain:
        return
    if isinstance(node.content, DecisionTable) and node.content.hit_policy == "first":
        for index, column in enumerate(node.content.outputs):
            yield (column.field or "").split(".")[0], f"{node.path}.content.outputs.{index}.field"
    elif isinstance(node.content, tuple):
        for one in node.content:
            yield one.key.split(".")[0], one.path


def _check_output_cells(
    node: Node,
    table: DecisionTable,
    seen: Scope,
    contract: Contract[Any, Any],
    findings: Findings,
    *,
    required: set[str],
) -> None:
    fits = _Fits(contract)
    for column in table.outputs:
        field = column.field or ""
        is_needed = field in required and not (node.passes_through and field in seen.roots)
        for number, row in enumerate(table.rows, start=1):
            path = f"{row.path}.{column.id}"
            text = row.cells.get(column.id)
            if text is None or (read_literal(text) == (None,) and fits.misfit(field, text)):
                if is_needed:
                    message = f"row {number} leaves {field!r} empty, which the output needs"
                    findings.error("empty_output", message, path=path, node=node.name)
            elif table.hit_policy == "first" and (why := fits.misfit(field, text)):
                message = f"row {number}, column {column.name!r}: {text} does not fit {field!r}: {why}"
                findings.error("output_cannot_fit", message, path=path, node=node.name)


class _Fits:
    """Whether literals fit the fields of the output model; each distinct one is tried once."""

    def __init__(self, contract: Contract[Any, Any]) -> None:
        self._adapters = {
            str(info.validation_alias or info.alias or name): TypeAdapter(info.rebuild_annotation())
            for name, info in contract.output_type.model_fields.items()
        }
        self._known: dict[tuple[str, str], str | None] = {}

    def misfit(self, field: str, text: str) -> str | None:
        if field not in self._adapters:
            return None
        if (field, text) not in self._known:
            self._known[field, text] = self._try(field, text)
        return self._known[field, text]

    def _try(self, field: str, text: str) -> str | None:
        literal = read_literal(text)
        if literal is None:
            return None
        value = literal[0]
        if isinstance(value, Decimal):
            value = int(value) if value == value.to_integral_value() else float(value)  # type: ignore[assignment]
        try:
            self._adapters[field].validate_python(value)
        except ValidationError as error:
            return str(error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"])
        return None
