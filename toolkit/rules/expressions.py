"""Expressions of decision graphs, as tokens: enough to check names, sizes and literals without evaluating anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias

Literals: TypeAlias = str | Decimal | bool | None

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<text>'[^']*'|"[^"]*")
    | (?P<template>`[^`]*`)
    | (?P<number>\d[\d_]*(?:\.(?!\.)\d*)?(?:[eE][+-]?\d+)?)
    | (?P<name>[A-Za-z_$\#][A-Za-z0-9_$]*)
    | (?P<operator>\.\.|==|!=|>=|<=|\?\?|[-+*/%^<>=?:;,.!(){}\[\]])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"and", "or", "not", "in", "true", "false", "null", "as"}
_OPENING, _CLOSING = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
_CLOSURES = {"map", "filter", "flatMap", "some", "all", "none", "one", "count"}
_COMPARING = {"==", "!=", ">", ">=", "<", "<="}
_CLOCKS = {"d", "date", "time"}

Kind = Literal["text", "template", "number", "name", "operator", "other"]


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Range:
    """A ``[low..high]``; ``is_test`` when it only asks whether a value lies within, and so costs nothing."""

    low: Decimal | None
    high: Decimal | None
    is_test: bool


@dataclass(frozen=True, slots=True)
class Test:
    """A literal that a cell compares its column with; ``operator`` is ``==`` where none is written."""

    operator: str
    value: Literals


Alternatives: TypeAlias = list[list[Test]]
"""What a cell asks for: any of these, and of one of these every test."""


@dataclass(slots=True)
class Expression:
    """What the tokens of one expression say about it."""

    fields: list[tuple[str, ...]] = field(default_factory=list)
    """Paths that are read, without the names that the expression itself introduces."""
    node_names: list[str] = field(default_factory=list)
    uses_nodes: bool = False
    is_deterministic: bool = True
    may_divide_by_zero: bool = False
    ranges: list[Range] = field(default_factory=list)
    brackets: int = 0
    closures: int = 0


def tokenize(text: str) -> list[Token]:
    """The tokens of ``text``; anything unknown becomes a token of kind ``other``, never an error."""
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind != "space":
            found.append(Token(kind, match.group()))  # type: ignore[arg-type]
    return found


def read_expression(text: str, *, is_cell: bool = False) -> Expression:
    """Read ``text``; ``is_cell`` for a test of a table's column, where a bare range is a test."""
    return _read(tokenize(text), is_cell=is_cell)


def _read(tokens: Sequence[Token], *, is_cell: bool) -> Expression:
    found = Expression()
    own = {tokens[i + 1].text for i, token in enumerate(tokens[:-1]) if token.text == "as" and token.kind == "name"}
    own |= {
        token.text
        for i, token in enumerate(tokens[:-1])
        if token.kind == "name" and _is(tokens[i + 1], "=") and (i == 0 or _is(tokens[i - 1], ";"))
    }
    stack: list[tuple[str, int]] = []  # each open bracket with the token before it
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        if token.kind == "operator":
            if token.text in _OPENING:
                stack.append((token.text, index))
                found.brackets = max(found.brackets, len(stack))
                found.closures = max(found.closures, _closures(tokens, stack))
            elif token.text in _CLOSING and stack:
                stack.pop()
            elif token.text == "..":
                found.ranges.append(_range(tokens, index, stack, is_cell=is_cell))
            elif token.text in {"/", "%"} and not (
                after and after.kind == "number" and Decimal(after.text.replace("_", "")) != 0
            ):
                found.may_divide_by_zero = True
        elif token.kind == "template":
            for inner in re.findall(r"\$\{([^}]*)\}", token.text):
                _merge(found, _read(tokenize(inner), is_cell=False))
        elif token.kind == "name":
            _read_name(found, tokens, index, before, after, own, in_object=bool(stack) and stack[-1][0] == "{")
    return found


def _read_name(  # noqa: PLR0917  # a token with what stands around it
    found: Expression,
    tokens: Sequence[Token],
    index: int,
    before: Token | None,
    after: Token | None,
    own: set[str],
    *,
    in_object: bool,
) -> None:
    name = tokens[index].text
    if _is(before, ".") or name in _WORDS:
        return
    if _is(after, "("):
        if name == "rand" or (name in _CLOCKS and _asks_for_now(tokens, index)):
            found.is_deterministic = False
        return
    if in_object and _is(after, ":") and (_is(before, "{") or _is(before, ",")):
        return
    path = _path(tokens, index)
    if name == "$nodes":
        found.uses_nodes = True
        found.node_names += path[1:2]
    elif name == "$root":
        if len(path) > 1:
            found.fields.append(path[1:])
    elif not name.startswith(("$", "#")) and name not in own and not (_is(before, "=") and name in own):
        found.fields.append(path)


def _path(tokens: Sequence[Token], index: int) -> tuple[str, ...]:
    path = [tokens[index].text]
    index += 1
    while index + 1 < len(tokens) and _is(tokens[index], ".") and tokens[index + 1].kind == "name":
        if index + 2 < len(tokens) and _is(tokens[index + 2], "("):
            break  # a method, not a field
        path.append(tokens[index + 1].text)
        index += 2
    return tuple(path)


def _asks_for_now(tokens: Sequence[Token], index: int) -> bool:
    arguments = tokens[index + 2 : index + 4]
    return bool(arguments) and (_is(arguments[0], ")") or arguments[0].text.strip("'\"") in {"now", "today"})


def _closures(tokens: Sequence[Token], stack: Sequence[tuple[str, int]]) -> int:
    return sum(bracket == "(" and at > 0 and tokens[at - 1].text in _CLOSURES for bracket, at in stack)


