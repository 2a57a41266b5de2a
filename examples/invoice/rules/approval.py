"""The one business decision: pay, ask a person, or send back. The default is code; business may upload a table instead.

`approval_policy.jdm.json` beside this file is such a table: the same policy with a higher limit.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.rules import rule

PAY_UP_TO = Decimal(1000)
HOME_CURRENCY = "EUR"


class Action(StrEnum):
    """What happens next with an invoice."""

    PAY = "pay"
    REVIEW = "review"
    REJECT = "reject"


class PolicyInput(BaseModel):
    """The facts about one invoice on which the policy decides."""

    model_config = ConfigDict(frozen=True)

    amount_due: Decimal = Field(description="Amount due for payment, in `currency`")
    currency: str
    is_duplicate: bool = Field(description="Same vendor, number and total as an invoice that came in before")
    is_credit_note: bool
    is_direct_debit: bool = Field(description="The seller collects the amount; we do not pay")
    is_vendor_known: bool
    is_agreed_currency: bool = Field(description="The currency is the one in which the vendor master says they bill")
    has_other_bank_details: bool = Field(description="The invoice names another account than the vendor master")
    wrong_amounts: int = Field(description="How many calculation rules of EN 16931 do not hold")
    page_differences: int = Field(description="How many fields are not found on the page as they were read")


class PolicyDecision(BaseModel):
    """What to do, why in one word for reports, and why in one sentence for people."""

    model_config = ConfigDict(frozen=True)

    action: Action
    reason_code: str
    reason: str


@rule(description="May this invoice be paid without a person?")
def approval_policy(input: PolicyInput) -> PolicyDecision:
    """The first line that applies decides."""
    if input.is_duplicate:
        return _decide("reject", "duplicate", "An invoice of this vendor with this number and total came in before.")
    if input.wrong_amounts:
        return _decide("review", "wrong_sums", "The amounts on the invoice do not add up.")
    if input.page_differences:
        return _decide("review", "page_differs", "The page does not say what was read from the file.")
    if input.is_credit_note:
        return _decide("review", "credit_note", "This is a credit note; there is nothing to pay.")
    if not input.is_vendor_known:
        return _decide("review", "unknown_vendor", "This vendor is not in the vendor master.")
    if input.has_other_bank_details:
        return _decide("review", "changed_bank_details", "The invoice names an account that is not the vendor's.")
    if not input.is_agreed_currency:
        return _decide("review", "other_currency", "The vendor does not usually bill in this currency.")
    if input.is_direct_debit:
        return _decide("review", "direct_debit", "The vendor collects this amount by direct debit.")
    if input.amount_due <= 0:
        return _decide("review", "nothing_due", "No amount is due.")
    if input.currency != HOME_CURRENCY:
        return _decide("review", "foreign_currency", f"The invoice is in {input.currency}.")
    if input.amount_due > PAY_UP_TO:
        return _decide("review", "above_limit", f"More than {PAY_UP_TO} {HOME_CURRENCY} are due.")
    return _decide("pay", "within_limit", f"A known vendor, and not more than {PAY_UP_TO} {HOME_CURRENCY} are due.")


def keep_for_person(input: PolicyInput, decision: PolicyDecision) -> PolicyDecision:
    """What no override may decide: some invoices are never paid unseen, whatever table is active."""
    if decision.action is not Action.PAY:
        return decision
    if input.has_other_bank_details:
        return _decide("review", "changed_bank_details", "The invoice names an account that is not the vendor's.")
    if input.is_credit_note:
        return _decide("review", "credit_note", "This is a credit note; there is nothing to pay.")
    if input.is_duplicate:
        return _decide("reject", "duplicate", "An invoice of this vendor with this number and total came in before.")
    is_sound = input.is_vendor_known and input.is_agreed_currency and input.amount_due > 0
    if input.wrong_amounts or input.page_differences or not is_sound:
        return _decide(
            "review", "unsafe_to_pay", f"The policy would pay ({decision.reason_code}), the checks forbid it."
        )
    return decision


def _decide(action: Literal["pay", "review", "reject"], reason_code: str, reason: str) -> PolicyDecision:
    return PolicyDecision(action=Action(action), reason_code=reason_code, reason=reason)
