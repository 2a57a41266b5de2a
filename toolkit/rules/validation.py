"""Static checks of an uploaded graph: everything that can be known without evaluating it.

The engine itself is silent where it hurts: a cell that does not parse, or that compares text with a number, simply
never matches, and the next row wins. So every expression is compiled here, and literals are held against the models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.rules.compilation import DEEPEST_SUB_DECISIONS, MARK, Asked
from toolkit.rules.contract import Contract
from toolkit.rules.expressions import Expression, read_expression, read_tests
from toolkit.rules.fields import Scope, scopes_of, value_type
from toolkit.rules.graphs import Assignment, DecisionTable, Graph, Node, SubDecision, Switch
from toolkit.rules.issues import Findings
from toolkit.rules.outputs import check_output, filled_fields

LONGEST_EXPRESSION = 2_000
DEEPEST_BRACKETS = 40
DEEPEST_CLOSURES = 2
LONGEST_RANGE = 100_000

Compile = Callable[[str], str | None]
"""Compiles an expression and says what is wrong with it, or nothing."""


@dataclass(frozen=True)
class Compilers:
    """The engine's two grammars: whole expressions, and tests of a column."""

    expression: Compile
    test: Compile


@dataclass(frozen=True)
class Surroundings:
    """What a graph may reach besides itself: JavaScript, if at all, and the sub-decisions by the keys that it uses.

    A key that leads nowhere has the reason instead.
    """

    allows_functions: bool = False
    asked: Mapping[str, Asked | str] = field(default_factory=dict)

    @property
    def found(self) -> dict[str, Asked]:
        return {key: one for key, one in self.asked.items() if not isinstance(one, str)}


def validate(
    graph: Graph,
    contract: Contract[Any, Any],
    compilers: Compilers,
    findings: Findings,
    around: Surroundings | None = None,
) -> None:
    """Add everything that is wrong with ``graph``, as an override for the rule of ``contract``."""
    around = around or Surroundings()
    _check_names(graph, findings)
    _check_marks(graph, findings)
    _check_edges(graph, findings)
    _check_reach(graph, findings)
    _check_functions(graph, around, findings)
    given_by = {key: one.contract.output_schema.get("properties", {}) for key, one in around.found.items()}
    scopes = scopes_of(graph, contract, given_by)
    empty = Scope({}, {}, is_open=True)
    for node in graph.nodes:
        seen, _ = scopes.get(node.id, (empty, empty))
        checks = _NodeChecks(node, graph, seen, contract, compilers, findings)
        checks.run()
        if isinstance(node.content, SubDecision):
            _check_sub_decision(node, node.content, seen, around, findings)
    check_output(graph, scopes, contract, findings)


# The shape of the whole. ------------------------------------------------------------------------------------------


def _check_names(graph: Graph, findings: Findings) -> None:
    ids, names = Counter(node.id for node in graph.nodes), Counter(node.name for node in graph.nodes)
    for node in graph.nodes:
        if ids[node.id] > 1:
            findings.error(
                "duplicate_id", f"{ids[node.id]} nodes have the id {node.id!r}", path=node.path, node=node.name
            )
        if names[node.name] > 1:
            message = f"{names[node.name]} nodes are called {node.name!r}; expressions could not tell them apart"
            findings.error("duplicate_name", message, path=node.path, node=node.name)
    for kind, label in (("inputNode", "input"), ("outputNode", "output")):
        count = len([node for node in graph.nodes if node.type == kind])
        if count != 1:
            findings.error(f"{label}_count", f"the graph has {count} {label} nodes; expected exactly one", path="nodes")


def _check_marks(graph: Graph, findings: Findings) -> None:
    for node in graph.nodes:
        own = [(name, node.path) for name in (node.id, node.name) if name.startswith(MARK)]
        filled = [(name, path) for name, path in filled_fields(node) if name.startswith((MARK, "$"))]
        for name, path in (*own, *filled):
            findings.error("reserved_name", f"{name!r} is a name of the toolkit's own", path=path, node=node.name)


