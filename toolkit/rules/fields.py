"""Fields that an expression can see: where they come from and, as far as the models tell, of which type they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from toolkit.rules.contract import Contract, resolve
from toolkit.rules.expressions import Literals
from toolkit.rules.graphs import DecisionTable, Function, Graph, Node, SubDecision, Switch

UNKNOWN: dict[str, Any] = {}


@dataclass(frozen=True)
class Scope:
    """The fields at one place of a graph; ``is_open`` where more may be there than is known."""

    roots: Mapping[str, dict[str, Any]]
    definitions: Mapping[str, Any]
    is_open: bool = False

    def find(self, path: Iterable[str]) -> dict[str, Any] | None:
        """The schema at ``path``, empty where it is not known, nothing where there is no such field."""
        first, *rest = path
        if first not in self.roots:
            return UNKNOWN if self.is_open else None
        found = resolve(self.roots[first], dict(self.definitions))
        for name in rest:
            options = [resolve(part, dict(self.definitions)) for part in found.get("anyOf", [found])]
            objects = [part for part in options if part.get("properties")]
            if len(objects) != 1 or len([part for part in options if part.get("type") != "null"]) != 1:
                return UNKNOWN
            part = objects[0]["properties"].get(name)
            if part is None:
                return UNKNOWN if objects[0].get("additionalProperties") else None
            found = resolve(part, dict(self.definitions))
        return found

    def with_fields(self, fields: Iterable[str]) -> Scope:
        """With top-level names that a node produces, of unknown type."""
        return Scope({**self.roots, **{name.split(".")[0]: UNKNOWN for name in fields}}, self.definitions, self.is_open)


def scopes_of(
    graph: Graph, contract: Contract[Any, Any], given_by: Mapping[str, Iterable[str]] | None = None
) -> dict[str, tuple[Scope, Scope]]:
    """For each node by id, what it sees and what it gives. Nodes on a cycle are left out.

    ``given_by`` has the fields that the rules behind decision nodes give, by their keys; others may give anything.
    """
    schema = contract.input_schema
    definitions = schema.get("$defs", {})
    given = Scope(
        resolve(schema, definitions).get("properties", {}), definitions, bool(schema.get("additionalProperties"))
    )
    found: dict[str, tuple[Scope, Scope]] = {}
    for node in graph.order:
        seen = given if node.type == "inputNode" else _merge([found[parent.id][1] for parent in graph.parents(node)])
        inner = seen if node.input_field is None and not node.loops else Scope({}, definitions, is_open=True)
        found[node.id] = (inner, _output(node, seen, given_by or {}))
    return found


def _merge(scopes: list[Scope]) -> Scope:
    if not scopes:
        return Scope({}, {}, is_open=True)  # nothing leads here, which is reported elsewhere
    roots: dict[str, dict[str, Any]] = {}
    for scope in scopes:
        for name, schema in scope.roots.items():
            roots[name] = schema if roots.get(name, schema) == schema else UNKNOWN
    return Scope(roots, scopes[0].definitions, any(scope.is_open for scope in scopes))


def _output(node: Node, seen: Scope, given_by: Mapping[str, Iterable[str]]) -> Scope:
    content = node.content
    if isinstance(content, Function):
        return Scope({}, seen.definitions, is_open=True)
    if content is None or isinstance(content, Switch):
        return seen
    before = seen if node.passes_through else Scope({}, seen.definitions)
    if node.output_path is not None:
        return before.with_fields([node.output_path])
    if node.loops:
        return Scope({}, seen.definitions, is_open=True)
    if isinstance(content, SubDecision):
        known = given_by.get(content.key)
        return Scope({}, seen.definitions, is_open=True) if known is None else before.with_fields(known)
    if isinstance(content, DecisionTable):
        if content.hit_policy == "collect":
            return Scope({}, seen.definitions, is_open=True)
        return before.with_fields(column.field for column in content.outputs if column.field)
    return before.with_fields(one.key for one in content)


@dataclass(frozen=True)
class ValueType:
    """What values of a field can be; empty ``kinds`` where anything goes."""

    kinds: frozenset[str]
    allowed: tuple[Any, ...] | None = None
    is_moment: bool = False

    def misfit(self, operator: str, value: Literals) -> str | None:
        """Why comparing this field with ``value`` can never hold, or nothing."""
        if not self.kinds or value is None:
            return None
        kind = "boolean" if isinstance(value, bool) else "number" if isinstance(value, Decimal) else "text"
        if kind not in self.kinds:
            return f"the field holds a {' or '.join(sorted(self.kinds))}, never the {kind} {_shown(value)}"
        is_equality = operator in {"==", "!="}
        if not is_equality and (kind == "boolean" or (kind == "text" and not self.is_moment)):
            return f"{operator} does not compare {kind} values"
        if is_equality and self.allowed is not None and value not in self.allowed:
            return f"{_shown(value)} is none of the field's values {', '.join(_shown(one) for one in self.allowed)}"
        return None


def value_type(schema: dict[str, Any] | None, definitions: Mapping[str, Any]) -> ValueType:
    """The type that ``schema`` tells; without ``kinds`` where it tells none."""
    if not schema:
        return ValueType(frozenset())
    options = [resolve(part, dict(definitions)) for part in schema.get("anyOf", [resolve(schema, dict(definitions))])]
    options = [option for option in options if option.get("type") != "null"]
    kinds: set[str] = set()
    allowed: list[Any] = []
    for option in options:
        values = option.get("enum", [option["const"]] if "const" in option else None)
        names = {_kind_of(value) for value in values} if values else {_KINDS.get(str(option.get("type")))}
        if None in names:
            return ValueType(frozenset())
        kinds |= {name for name in names if name}
        allowed += values or []
    is_closed = bool(options) and all("enum" in option or "const" in option for option in options)
    is_moment = any(option.get("format") in {"date", "date-time"} for option in options)
    return ValueType(frozenset(kinds), tuple(allowed) if is_closed else None, is_moment)


_KINDS = {
    "string": "text",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "list",
    "object": "object",
}


def _kind_of(value: Any) -> str | None:
    return (
        "boolean"
        if isinstance(value, bool)
        else "number"
        if isinstance(value, (int, float))
        else "text"
        if isinstance(value, str)
        else None
    )


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, Decimal) else repr(value)
