"""A decimal is kept to its last digit, or refused; it is never rounded in silence."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy.dialects import sqlite

from tests.entities.conftest import Caller
from tests.entities.shop import fields_of
from toolkit.entities import ExactDecimal

SQLITE = sqlite.dialect()
FIT = ["0", "0.01", "-0.01", "123456789012345678.99", "-999999999999999999.99", "1E+3", "5.10", "0E-40", "1.1000"]
DO_NOT = ["0.001", "1000000000000000000", "1E+30", "-1E+999999", "1E-40", "NaN", "Infinity", "123456789012345678.991"]


async def test_a_decimal_that_fits_comes_back_equal(call: Caller) -> None:
    for total in FIT:
        made = await call.make("order", number="A-1", total=total)
        found = await call("GET", "/order", params={"total": total, "limit": 1})

        assert Decimal(made["total"]) == Decimal(total)
        assert [row["id"] for row in found.json()["items"]] == [made["id"]]


async def test_decimals_are_equal_if_their_last_digits_are(call: Caller) -> None:
    totals = ["100000000000000000.01", "100000000000000000.02", "-0"]
    for number, total in enumerate(totals):
        await call.make("order", number=f"A-{number}", total=total)

    for query, expected in {
        "total=100000000000000000.01": ["A-0"],
        "total.ne=100000000000000000.01": ["A-2", "A-1"],
        "total.in=100000000000000000.02,5,0.0": ["A-2", "A-1"],
        "total=0": ["A-2"],
    }.items():
        found = (await call("GET", f"/order?{query}")).json()["items"]
        assert [order["number"] for order in found] == expected, query


async def test_a_decimal_that_does_not_fit_is_refused(call: Caller) -> None:
    for total in DO_NOT:
        response = await call("POST", "/order", json={"number": "A-1", "total": total})

        assert (total, response.status_code, fields_of(response)) == (total, 422, ["total"])


async def test_an_exponent_that_no_number_has_is_refused(call: Caller) -> None:
    headers = {"content-type": "application/json"}
    for token in ("1e99999999999999999999999", "1e-99999999999999999999999"):
        content = f'{{"number": "A-1", "total": {token}}}'
        response = await call("POST", "/order", content=content, headers=headers)

        assert (response.status_code, fields_of(response)) == (422, ["body"])


@pytest.mark.parametrize("text", ["100000000000000000000", "-99999999999999999999999999.999999999999"])
def test_a_decimal_may_have_more_digits_than_python_reckons_with(text: str) -> None:
    kept = ExactDecimal(38, 12).process_bind_param(Decimal(text), SQLITE)

    assert Decimal(kept) == Decimal(text)


@pytest.mark.parametrize("text", ["99999999999999999999999999.9999999999999", "100000000000000000000000000"])
def test_a_decimal_of_many_digits_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not fit 38 digits"):
        ExactDecimal(38, 12).process_bind_param(Decimal(text), SQLITE)