def _check_edges(graph: Graph, findings: Findings) -> None:
    for edge in graph.edges:
        for end, id_ in (("sourceId", edge.source), ("targetId", edge.target)):
            if id_ not in graph.by_id:
                findings.error(
                    "dangling_edge", f"the edge leads to {id_!r}, which is no node", path=f"{edge.path}.{end}"
                )
        source = graph.by_id.get(edge.source)
        if source is None or not isinstance(source.content, Switch):
            continue
        if edge.handle not in {statement.id for statement in source.content.statements}:
            message = f"the edge leaves the switch {source.name!r} at {edge.handle!r}, which is none of its statements"
            findings.error("dangling_handle", message, path=f"{edge.path}.sourceHandle", node=source.name)
    for node in graph.of_type("switchNode"):
        used = {edge.handle for edge in graph.edges if edge.source == node.id}
        assert isinstance(node.content, Switch)
        for statement in node.content.statements:
            if statement.id not in used:
                message = f"nothing follows the statement {statement.id!r}: where it holds, nothing is decided"
                findings.warning("loose_statement", message, path=statement.path, node=node.name)


def _check_reach(graph: Graph, findings: Findings) -> None:
    for node in graph.of_type("inputNode"):
        if graph.parents(node):
            findings.error("edge_into_input", "an edge leads into the input node", path=node.path, node=node.name)
    for node in graph.of_type("outputNode"):
        if graph.children(node):
            findings.error("edge_from_output", "an edge leaves the output node", path=node.path, node=node.name)
    reached = _closure(graph.of_type("inputNode"), graph.children)
    leading = _closure(graph.of_type("outputNode"), graph.parents)
    ordered = {node.id for node in graph.order}
    for node in graph.nodes:
        if node.id not in ordered and node.id in _closure(graph.children(node), graph.children):
            findings.error("cycle", f"{node.name!r} is part of a cycle", path=node.path, node=node.name)
        if node.id not in reached:
            message = f"no way leads from the input to {node.name!r}"
            findings.error("unreachable", message, path=node.path, node=node.name)
        if node.id not in leading:
            message = f"no way leads from {node.name!r} to the output"
            findings.error("no_path_to_output", message, path=node.path, node=node.name)


