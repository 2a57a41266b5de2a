"""What goes through a graph comes out equal, to the last digit; what cannot is refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.rules.policies import chain, check, expression_node
from toolkit.errors import RuleOutputInvalid
from toolkit.rules import Sandbox, rule
from toolkit.rules.engine import DecisionEngine
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


@rule
def keep_share(input: Shares) -> Shares:
    return input


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
    value = Everything(
        amount=Decimal("1234567890123456.789012345678"),
        id=UUID(int=1),
        day=date(2026, 1, 1),
        moment=datetime(2026, 1, 1, tzinfo=UTC),
        colour=Colour.RED,
    )

    assert pass_through.decide(value)[0].amount == Decimal("1234567890123456.789012345678")


def test_none_where_the_output_has_no_default_is_refused_by_name(sandbox: Sandbox) -> None:
    checked = check(chain(expression_node({"share": "share"})), sandbox, keep_share)
    override = Override(keep_share.contract, checked.compiled, DecisionEngine(), number=1, sha256="")
    override.load()

    assert "null_is_dropped" in [issue.code for issue in checked.report.issues]
    with pytest.raises(RuleOutputInvalid) as caught:
        override.decide(Shares(share=None))
    assert caught.value.errors[0]["loc"] == "share"
