from __future__ import annotations

from decimal import Decimal

import pytest

from toolkit.rules.expressions import Test as Comparison
from toolkit.rules.expressions import read_expression, read_literal, read_tests


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("total > limit", [("total",), ("limit",)]),
        ("vendor.country == 'DE'", [("vendor", "country")]),
        ("due.year() > 2020", [("due",)]),
        ("map(lines, #.price * quantity)", [("lines",), ("quantity",)]),
        ("map(lines as line, line.price)", [("lines",)]),
        ("{ total: price, 'other': 1 }", [("price",)]),
        ("a ? b : c", [("a",), ("b",), ("c",)]),
        ("`Dear ${name}`", [("name",)]),
        ("$root.total + $.limit", [("total",)]),
        ("not true and null == x", [("x",)]),
        ("'total' in names", [("names",)]),
    ],
)
def test_an_expression_tells_which_fields_it_reads(text: str, fields: list[tuple[str, ...]]) -> None:
    assert read_expression(text).fields == fields


def test_a_range_that_only_tests_is_told_from_one_that_lists() -> None:
    assert [r.is_test for r in read_expression("x in [1..1000000000]").ranges] == [True]
    assert [r.is_test for r in read_expression("[1..10]", is_cell=True).ranges] == [True]
    listed = read_expression("sum(map([1..1_000_000], #))").ranges
    assert [(r.low, r.high, r.is_test) for r in listed] == [(Decimal(1), Decimal(1_000_000), False)]
    assert [r.is_test for r in read_expression("len(map([1..9], #)) > 2", is_cell=True).ranges] == [False]
    assert read_expression("map([1..total], #)").ranges[0].high is None


def test_what_changes_with_time_or_chance_is_noticed() -> None:
    assert read_expression("d('2024-01-01') > due").is_deterministic
    for text in ("d() > due", "date('now')", "rand(10) > 5", "d('today')"):
        assert not read_expression(text).is_deterministic, text


def test_only_a_divisor_that_may_be_nought_is_noticed() -> None:
    assert read_expression("total / count").may_divide_by_zero
    assert not read_expression("total / 100").may_divide_by_zero


def test_nesting_is_measured() -> None:
    assert read_expression("map(a, map(#, filter(#, # > 1)))").closures == 3
    assert read_expression("((1 + [2][0]))").brackets == 3


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("> 5", [[Comparison(">", Decimal(5))]]),
        ("-5.50", [[Comparison("==", Decimal("-5.50"))]]),
        ("'a', \"it's\"", [[Comparison("==", "a")], [Comparison("==", "it's")]]),
        ("> 5 and <= 10", [[Comparison(">", Decimal(5)), Comparison("<=", Decimal(10))]]),
        ("(1..10]", [[Comparison(">", Decimal(1)), Comparison("<=", Decimal(10))]]),
        ("in [true, null]", [[Comparison("==", True)], [Comparison("==", None)]]),
        ("not in ['a', 'b']", [[Comparison("!=", "a"), Comparison("!=", "b")]]),
        ("1_000", [[Comparison("==", Decimal(1000))]]),
    ],
)
def test_a_cell_of_literals_is_read_as_tests(text: str, tests: list[list[Comparison]]) -> None:
    assert read_tests(text) == tests


@pytest.mark.parametrize("text", ["startsWith($, 'x')", "> limit", "$ > 5", "d('2024-01-01')", "", ">"])
def test_a_cell_that_is_more_than_literals_is_not_guessed_at(text: str) -> None:
    assert read_tests(text) is None


def test_a_literal_is_told_from_an_expression() -> None:
    assert read_literal("'x'") == ("x",)
    assert read_literal("null") == (None,)
    assert read_literal("x") is None
    assert read_literal("1 + 1") is None