def _closure(start: Any, follow: Callable[[Node], Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        if node.id not in found:
            found.add(node.id)
            waiting += follow(node)
    return found


# What it reaches. -------------------------------------------------------------------------------------------------


def _check_functions(graph: Graph, around: Surroundings, findings: Findings) -> None:
    for node in graph.of_type("functionNode"):
        path = f"{node.path}.content.source"
        if not around.allows_functions:
            message = "JavaScript is not allowed in an override; an operator may allow it: `rules.function_nodes: true`"
            findings.error("node_not_allowed", message, path=f"{node.path}.type", node=node.name)
        else:
            message = "JavaScript knows binary fractions only: money that passes through it loses digits"
            findings.warning("inexact_numbers", message, path=path, node=node.name)


def _check_sub_decision(
    node: Node, content: SubDecision, seen: Scope, around: Surroundings, findings: Findings
) -> None:
    asked = around.asked.get(content.key, "there is no such rule") if content.key else None
    if asked is None:
        return  # said where it was read
    if isinstance(asked, str):
        findings.error("unknown_rule", f"{content.key!r} cannot be asked: {asked}", path=content.path, node=node.name)
        return
    if asked.compiled.depth >= DEEPEST_SUB_DECISIONS:
        message = f"sub-decisions ask each other deeper than {DEEPEST_SUB_DECISIONS}"
        findings.error("too_deep", message, path=content.path, node=node.name)
    if asked.compiled.has_functions and not around.allows_functions:
        message = f"{content.key!r} has JavaScript in it, which is not allowed in an override"
        findings.error("node_not_allowed", message, path=content.path, node=node.name)
    if not (node.loops or node.input_field):
        for name in asked.contract.input_schema.get("required", ()):
            if seen.find((name,)) is None:
                message = f"{content.key!r} needs the field {name!r}, which is not there"
                findings.warning("missing_input", message, path=content.path, node=node.name)


# Each node by itself. ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _NodeChecks:
    node: Node
    graph: Graph
    seen: Scope
    contract: Contract[Any, Any]
    compilers: Compilers
    findings: Findings

    def run(self) -> None:
        content = self.node.content
        if isinstance(content, DecisionTable):
            self.table(content)
        elif isinstance(content, Switch):
            for statement in content.statements:
                if statement.condition.strip():
                    self.expression(statement.condition, statement.path, "the condition")
        elif isinstance(content, tuple):
            self.assignments(content)

    def error(self, code: str, message: str, path: str) -> None:
        self.findings.error(code, message, path=path, node=self.node.name)

    def warning(self, code: str, message: str, path: str) -> None:
        self.findings.warning(code, message, path=path, node=self.node.name)

    def assignments(self, assignments: tuple[Assignment, ...]) -> None:
        for one in assignments:
            self.expression(one.value, one.path, f"the expression of {one.key!r}")

    def table(self, table: DecisionTable) -> None:
        for index, column in enumerate(table.inputs):
            if column.field is not None:
                self.expression(
                    column.field,
                    f"{self.node.path}.content.inputs.{index}.field",
                    f"column {column.name!r}",
                    is_field=True,
                )
        for number, row in enumerate(table.rows, start=1):
            for column in table.inputs:
                if (text := row.cells.get(column.id)) is not None:
                    place = f"row {number}, column {column.name!r}"
                    path = f"{row.path}.{column.id}"
                    if self.expression(text, path, place, is_cell=column.field is not None) and column.field:
                        self.literals(text, column.field, path, place)
            for column in table.outputs:
                if (text := row.cells.get(column.id)) is not None:
                    self.expression(text, f"{row.path}.{column.id}", f"row {number}, column {column.name!r}")

    def literals(self, text: str, field: str, path: str, place: str) -> None:
        """Literals in a test that the field's type rules out: the engine would skip the row without a word."""
        tests = read_tests(text)
        expected = value_type(self.seen.find(tuple(field.split("."))), self.seen.definitions)
        for test in (test for together in tests or () for test in together):
            if why := expected.misfit(test.operator, test.value):
                self.error("cell_cannot_match", f"{place}: {text!r} can never match {field!r}: {why}", path)
                return

    def expression(self, text: str, path: str, place: str, *, is_cell: bool = False, is_field: bool = False) -> bool:
        """Check one expression; returns whether it compiles."""
        if len(text) > LONGEST_EXPRESSION:
            message = f"{place} has {len(text)} characters; at most {LONGEST_EXPRESSION} are allowed"
            self.error("expression_too_long", message, path)
            return False
        read = read_expression(text, is_cell=is_cell)
        if read.brackets > DEEPEST_BRACKETS:
            self.error("too_deep", f"{place} nests brackets deeper than {DEEPEST_BRACKETS}", path)
            return False
        wrong = self.compilers.test(text) if is_cell else self.compilers.expression(text)
        if wrong is not None:
            self.error(
                "does_not_compile", f"{place}: {text!r} is no {'test' if is_cell else 'expression'}: {wrong}", path
            )
            return False
        self.sizes(read, path, place)
        self.names(read, path, place, is_field=is_field)
        if not read.is_deterministic:
            self.warning("not_deterministic", f"{place} gives another result at another time", path)
        if read.may_divide_by_zero:
            self.warning("may_divide_by_zero", f"{place} may divide by zero, which gives null and no error", path)
        return True

    def sizes(self, read: Expression, path: str, place: str) -> None:
        if read.closures > DEEPEST_CLOSURES:
            self.error("too_deep", f"{place} nests map, filter and the like deeper than {DEEPEST_CLOSURES}", path)
        for found in read.ranges:
            if found.is_test:
                continue
            if found.low is None or found.high is None:
                self.error("open_range", f"{place} lists a range whose limits are not numbers; write them out", path)
            elif found.high - found.low > LONGEST_RANGE:
                length = int(found.high - found.low)
                self.error(
                    "range_too_long", f"{place} lists {length} numbers; at most {LONGEST_RANGE} are allowed", path
                )

    def names(self, read: Expression, path: str, place: str, *, is_field: bool) -> None:
        nodes = {node.name for node in self.graph.nodes}
        for name in dict.fromkeys(read.node_names):
            if name not in nodes:
                self.error("unknown_node", f"{place} reads the node {name!r}, which does not exist", path)
        for wanted in dict.fromkeys(read.fields):
            if self.seen.find(wanted) is not None:
                continue
            known = ", ".join(sorted(self.seen.roots)) or "none"
            message = f"{place} reads {'.'.join(wanted)!r}, which is not there; known here: {known}"
            # A column that reads nothing never matches; elsewhere the tokens may mislead, so it is advice.
            (self.error if is_field else self.warning)("unknown_field", message, path)
