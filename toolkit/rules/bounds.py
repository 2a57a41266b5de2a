"""Which graphs cannot harm the process that evaluates them.

Static limits and dry runs bound nothing for good: forty conditional doublings of a text pass both and end the process
on the first input that meets the condition. So only a graph of this narrow kind is evaluated in the process itself:
plain nodes that fill flat fields, expressions that call nothing but the listed functions, and no value that is built
from a computed one. What comes out is then at most ``MOST_COPIES`` times as large as what went in. Every other graph
is evaluated in the sandbox, unless somebody answers for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.rules.expressions import Token, read_expression, tokenize
from toolkit.rules.graphs import DecisionTable, Graph, Node, Switch

MOST_COPIES = 200
_MOST_OPERANDS = 20

_FUNCTIONS = frozenset(
    [
        "abs",
        "floor",
        "ceil",
        "round",
        "trunc",
        "upper",
        "lower",
        "trim",
        "len",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "string",
        "number",
        "bool",
        "isNumeric",
        "d",
        "date",
        "time",
        "duration",
        "year",
        "month",
        "dayOfMonth",
        "dayOfWeek",
        "dayOfYear",
        "weekOfYear",
        "min",
        "max",
        "sum",
        "avg",
        "median",
    ]
)
_METHODS = frozenset(
    [
        "add",
        "sub",
        "diff",
        "isBefore",
        "isAfter",
        "isSame",
        "isSameOrBefore",
        "isSameOrAfter",
        "isValid",
        "isToday",
        "isYesterday",
        "isTomorrow",
        "isLeapYear",
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "weekday",
        "quarter",
        "week",
        "dayOfYear",
        "timestamp",
        "startOf",
        "endOf",
    ]
)
_CLOSURES = frozenset({"some", "all", "none", "one", "count", "map", "filter"})
_WORDS = frozenset({"and", "or", "not", "in"})
_BUILDING = frozenset({"+", "[", "{"})


def is_bounded(graph: Graph) -> bool:
    """Whether evaluating ``graph`` takes time and memory in proportion to its input, whatever the input is."""
    computed = {name for node in graph.nodes for name in _filled(node)}
    if any("." in name or "[" in name for name in computed):
        return False  # a nested field, read twice and nested again, doubles from node to node
    copies = 0
    for node in graph.nodes:
        if not node.is_plain:
            return False
        content = node.content
        if isinstance(content, DecisionTable):
            if content.hit_policy != "first":
                return False
            if not all(_is_harmless(text, computed, is_output=False) for text in _conditions(content)):
                return False
            outputs = [[row.cells[c.id] for c in content.outputs if c.id in row.cells] for row in content.rows]
        elif isinstance(content, Switch):
            if not all(_is_harmless(one.condition, computed, is_output=False) for one in content.statements):
                return False
            continue
        elif content is not None:
            outputs = [[one.value for one in content]]
        else:
            continue
        if not all(_is_harmless(text, computed, is_output=True) for texts in outputs for text in texts):
            return False
        copies += max((sum(map(_reads, texts)) for texts in outputs), default=0)
    return copies <= MOST_COPIES


def _filled(node: Node) -> Iterable[str]:
    if isinstance(node.content, DecisionTable):
        return [column.field or "" for column in node.content.outputs]
    return [one.key for one in node.content] if isinstance(node.content, tuple) else []


def _conditions(table: DecisionTable) -> Iterable[str]:
    for row in table.rows:
        for column in table.inputs:
            if column.id in row.cells:
                yield row.cells[column.id]
    yield from (column.field for column in table.inputs if column.field)


def _reads(text: str) -> int:
    return max(len(read_expression(text).fields), 1)


def _is_harmless(text: str, computed: set[str], *, is_output: bool) -> bool:
    tokens = tokenize(text)
    read = read_expression(text, is_cell=not is_output)
    builds = {token.text for token in tokens if token.kind == "operator"} & _BUILDING
    if any(token.kind in {"template", "other"} or token.text == "^" for token in tokens):
        return False
    if any(not found.is_test for found in read.ranges) or read.closures > 1 or not _calls_only_known(tokens):
        return False
    if read.closures and (builds or "map" in text):
        return False  # one item of a list may be as long as the list
    if is_output and builds and (_reads_computed(tokens, read.fields, computed) or len(read.fields) > _MOST_OPERANDS):
        return False
    return is_output or "+" not in builds or len(read.fields) <= _MOST_OPERANDS


def _reads_computed(tokens: Iterable[Token], fields: Iterable[tuple[str, ...]], computed: set[str]) -> bool:
    return any(path[0] in computed for path in fields) or any(
        token.kind == "name" and token.text.startswith("$") for token in tokens
    )


def _calls_only_known(tokens: list[Token]) -> bool:
    for index, token in enumerate(tokens[:-1]):
        if token.kind != "name" or token.text in _WORDS or tokens[index + 1].text != "(":
            continue
        is_method = index > 0 and tokens[index - 1].text == "."
        if token.text not in (_METHODS if is_method else _FUNCTIONS | _CLOSURES):
            return False
    return True
