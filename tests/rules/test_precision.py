"""What goes through a graph comes out equal, to the last digit; what cannot is refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.rules.policies import chain, check, expression_node, graph_of, issues_of, switch_node, table_node
from toolkit.errors import InvalidInput, RuleOutputInvalid
from toolkit.rules import Rule, Sandbox, rule
from toolkit.rules.contract import Contract
from toolkit.rules.engine import DecisionEngine
from toolkit.rules.numbers import LARGEST, fitted
from toolkit.rules.overrides import Override


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    text: str
    count: int
    tags: list[str] = []


class Everything(BaseModel):
    amount: Decimal
    share: Decimal | None = None
    id: UUID
    day: date
    moment: datetime
    colour: Colour
    lines: list[Line] = []
    note: str | None = None
    flag: bool = False


@rule
def keep(input: Everything) -> Everything:
    return input


class Shares(BaseModel):
    share: Decimal | None


EVERYTHING = Everything(
    amount=Decimal(1),
    id=UUID("018f3a5e-10e7-7000-8000-00000005e129"),  # in which parts look like numbers with an exponent
    day=date(2026, 1, 1),
    moment=datetime(2026, 1, 1, tzinfo=UTC),
    colour=Colour.RED,
)
FIELDS = ("id", "colour", "lines", "note", "flag")
PASS_THROUGH = chain(
    expression_node(
        {
            # As numbers, decimals leave the engine as floats; as text they keep every digit.
            "amount": "string(amount)",
            "share": "share == null ? null : string(share)",
            "day": "string(day)",
            "moment": "string(moment)",
            **{name: name for name in FIELDS},
        }
    )
)

decimals = st.decimals(
    min_value=Decimal("-9999999999999999.999999999999"),
    max_value=Decimal("9999999999999999.999999999999"),
    allow_nan=False,
    allow_infinity=False,
    places=12,
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
everything = st.builds(
    Everything,
    amount=decimals,
    share=st.none() | decimals,
    id=st.uuids(),
    day=st.dates(date(1970, 1, 1), date(2200, 1, 1)),
    moment=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
        lambda moment: moment - timedelta(microseconds=moment.microsecond)
    ),
    colour=st.sampled_from(Colour),
    lines=st.lists(
        st.builds(Line, text=texts, count=st.integers(-(2**53), 2**53), tags=st.lists(texts, max_size=3)), max_size=3
    ),
    note=st.none() | texts,
    flag=st.booleans(),
)


@pytest.fixture(scope="module")
def pass_through(sandbox: Sandbox) -> Override[Everything, Everything]:
    compiled = check(PASS_THROUGH, sandbox, keep).compiled
    override = Override(keep.contract, compiled, DecisionEngine(), number=1, sha256=compiled.sha256)
    override.load()
    return override


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=everything)
def test_an_override_that_passes_its_input_through_returns_an_equal_model(
    value: Everything, pass_through: Override[Everything, Everything]
) -> None:
    alone, _ = pass_through.decide(value)
    in_batch = pass_through.decide_many([value, value])

    assert alone == value
    assert [found[0] if isinstance(found, tuple) else found for found in in_batch] == [value, value]


def test_28_digits_survive(pass_through: Override[Everything, Everything]) -> None:
    value = EVERYTHING.model_copy(update={"amount": Decimal("1234567890123456.789012345678")})

    assert pass_through.decide(value)[0].amount == Decimal("1234567890123456.789012345678")


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (Decimal(1) / Decimal("160.55"), "0.0062285892245406415446901277"),
        (Decimal("0.00012345678901234567890123456789"), "0.0001234567890123456789012346"),
        (Decimal("123.1234567890123456789012345678"), "123.12345678901234567890123457"),
        (Decimal("-7.92281625142643375935439503359"), "-7.922816251426433759354395034"),
        (Decimal("12345678901234567890.1234567890"), "12345678901234567890.123456789"),
        (Decimal("79228162514264337593543950334.5"), "79228162514264337593543950334"),
        (Decimal("0.00000000000000000000000000025"), "0.0000000000000000000000000002"),
        (Decimal("0.00000000000000000000000000035"), "0.0000000000000000000000000004"),
        (Decimal("1E-40"), "0"),
        (Decimal("0E+40"), "0"),
        (Decimal("79228162514264337593543950335"), "79228162514264337593543950335"),
    ],
)
def test_a_longer_decimal_keeps_28_digits_or_places(
    given: Decimal, seen: str, pass_through: Override[Everything, Everything]
) -> None:
    value = EVERYTHING.model_copy(update={"amount": given})

    alone, _ = pass_through.decide(value)
    in_batch = [found[0] if isinstance(found, tuple) else found for found in pass_through.decide_many([value] * 2)]

    assert alone.amount == Decimal(seen)
    assert in_batch == [alone, alone]


@settings(max_examples=300, deadline=None)
@given(value=st.decimals(allow_nan=False, allow_infinity=False, min_value=-LARGEST, max_value=LARGEST))
def test_a_fitted_decimal_is_the_nearest_one_of_96_bits(value: Decimal) -> None:
    found = fitted(value, rule="keep")

    exponent = found.as_tuple().exponent
    assert exponent >= -28
    assert abs(int(found.scaleb(max(-exponent, 0), Context(prec=60)))) <= LARGEST
    exact = Context(prec=1000, Emin=-10_000)
    assert exact.abs(exact.subtract(found, value)) <= Decimal((0, (5,), max(value.adjusted(), -1) - 28))


@pytest.mark.parametrize(
    ("amount", "digits"),
    [(Decimal(LARGEST + 1), 29), (Decimal(10**30), 31), (Decimal("-1E+400"), 401), (Decimal(f"{LARGEST}.5"), 29)],
)
def test_a_number_too_large_for_the_engine_is_refused_by_field_and_in_its_row_alone(
    amount: Decimal, digits: int, pass_through: Override[Everything, Everything]
) -> None:
    value = EVERYTHING.model_copy(update={"amount": amount})
    says = f"takes numbers up to 79228162514264337593543950335 in size, found a number of {digits} digits in 'amount'"

    with pytest.raises(InvalidInput, match=says) as error:
        pass_through.decide(value)
    before, wrong, after = pass_through.decide_many([EVERYTHING, value, EVERYTHING])

    assert error.value.errors[0]["loc"] == "amount"
    assert isinstance(wrong, InvalidInput)
    assert wrong.errors == error.value.errors
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)


@pytest.mark.parametrize("number", [10**30, -(10**30), 1e300, 7.922816251426434e28, LARGEST + 1])
def test_integers_and_floats_have_the_same_limit(number: float) -> None:
    class Given(BaseModel):
        parts: dict[str, list[float | int]]

    contract = Contract("sum", Given, Given)

    with pytest.raises(InvalidInput, match=r"in 'parts\.a\.1'"):
        contract.encode(Given(parts={"a": [1, number]}))
    assert contract.encode(Given(parts={"a": [LARGEST, 1e28]})) == f'{{"parts":{{"a":[{LARGEST},1e28]}}}}'


class Defaulted(BaseModel):
    share: Decimal | None = Decimal(1)
    must: str | None
    plain: str = "as usual"


@rule
def default(input: Shares) -> Defaulted:
    return Defaulted(must=None)


def override_of(graph: dict[str, Any], sandbox: Sandbox, rule: Rule[Any, Any]) -> Override[Any, Any]:
    compiled = check(graph, sandbox, rule).compiled
    override = Override(rule.contract, compiled, DecisionEngine(), number=1, sha256="")
    override.load()
    return override


NULLS = {
    "expressions": chain(expression_node({"share": "share", "must": "null", "plain": "null"})),
    "table": chain(
        table_node([["", "share", "null", "null"]], inputs=["share"], outputs=["share", "must", "plain"]),
    ),
    "switch": graph_of(
        {"s": switch_node(["true"]), "e": expression_node({"share": "share", "must": "null", "plain": "null"})},
        [("input", "s"), ("s", "e", "s0"), ("e", "output")],
    ),
}


@pytest.mark.parametrize("shape", NULLS)
def test_none_is_not_taken_for_missing(shape: str, sandbox: Sandbox) -> None:
    override = override_of(NULLS[shape], sandbox, default)
    inputs = [Shares(share=None), Shares(share=Decimal("0.5"))]

    expected = [Defaulted(share=None, must=None), Defaulted(share=Decimal("0.5"), must=None)]
    assert [override.decide(one)[0] for one in inputs] == expected
    assert [found[0] if isinstance(found, tuple) else found for found in override.decide_many(inputs)] == expected


def test_missing_is_not_taken_for_none(sandbox: Sandbox) -> None:
    override = override_of(
        chain(table_node([["> 5", "1", "'x'"], ["", "", "'x'"]], inputs=["share"], outputs=["share", "must"])),
        sandbox,
        default,
    )

    assert override.decide(Shares(share=None))[0] == Defaulted(share=Decimal(1), must="x"), "the default stands in"


def test_a_missing_field_that_must_be_there_is_refused_by_name(sandbox: Sandbox) -> None:
    left_out = chain(table_node([["> 5", "'x'"], ["", ""]], inputs=["share"], outputs=["must"]))
    assert ("error", "empty_output") in issues_of(left_out, sandbox, default)

    behind_a_switch = graph_of(
        {
            "s": switch_node(["share > 5", ""]),
            "e": expression_node({"must": "'x'"}),
            "f": expression_node({"share": "share"}),
        },
        [("input", "s"), ("s", "e", "s0"), ("s", "f", "s1"), ("e", "output"), ("f", "output")],
    )
    override = override_of(behind_a_switch, sandbox, default)
    with pytest.raises(RuleOutputInvalid) as caught:
        override.decide(Shares(share=Decimal(1)))
    assert caught.value.errors[0]["loc"] == "must"
