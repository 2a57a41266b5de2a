from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.rules.policies import Claim, Verdict, approval
from toolkit.errors import DefinitionError, InvalidInput, RuleOutputInvalid
from toolkit.rules import Rule, rule


def test_a_rule_has_the_name_and_words_of_its_function() -> None:
    @rule
    def large(input: Claim) -> Verdict:
        """Is this claim large?

        More than anybody reads in a list.
        """
        return Verdict(approved=input.total > 1000)

    assert isinstance(large, Rule)
    assert (large.name, large.description) == ("large", "Is this claim large?")
    assert (large.input_type, large.output_type) == (Claim, Verdict)
    assert (large.on_no_match, large.on_error, large.pin) == ("error", "raise", "run")
    assert large.__name__ == "large"


def test_a_rule_can_be_named_and_described() -> None:
    @rule("claims.large-ones", description="Large?", on_no_match="default", on_error="default", pin="latest")
    def large(input: Claim) -> Verdict:
        return Verdict(approved=True)

    assert (large.name, large.description) == ("claims.large-ones", "Large?")
    assert (large.on_no_match, large.on_error, large.pin) == ("default", "default", "latest")


async def test_outside_of_everything_a_rule_is_its_function() -> None:
    assert await approval(Claim(total=Decimal(5))) == Verdict(approved=True, reason="by the function")
    assert approval.decide(Claim(total=Decimal(5000))).approved is False
    assert [one.approved for one in await approval.batch([Claim(total=Decimal(n)) for n in (1, 2000)])] == [True, False]


async def test_a_batch_raises_the_first_error_or_returns_each() -> None:
    @rule
    def fussy(input: Claim) -> Verdict:
        if input.total < 0:
            raise ValueError(f"{input.total} is no total")
        return Verdict(approved=True)

    claims = [Claim(total=Decimal(n)) for n in (1, -1, -2)]

    with pytest.raises(ValueError, match="-1 is no total"):
        await fussy.batch(claims)
    found = await fussy.batch(claims, return_exceptions=True)
    assert [str(one) if isinstance(one, Exception) else one.approved for one in found] == [
        True,
        "-1 is no total",
        "-2 is no total",
    ]


async def test_what_goes_in_and_comes_out_is_held_to_the_annotations() -> None:
    @rule
    def wrong(input: Claim) -> Verdict:
        return {"approved": True}  # type: ignore[return-value]

    with pytest.raises(InvalidInput, match="takes a Claim, found a dict"):
        await approval({"total": 5})  # type: ignore[arg-type]
    with pytest.raises(RuleOutputInvalid, match="returned a dict; expected a Verdict"):
        await wrong(Claim(total=Decimal(5)))


async def slow(input: Claim) -> Verdict:
    return Verdict(approved=True)


def two(input: Claim, other: Claim) -> Verdict:
    return Verdict(approved=True)


def starred(*input: Claim) -> Verdict:
    return Verdict(approved=True)


def number(input: int) -> Verdict:
    return Verdict(approved=True)


def bare(input) -> Verdict:  # type: ignore[no-untyped-def]
    return Verdict(approved=True)


def silent(input: Claim):  # type: ignore[no-untyped-def]
    return Verdict(approved=True)


def boolean(input: Claim) -> bool:
    return True


def lost(input: Lost) -> Verdict:  # type: ignore[name-defined]  # noqa: F821
    return Verdict(approved=True)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (slow, "must be a plain 'def'"),
        (two, "expected exactly one"),
        (starred, "expected exactly one"),
        (number, "parameter 'input' of rule .*number has <class 'int'>; expected a Pydantic model"),
        (bare, "parameter 'input' of rule .*bare has no annotation"),
        (silent, "return value of rule .*silent has no annotation"),
        (boolean, "return value of rule .*boolean has <class 'bool'>"),
        (lost, "name 'Lost' is not defined"),
        (Claim, "stands on a plain function"),
    ],
)
def test_a_function_that_makes_no_rule_is_refused_with_what_was_found(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        rule()(function)


def test_options_are_held_to_their_words() -> None:
    with pytest.raises(DefinitionError, match=r"on_error='ignore'.*expected 'raise' or 'default'"):
        rule(on_error="ignore")  # type: ignore[call-overload]
    with pytest.raises(DefinitionError, match="no name for a rule"):
        rule("approval/v2")(approval.__wrapped__)


def test_the_schemas_show_money_as_numbers() -> None:
    assert approval.input_schema()["properties"]["total"] == {"title": "Total", "type": "number"}
    assert approval.output_schema()["properties"]["limit"]["anyOf"] == [{"type": "number"}, {"type": "null"}]


def test_the_starter_graph_has_a_column_for_every_field() -> None:
    table = approval.starter_graph()["nodes"][1]["content"]

    assert [column["field"] for column in table["inputs"]] == ["total", "category", "vendor", "is_known", "due"]
    assert [column["field"] for column in table["outputs"]] == ["approved", "reason", "limit"]


def test_a_rule_costs_no_heavy_import() -> None:
    code = (
        "import sys; from toolkit.rules import rule; "
        "print([n for n in ('zen', 'sqlalchemy', 'sqlmodel', 'pydantic_ai', 'fsspec', 'fastapi') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_a_decision_outside_an_installation_loads_no_database() -> None:
    code = (
        "import asyncio, sys\n"
        "from tests.rules.lonely import double, Number\n"
        "assert asyncio.run(double(Number(value=4))).value == 8\n"
        "print([n for n in ('zen', 'sqlalchemy', 'sqlmodel') if n in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