def _range(tokens: Sequence[Token], index: int, stack: Sequence[tuple[str, int]], *, is_cell: bool) -> Range:
    if not stack:
        return Range(None, None, is_test=False)
    opened = stack[-1][1]
    before = tokens[opened - 1].text if opened else None
    is_test = before == "in" or (is_cell and len(stack) == 1 and before in {None, ",", "and", "or", "not"})
    end = next((i for i in range(index, len(tokens)) if tokens[i].text in {"]", ")"}), len(tokens))
    return Range(_number(tokens[opened + 1 : index]), _number(tokens[index + 1 : end]), is_test=is_test)


def _number(tokens: Sequence[Token]) -> Decimal | None:
    value = _literal(tokens)
    return value[0] if value and isinstance(value[0], Decimal) else None


def _merge(found: Expression, inner: Expression) -> None:
    found.fields += inner.fields
    found.node_names += inner.node_names
    found.ranges += inner.ranges
    found.uses_nodes |= inner.uses_nodes
    found.is_deterministic &= inner.is_deterministic
    found.may_divide_by_zero |= inner.may_divide_by_zero
    found.brackets = max(found.brackets, inner.brackets)
    found.closures = max(found.closures, inner.closures)


def _is(token: Token | None, text: str) -> bool:
    return token is not None and token.kind == "operator" and token.text == text


# The literals of a cell. ------------------------------------------------------------------------------------------


def read_literal(text: str) -> tuple[Literals] | None:
    """The value of an expression that is a literal and nothing else, as a one-tuple; else nothing."""
    return _literal(tokenize(text))


def read_tests(text: str) -> Alternatives | None:
    """A cell as alternatives of tests that must hold together; nothing where it is more than literals.

    ``> 5 and <= 10, 20`` is ``[[> 5, <= 10], [== 20]]``; a range is two tests, a list is one alternative a member.
    """
    alternatives: Alternatives = []
    for alternative in _split(tokenize(text), {",", "or"}):
        together: Alternatives = [[]]
        for part in _split(alternative, {"and"}):
            tests = _tests(part)
            if tests is None:
                return None
            together = [[*one, *other] for one in together for other in tests]
        alternatives += together
    return alternatives


def read_comparisons(text: str) -> list[tuple[tuple[str, ...], Test]]:
    """Where a whole expression compares a field with a literal: the field's path and the test."""
    tokens = tokenize(text)
    found = []
    for index, token in enumerate(tokens):
        if token.kind != "name" or token.text in _WORDS or (index and _is(tokens[index - 1], ".")):
            continue
        path = _path(tokens, index)
        at = index + 2 * len(path) - 1
        if at < len(tokens) and tokens[at].text in _COMPARING and tokens[at].kind == "operator":
            length = 2 if at + 1 < len(tokens) and _is(tokens[at + 1], "-") else 1
            if (value := _literal(tokens[at + 1 : at + 1 + length])) is not None:
                found.append((path, Test(tokens[at].text, value[0])))
    return found


def _tests(tokens: Sequence[Token]) -> Alternatives | None:
    if not tokens:
        return None
    if tokens[0].text in _COMPARING and tokens[0].kind == "operator":
        value = _literal(tokens[1:])
        return [[Test(tokens[0].text, value[0])]] if value else None
    negated = len(tokens) > 1 and tokens[0].text == "not" and tokens[1].text == "in"
    rest = tokens[2:] if negated else tokens[1:] if tokens[0].text == "in" else tokens
    if (value := _literal(rest)) is not None and rest is tokens:
        return [[Test("==", value[0])]]
    if len(rest) < 2 or not rest[0].text or rest[0].text not in "[(" or rest[-1].text not in "])":
        return None
    inside = rest[1:-1]
    if (between := _split(inside, {".."})) and len(between) == 2:
        low, high = _literal(between[0]), _literal(between[1])
        if low is None or high is None or negated:
            return None
        above = ">=" if rest[0].text == "[" else ">"
        below = "<=" if rest[-1].text == "]" else "<"
        return [[Test(above, low[0]), Test(below, high[0])]]
    if rest[0].text != "[":
        return None
    members = [_literal(part) for part in _split(inside, {","})]
    values = [member[0] for member in members if member is not None]
    if not values or len(values) != len(members):
        return None
    return [[Test("!=", value) for value in values]] if negated else [[Test("==", value)] for value in values]


def _split(tokens: Sequence[Token], separators: set[str]) -> list[Sequence[Token]]:
    """``tokens`` cut at separators that stand outside every bracket."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "operator" and token.text in _OPENING:
            depth += 1
        elif token.kind == "operator" and token.text in _CLOSING:
            depth -= 1
        if depth == 0 and token.kind in {"operator", "name"} and token.text in separators:
            parts.append([])
        else:
            parts[-1].append(token)
    return list(parts)


def _literal(tokens: Sequence[Token]) -> tuple[Literals] | None:
    if len(tokens) == 2 and _is(tokens[0], "-") and tokens[1].kind == "number":
        value = _literal(tokens[1:])
        return (-value[0],) if value and isinstance(value[0], Decimal) else None
    if len(tokens) != 1:
        return None
    token = tokens[0]
    if token.kind == "text":
        return (token.text[1:-1],)
    if token.kind == "number":
        try:
            return (Decimal(token.text.replace("_", "")),)
        except InvalidOperation:
            return None
    if token.kind == "name" and token.text in {"true", "false", "null"}:
        return ({"true": True, "false": False, "null": None}[token.text],)
    return None
