from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from examples.invoice.rules import Action, PolicyDecision, PolicyInput, approval_policy, keep_for_person


def facts(**changes: Any) -> PolicyInput:
    harmless = PolicyInput(
        amount_due=Decimal("999.99"),
        currency="EUR",
        is_duplicate=False,
        is_credit_note=False,
        is_direct_debit=False,
        is_vendor_known=True,
        is_agreed_currency=True,
        has_other_bank_details=False,
        wrong_amounts=0,
        page_differences=0,
    )
    return harmless.model_copy(update=changes)


PAY = PolicyDecision(action=Action.PAY, reason_code="generous", reason="A table says so.")


@pytest.mark.parametrize(
    ("changes", "action", "reason_code"),
    [
        ({}, Action.PAY, "within_limit"),
        ({"amount_due": Decimal(1000)}, Action.PAY, "within_limit"),
        ({"amount_due": Decimal("1000.01")}, Action.REVIEW, "above_limit"),
        ({"amount_due": Decimal(0)}, Action.REVIEW, "nothing_due"),
        ({"amount_due": Decimal(-5)}, Action.REVIEW, "nothing_due"),
        ({"currency": "USD"}, Action.REVIEW, "foreign_currency"),
        ({"is_direct_debit": True}, Action.REVIEW, "direct_debit"),
        ({"has_other_bank_details": True}, Action.REVIEW, "changed_bank_details"),
        ({"is_agreed_currency": False}, Action.REVIEW, "other_currency"),
        ({"is_vendor_known": False}, Action.REVIEW, "unknown_vendor"),
        ({"is_credit_note": True}, Action.REVIEW, "credit_note"),
        ({"page_differences": 1}, Action.REVIEW, "page_differs"),
        ({"wrong_amounts": 1}, Action.REVIEW, "wrong_sums"),
        ({"is_duplicate": True, "wrong_amounts": 1}, Action.REJECT, "duplicate"),
    ],
)
def test_each_fact_has_its_decision(changes: dict[str, Any], action: Action, reason_code: str) -> None:
    decision = approval_policy.decide(facts(**changes))

    assert (decision.action, decision.reason_code) == (action, reason_code)
    assert decision.reason


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"has_other_bank_details": True}, Action.REVIEW),
        ({"is_credit_note": True}, Action.REVIEW),
        ({"is_vendor_known": False}, Action.REVIEW),
        ({"is_agreed_currency": False}, Action.REVIEW),
        ({"wrong_amounts": 1}, Action.REVIEW),
        ({"page_differences": 1}, Action.REVIEW),
        ({"amount_due": Decimal(0)}, Action.REVIEW),
        ({"is_duplicate": True}, Action.REJECT),
        ({"amount_due": Decimal(5000)}, Action.PAY),
        ({"currency": "USD"}, Action.PAY),
    ],
)
def test_a_generous_table_cannot_pay_what_a_person_must_see(changes: dict[str, Any], action: Action) -> None:
    assert keep_for_person(facts(**changes), PAY).action is action


def test_a_stricter_decision_stands() -> None:
    rejection = PolicyDecision(action=Action.REJECT, reason_code="no", reason="No.")

    assert keep_for_person(facts(has_other_bank_details=True), rejection) is rejection
