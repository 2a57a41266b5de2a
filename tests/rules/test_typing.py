"""The decorator keeps the types of the function; mypy and pyright check this file, running it checks the same values."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

from tests.rules.policies import Claim, Verdict
from toolkit.rules import Rule, rule


@rule
def bare(input: Claim) -> Verdict:
    return Verdict(approved=True)


@rule("named", pin="latest")
def named(input: Claim) -> Verdict:
    return Verdict(approved=True)


async def test_a_rule_keeps_the_types_of_its_function() -> None:
    claim = Claim(total=Decimal(1))
    assert_type(bare, Rule[Claim, Verdict])
    assert_type(named, Rule[Claim, Verdict])
    assert_type(await bare(claim), Verdict)
    assert_type(bare.decide(claim), Verdict)
    assert_type(await named.batch([claim]), list[Verdict])
    assert_type(await named.batch([claim], return_exceptions=True), list[Verdict | Exception])
    assert_type(bare.input_type, type[Claim])
