"""What an override decides, one input at a time and many at once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tests.rules.policies import (
    LIMITS,
    Claim,
    Verdict,
    approval,
    chain,
    check,
    expression_node,
    graph_of,
    switch_node,
    table_node,
)
from toolkit.errors import InvalidInput, RuleEvaluationError, RuleNoMatch, RuleOutputInvalid
from toolkit.rules import Rule, Sandbox, rule
from toolkit.rules.engine import DecisionEngine
from toolkit.rules.overrides import Override


class Flags(BaseModel):
    flags: list[dict[str, str]]


class Lenient(BaseModel):
    approved: bool = True


class Amount(BaseModel):
    net: Decimal
    rate: Decimal


class Tax(BaseModel):
    tax: Decimal
    exact: bool


class Measure(BaseModel):
    readings: list[float]


@rule()
def flag(input: Claim) -> Flags:
    return Flags(flags=[])


@rule()
def lenient(input: Claim) -> Lenient:
    return Lenient()


@rule()
def tax(input: Amount) -> Tax:
    return Tax(tax=input.net * input.rate, exact=True)


@rule()
def judge(input: Measure) -> Verdict:
    return Verdict(approved=True)


def override_of(graph: dict[str, Any], sandbox: Sandbox, rule: Rule[Any, Any] = approval) -> Override[Any, Any]:
    checked = check(graph, sandbox, rule)
    override = Override(rule.contract, checked.compiled, DecisionEngine(), number=1, sha256=checked.sha256)
    override.load()
    return override


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


@rule()
def anything(input: Claim) -> Open:
    return Open()


def test_the_hidden_fields_stay_hidden(sandbox: Sandbox) -> None:
    override = override_of(
        chain(table_node([["", "", "true", "'x'"]]), expression_node({"a": "approved"})), sandbox, anything
    )

    assert override.decide(Claim(total=Decimal(1)))[0].model_extra == {"a": True}
    (found,) = override.decide_many([Claim(total=Decimal(1))] * 2)[:1]
    assert isinstance(found, tuple)
    assert found[0].model_extra == {"a": True}


def test_it_says_which_row_matched(sandbox: Sandbox) -> None:
    override = override_of(LIMITS, sandbox)

    verdict, rows = override.decide(Claim(total=Decimal("99.99")))

    assert verdict == Verdict(approved=True, reason="small")
    assert rows == ["node1/r2"]


def test_rows_are_known_through_expressions_and_second_tables(sandbox: Sandbox) -> None:
    graph = chain(
        table_node([["> 100", "'high'"], ["", "'low'"]], inputs=["total"], outputs=["level"]),
        expression_node({"risk": "level"}),
        table_node([["'high'", "false"], ["'low'", "true"]], inputs=["risk"], outputs=["approved"]),
    )
    override = override_of(graph, sandbox)

    assert not override.compiled.is_traced
    assert override.decide(Claim(total=Decimal(500)))[1] == ["node1/r1", "node3/r1"]
    assert override.decide(Claim(total=Decimal(5)))[1] == ["node1/r2", "node3/r2"]


def test_rows_are_known_in_graphs_that_branch(sandbox: Sandbox) -> None:
    graph = graph_of(
        {
            "which": switch_node(["total > 100", ""]),
            "large": table_node([["'ACME'", "true"], ["", "false"]], inputs=["vendor"], outputs=["approved"]),
            "small": expression_node({"approved": "true"}),
        },
        [
            ("input", "which"),
            ("which", "large", "s0"),
            ("which", "small", "s1"),
            ("large", "output"),
            ("small", "output"),
        ],
    )
    override = override_of(graph, sandbox)

    assert override.compiled.is_traced
    assert override.decide(Claim(total=Decimal(500))) == (Verdict(approved=True), ["large/r1"])
    assert override.decide(Claim(total=Decimal(5))) == (Verdict(approved=True), [])


def test_rows_are_known_of_tables_that_collect(sandbox: Sandbox) -> None:
    rows = [["> 100", "'large'"], ["> 1000", "'huge'"]]
    graph = chain(table_node(rows, inputs=["total"], outputs=["name"], hit_policy="collect", outputPath="flags"))
    override = override_of(graph, sandbox, flag)

    assert override.decide(Claim(total=Decimal(5000))) == (
        Flags(flags=[{"name": "large"}, {"name": "huge"}]),
        ["node1/r1", "node1/r2"],
    )
    assert override.decide(Claim(total=Decimal(5))) == (Flags(flags=[]), [])


def test_no_row_is_an_error_and_never_a_default(sandbox: Sandbox) -> None:
    override = override_of(
        chain(table_node([["> 100", "false"]], inputs=["total"], outputs=["approved"])), sandbox, lenient
    )

    with pytest.raises(RuleNoMatch) as error:
        override.decide(Claim(total=Decimal(5)))
    assert error.value.node == "node1"


def test_money_keeps_its_digits(sandbox: Sandbox) -> None:
    override = override_of(
        chain(expression_node({"tax": "net * rate", "exact": "net == 1234567890123456.123456789012"})), sandbox, tax
    )

    assert override.decide(Amount(net=Decimal("19.99"), rate=Decimal("0.19")))[0].tax == Decimal("3.7981")
    assert override.decide(Amount(net=Decimal("0.1") + Decimal("0.2"), rate=Decimal(1)))[0].tax == Decimal("0.3")
    assert override.decide(Amount(net=Decimal("1234567890123456.123456789012"), rate=Decimal(0)))[0].exact


def test_a_number_that_is_none_is_refused_by_name(sandbox: Sandbox) -> None:
    override = override_of(chain(expression_node({"approved": "len(readings) >= 0"})), sandbox, judge)

    assert override.decide(Measure(readings=[1.5]))[0].approved
    with pytest.raises(InvalidInput, match=r"readings\.1"):
        override.decide(Measure(readings=[1.0, float("nan")]))


def test_an_engine_failure_names_the_node_and_nothing_inside(sandbox: Sandbox) -> None:
    override = override_of(chain(expression_node({"approved": "total > 5 ? true : vendor > 5"})), sandbox)

    with pytest.raises(RuleEvaluationError) as error:
        override.decide(Claim(total=Decimal(1)))
    assert error.value.node == "node1"
    assert "\n" not in str(error.value)


def test_an_output_that_does_not_fit_says_which_field(sandbox: Sandbox) -> None:
    override = override_of(chain(expression_node({"approved": "total > 5 ? true : vendor"})), sandbox)

    with pytest.raises(RuleOutputInvalid) as error:
        override.decide(Claim(total=Decimal(1)))
    assert error.value.errors[0]["loc"] == "approved"


def test_numbers_beyond_the_engine_are_errors_of_that_input_alone(sandbox: Sandbox) -> None:
    override = override_of(chain(expression_node({"approved": "total > 5"})), sandbox)
    inputs = [Claim(total=Decimal(value)) for value in ("6", "1e30", str(10**40), "1e-40", "4")]

    decided = override.decide_many(inputs)

    assert [one[0].approved if isinstance(one, tuple) else type(one).__name__ for one in decided] == [
        True,
        "InvalidInput",
        "InvalidInput",
        False,
        False,
    ]


def test_an_input_without_a_json_form_is_refused(sandbox: Sandbox) -> None:
    override = override_of(chain(expression_node({"approved": "total > 5"})), sandbox)

    with pytest.raises(InvalidInput, match="no JSON form"):
        override.decide(Claim.model_construct(total=Decimal(1), vendor="\ud800"))
