"""Inputs to try a graph with, made from the input model and from the graph's own constants.

A sample is only used if the input model accepts it. Around every literal that a cell compares a field with lie three
samples, and for every row one sample that is meant to match it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from toolkit.errors import InvalidInput
from toolkit.rules.compilation import texts_of
from toolkit.rules.contract import Contract, resolve
from toolkit.rules.expressions import Alternatives, Literals, Test, read_comparisons, read_tests
from toolkit.rules.graphs import DecisionTable, Graph, Node

MOST_SAMPLES = 200

# Each text with the field that it is compared with, or none where it is a whole expression.
_Place: TypeAlias = list[tuple[str | None, str]]
_Compared: TypeAlias = Sequence[Sequence[tuple[tuple[str, ...], Alternatives]]]

_FORMATS: dict[str, Any] = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "uuid": "018f3a5c-7c00-7000-8000-000000000000",
    "email": "someone@example.org",
    "uri": "https://example.org/",
}


def make_samples(graph: Graph, contract: Contract[Any, Any]) -> list[BaseModel]:
    """At most ``MOST_SAMPLES`` different inputs, the plain one first; none where the model accepts no guess."""
    schema = contract.input_type.model_json_schema(mode="validation", by_alias=True)
    definitions = schema.get("$defs", {})
    plain = sample_value(schema, definitions)
    found: dict[str, BaseModel] = {}
    for candidate in _candidates(graph, plain, schema, definitions):
        try:
            model = contract.input_type.model_validate(candidate, by_alias=True, by_name=True)
            found.setdefault(contract.encode(model), model)
        except (ValidationError, InvalidInput):
            continue  # a guess that the model does not allow says nothing about the graph
        if len(found) == MOST_SAMPLES:
            break
    return list(found.values())


def _candidates(graph: Graph, plain: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Any]:
    yield plain
    yield from schema.get("examples", [])
    places = [place for node in graph.nodes for place in _places(node)]
    compared = [_comparisons(place) for place in places[:: max(1, len(places) // (MOST_SAMPLES // 2))]]
    yield from _matching(compared, plain)
    yield from _around_constants(compared, plain)
    for name, part in resolve(schema, definitions).get("properties", {}).items():
        for value in _alternatives(part, definitions):
            yield {**plain, name: value}


def _places(node: Node) -> Iterator[_Place]:
    """What is compared together: the cells of each row, or one condition or expression."""
    if isinstance(node.content, DecisionTable):
        columns = node.content.inputs
        for row in node.content.rows:
            yield [(column.field, row.cells[column.id]) for column in columns if column.id in row.cells]
    else:
        for text in texts_of(node):
            yield [(None, text)]


def _comparisons(place: _Place) -> list[tuple[tuple[str, ...], Alternatives]]:
    found: list[tuple[tuple[str, ...], Alternatives]] = []
    for field, text in place:
        if field is None:
            found += [(path, [[test]]) for path, test in read_comparisons(text)]
        elif tests := read_tests(text):
            found.append((tuple(field.split(".")), tests))
    return found


def _matching(compared: _Compared, plain: Any) -> Iterator[Any]:
    """For each place a sample in which whatever it compares is set so that the comparison holds."""
    for comparisons in filter(None, compared):
        sample = plain
        for path, tests in comparisons:
            sample = _with(sample, path, _satisfying(tests[0]))
        yield sample


def _around_constants(compared: _Compared, plain: Any) -> Iterator[Any]:
    constants: dict[tuple[str, ...], dict[Literals, None]] = {}
    for comparisons in compared:
        for path, tests in comparisons:
            constants.setdefault(path, {}).update(dict.fromkeys(test.value for together in tests for test in together))
    for path, values in constants.items():
        for value in values:
            for one in (value - 1, value, value + 1) if isinstance(value, Decimal) else (value,):
                yield _with(plain, path, one)


def _satisfying(together: Sequence[Test]) -> Literals:
    """A value that passes tests which must hold together, for the usual ones."""
    value: Literals = None
    for test in together:
        wanted = test.value
        if isinstance(wanted, Decimal):
            value = wanted + {">": 1, "<": -1, "!=": 1}.get(test.operator, 0)
        elif isinstance(wanted, bool):
            value = wanted if test.operator == "==" else not wanted
        else:
            value = wanted if test.operator != "!=" else f"not {wanted}"
        if isinstance(value, Decimal) and _passes(value, together):
            break
    return value


def _passes(value: Decimal, together: Sequence[Test]) -> bool:
    compare = {
        "==": lambda limit: value == limit,
        "!=": lambda limit: value != limit,
        ">": lambda limit: value > limit,
        ">=": lambda limit: value >= limit,
        "<": lambda limit: value < limit,
        "<=": lambda limit: value <= limit,
    }
    return all(isinstance(test.value, Decimal) and compare[test.operator](test.value) for test in together)


def _with(sample: Any, path: Sequence[str], value: Any) -> Any:
    first, *rest = path
    before = sample if isinstance(sample, dict) else {}
    return {**before, first: _with(before.get(first), rest, value) if rest else value}


def _alternatives(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[Any]:
    """Values worth trying for a field: each of an enum, both booleans, null, the limits."""
    schema = resolve(schema, definitions)
    for option in schema.get("anyOf", [schema]):
        option = resolve(option, definitions)  # noqa: PLW2901  # the option is what it refers to
        if option.get("type") == "null":
            yield None
        elif option.get("type") == "boolean":
            yield from (False, True)
        elif option.get("type") == "array":
            yield []
            yield [sample_value(option.get("items", {}), definitions)]
        yield from option.get("enum", ())
        for limit in ("minimum", "maximum"):
            if limit in option:
                yield option[limit]
        yield sample_value(option, definitions)


def sample_value(schema: dict[str, Any], definitions: dict[str, Any], *, levels: int = 6) -> Any:
    """A value that ``schema`` describes, the plainest one; wrong for patterns and rules of the model's own."""
    schema = resolve(schema, definitions)
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        chosen = next((one for one in options if resolve(one, definitions).get("type") != "null"), options[0])
        return sample_value(chosen, definitions, levels=levels)
    match schema.get("type"):
        case "object" if levels:
            wanted = schema.get("properties", {}).items()
            needed = set(schema.get("required", ()))
            return {name: sample_value(part, definitions, levels=levels - 1) for name, part in wanted if name in needed}
        case "array" if levels:
            item = sample_value(schema.get("items", {}), definitions, levels=levels - 1)
            return [item] * int(schema.get("minItems", 0))
        case "string":
            value = str(_FORMATS.get(schema.get("format", ""), ""))
            return value or "x" * max(1, int(schema.get("minLength", 1)))
        case "number" | "integer":
            return _number(schema)
        case "boolean":
            return False
    return None


def _number(schema: dict[str, Any]) -> Any:
    step = schema.get("multipleOf", 1)
    if "minimum" in schema:
        return schema["minimum"]
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + step
    if "maximum" in schema:
        return min(schema["maximum"], 1)
    if "exclusiveMaximum" in schema:
        return min(schema["exclusiveMaximum"] - step, 1)
    return 1
