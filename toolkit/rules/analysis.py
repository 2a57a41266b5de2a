"""Gaps, overlaps and dead rows of decision tables, each gap with an input that shows it.

The columns are cut into regions (:mod:`toolkit.rules.regions`). Column by column, every set of rows that can still
match is kept once, with one way to get there: what is left at the end are all sets of rows that any input can meet.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from toolkit.errors import InvalidInput, RuleEvaluationError, RuleNoMatch
from toolkit.rules.compilation import Compiled
from toolkit.rules.contract import Contract, resolve
from toolkit.rules.explanations import evaluate_quietly
from toolkit.rules.expressions import Alternatives, read_tests
from toolkit.rules.fields import Scope, scopes_of, value_type
from toolkit.rules.graphs import DecisionTable, Graph, Node
from toolkit.rules.overrides import read_evaluation
from toolkit.rules.regions import Region, regions_of
from toolkit.rules.samples import sample_value
from toolkit.rules.sandbox import Sandbox

MOST_SETS = 20_000
MOST_GAPS = 20
MOST_OVERLAPS = 200


class Gap(BaseModel):
    """Values for which no row matches. ``input`` is a whole input with them that the engine was asked about."""

    model_config = ConfigDict(frozen=True)

    values: dict[str, Any]
    input: dict[str, Any] | None
    is_confirmed: bool
    """Whether the engine, asked about ``input``, found no row."""


class Overlap(BaseModel):
    """Two rows that match the same values; where the first wins, the second is heard elsewhere only."""

    model_config = ConfigDict(frozen=True)

    rows: tuple[str, str]
    values: dict[str, Any]


class TableAnalysis(BaseModel):
    """One table. ``dead_rows`` match nothing that a row above them does not match first."""

    model_config = ConfigDict(frozen=True)

    node: str
    hit_policy: Literal["first", "collect"]
    is_complete: bool
    """Whether every combination was looked at; a table too large for that is looked at in part."""
    gaps: list[Gap]
    dead_rows: list[str]
    overlaps: list[Overlap]
    not_analysed: list[str]
    """Rows with a cell that is more than literals; they are taken to match sometimes."""


class Analysis(BaseModel):
    """Every table of a graph."""

    model_config = ConfigDict(frozen=True)

    tables: list[TableAnalysis]


def analyse(graph: Graph, compiled: Compiled, contract: Contract[Any, Any], *, sandbox: Sandbox) -> Analysis:
    """Analyse every table of ``graph``; the witnesses of gaps are tried in the sandbox. Blocks."""
    scopes = scopes_of(graph, contract)
    tables = []
    for node, table in graph.tables():
        seen = scopes[node.id][0] if node.id in scopes else Scope({}, {}, is_open=True)
        found = _Sweep(node, table, seen)
        reads_input = all(parent.type == "inputNode" for parent in graph.parents(node)) and node.is_plain
        tables.append(found.report(_Witness(compiled, contract, sandbox) if reads_input else None))
    return Analysis(tables=tables)


class _Sweep:
    """All sets of rows that some input meets."""

    def __init__(self, node: Node, table: DecisionTable, seen: Scope) -> None:
        self.node, self.table, self.seen = node, table, seen
        self.is_complete = True
        every = (1 << len(table.rows)) - 1
        self.sets: dict[tuple[int, int], tuple[Any, ...]] = {(every, every): ()}
        self.fields: list[str | None] = []
        for column in table.inputs:
            cells = [_cell(row.cells.get(column.id), is_test=column.field is not None) for row in table.rows]
            if all(cell is True for cell in cells):
                continue  # a column that asks nothing of anybody
            self.fields.append(column.field)
            self._cut(self._regions(column.field, cells))

    def _regions(self, field: str | None, cells: Sequence[Alternatives | bool | None]) -> list[Region]:
        if field is None:
            sure = sum(1 << row for row, cell in enumerate(cells) if cell is True)
            return [Region(None, sure, (1 << len(cells)) - 1)]
        definitions = dict(self.seen.definitions)
        schema = self.seen.find(field.split(".")) or {}
        options = [resolve(part, definitions) for part in schema.get("anyOf", [resolve(schema, definitions)])]
        numbers = [option for option in options if option.get("type") in {"number", "integer"}]
        limits = numbers[0] if numbers else {}
        return regions_of(
            cells,
            value_type(schema, definitions),
            is_integer=limits.get("type") == "integer",
            is_nullable="." in field or any(option.get("type") == "null" for option in options),
            low=_decimal(limits.get("minimum")),
            high=_decimal(limits.get("maximum")),
        )

    def _cut(self, regions: Sequence[Region]) -> None:
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        for (sure, maybe), way in self.sets.items():
            for region in regions:
                if len(found) >= MOST_SETS:
                    self.is_complete = False
                    break
                found.setdefault((sure & region.sure, maybe & region.maybe), (*way, region.sample))
        self.sets = found

    def report(self, witness: _Witness | None) -> TableAnalysis:
        rows = self.table.rows
        is_first = self.table.hit_policy == "first"
        ways = [self._values(way) for (_, maybe), way in self.sets.items() if maybe == 0]
        gaps = [_gap(values, witness) for values in ways[:MOST_GAPS]] if is_first else []
        return TableAnalysis(
            node=self.node.name,
            hit_policy=self.table.hit_policy,
            is_complete=self.is_complete and len(ways) <= MOST_GAPS,
            gaps=[gap for gap in gaps if gap is not None],
            dead_rows=[rows[at].id for at in self._dead()] if self.is_complete else [],
            overlaps=list(self._overlaps())[:MOST_OVERLAPS],
            not_analysed=[row.id for row in rows if self._is_unknown(row.cells)],
        )

    def _dead(self) -> Iterator[int]:
        alive = 0
        for sure, maybe in self.sets:
            first_sure = sure & -sure  # the lowest bit: a row below one that surely matches is not asked
            alive |= maybe & ((first_sure << 1) - 1) if sure and self.table.hit_policy == "first" else maybe
        return (at for at in range(len(self.table.rows)) if not alive >> at & 1)

    def _overlaps(self) -> Iterator[Overlap]:
        rows, told = self.table.rows, set()
        for (sure, _), way in self.sets.items():
            together = [at for at in range(len(rows)) if sure >> at & 1]
            for first, second in itertools.pairwise(together):
                if (first, second) not in told:
                    told.add((first, second))
                    yield Overlap(rows=(rows[first].id, rows[second].id), values=self._values(way))

    def _values(self, way: Sequence[Any]) -> dict[str, Any]:
        return {field: _plain(value) for field, value in zip(self.fields, way, strict=True) if field is not None}

    def _is_unknown(self, cells: dict[str, str]) -> bool:
        return any(
            _cell(cells.get(column.id), is_test=column.field is not None) is None for column in self.table.inputs
        )


class _Witness:
    """Makes whole inputs of values and asks the engine whether they are what they are said to be."""

    def __init__(self, compiled: Compiled, contract: Contract[Any, Any], sandbox: Sandbox) -> None:
        self.compiled, self.contract, self.sandbox = compiled, contract, sandbox
        schema = contract.input_type.model_json_schema(mode="validation", by_alias=True)
        self._plain = sample_value(schema, schema.get("$defs", {}))

    def input_with(self, values: dict[str, Any]) -> dict[str, Any] | None:
        """An input that the model accepts, with ``values``; nothing where it accepts none."""
        sample = json.loads(json.dumps(self._plain, default=str))
        for field, value in values.items():
            place = sample
            *parents, last = field.split(".")
            for name in parents:
                place = place.setdefault(name, {})
            place[last] = value
        try:
            model = self.contract.input_type.model_validate(sample, by_alias=True, by_name=True)
        except ValidationError:
            return None
        return dict(model.model_dump(mode="json", by_alias=True))

    def is_unmatched(self, input: dict[str, Any]) -> bool:
        """Whether the engine finds no row for ``input``."""
        try:
            context = self.contract.encode(self.contract.input_type.model_validate(input))
            (found,) = evaluate_quietly(self.compiled, [context], sandbox=self.sandbox)
            read_evaluation(self.contract, self.compiled, found)
        except RuleNoMatch:
            return True
        except (RuleEvaluationError, InvalidInput):
            return False
        return False


def _gap(values: dict[str, Any], witness: _Witness | None) -> Gap | None:
    """A gap in the table; none where the rule's input model rules the values out."""
    if witness is None:
        return Gap(values=values, input=None, is_confirmed=False)
    found = witness.input_with(values)
    if found is None:
        return None
    return Gap(values=values, input=found, is_confirmed=witness.is_unmatched(found))


def _cell(text: str | None, *, is_test: bool) -> Alternatives | bool | None:
    if text is None:
        return True
    tests = read_tests(text) if is_test else None
    if any(test.operator not in {"==", "!="} and isinstance(test.value, str) for one in tests or () for test in one):
        return None  # dates, which the engine orders by their moment
    return tests


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _plain(value: Any) -> Any:
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)
