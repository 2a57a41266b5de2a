from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from examples.invoice.arithmetic import check_arithmetic
from examples.invoice.findings import Finding, Severity
from examples.invoice.invoice_data import VatAmount
from examples.invoice.make_samples import COFFEE


def rules_broken_by(**changes: Any) -> list[str]:
    return [finding.rule for finding in check_arithmetic(COFFEE.model_copy(update=changes))]


def test_an_invoice_whose_amounts_fit_has_no_finding() -> None:
    assert check_arithmetic(COFFEE) == ()


@pytest.mark.parametrize(
    ("field", "rules"),
    [
        ("line_total", ["BR-CO-10"]),
        ("allowance_total", ["BR-CO-13"]),
        ("charge_total", ["BR-CO-13"]),
        ("net", ["BR-CO-13", "BR-CO-15"]),
        ("vat", ["BR-CO-15", "BR-CO-14"]),
        ("gross", ["BR-CO-15", "BR-CO-16"]),
        ("prepaid", ["BR-CO-16"]),
        ("rounding", ["BR-CO-16"]),
        ("amount_due", ["BR-CO-16"]),
    ],
)
def test_one_cent_breaks_the_rules_that_name_the_amount(field: str, rules: list[str]) -> None:
    assert rules_broken_by(**{field: getattr(COFFEE, field) + Decimal("0.01")}) == rules


def test_vat_of_a_category_is_its_basis_times_its_rate() -> None:
    low, standard = COFFEE.vat_breakdown
    shifted = (
        VatAmount(category="S", rate=low.rate, basis=low.basis, amount=low.amount + 1),
        VatAmount(category="S", rate=standard.rate, basis=standard.basis, amount=standard.amount - 1),
    )

    assert rules_broken_by(vat_breakdown=shifted) == ["BR-CO-17", "BR-CO-17"]


def test_vat_is_rounded_half_up() -> None:
    invoice = COFFEE.model_copy(
        update={
            "vat_breakdown": (
                VatAmount(category="S", rate=Decimal(5), basis=Decimal("10.50"), amount=Decimal("0.53")),
            ),
            "vat": Decimal("0.53"),
        }
    )

    assert "BR-CO-17" not in [finding.rule for finding in check_arithmetic(invoice)]


def test_quantity_times_price_is_only_a_warning() -> None:
    first, *others = COFFEE.lines
    lines = (first.model_copy(update={"unit_price": Decimal("18.41")}), *others)

    assert check_arithmetic(COFFEE.model_copy(update={"lines": lines})) == (
        Finding(rule="LINE-NET", severity=Severity.WARNING, where="line 1", expected="552.30", found="552.00"),
    )


def test_a_price_may_be_for_more_than_one_unit() -> None:
    first, *others = COFFEE.lines
    lines = (first.model_copy(update={"unit_price": Decimal("1840"), "base_quantity": Decimal(100)}), *others)

    assert check_arithmetic(COFFEE.model_copy(update={"lines": lines})) == ()


def test_an_amount_due_may_exceed_the_total_when_more_was_owed_before() -> None:
    assert rules_broken_by(prepaid=Decimal(-200), amount_due=COFFEE.gross + 200) == []
