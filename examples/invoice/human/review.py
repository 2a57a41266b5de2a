"""The question to a person: shall this be paid? After two days without an answer it goes to a second person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from examples.invoice.findings import Finding
from examples.invoice.invoice_data import Amount, Code, InvoiceData, Line
from toolkit.files import File
from toolkit.human import Escalate, Human, TaskResult

FIRST_REVIEWER = "accounting"
SECOND_REVIEWER = "head-of-finance"

Iban = Annotated[Code, Field(pattern=r"^$|^[A-Z]{2}\d{2}[A-Z0-9]{8,30}$")]


class ReviewedInvoice(BaseModel):
    """The fields that a payment needs, for the person to check and correct.

    The account suggested is always the one of the vendor master, never a new one from the invoice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seller: Line = Field(min_length=1, title="Seller")
    number: Line = Field(min_length=1, title="Invoice number")
    issue_date: date | None = Field(default=None, title="Issue date")
    currency: Code = Field(pattern=r"^[A-Z]{3}$", title="Currency")
    gross: Amount = Field(title="Total with VAT")
    amount_due: Amount = Field(title="Amount due")
    payee_iban: Iban = Field(default="", title="Pay to IBAN")


class ReviewDecision(BaseModel):
    """The answer. Without ``invoice`` the suggested data stand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    approved: bool = Field(title="Pay this invoice (for a credit note: accept it)")
    note: str = Field(default="", max_length=2000, title="Note")
    invoice: ReviewedInvoice | None = Field(default=None, title="Corrected data")


class ReviewCase(BaseModel):
    """What the reviewer is told about the invoice."""

    model_config = ConfigDict(frozen=True)

    reason_code: str
    reason: str
    invoice: InvoiceData | None = None
    findings: tuple[Finding, ...] = ()
    iban_on_file: str = ""


review_invoice = Human(
    "review_invoice",
    title="Review invoice",
    description="Look at the document, correct what was read wrongly, and decide whether it is paid.",
    input_type=ReviewCase,
    output_type=ReviewDecision,
    assign_to=FIRST_REVIEWER,
    reminders=[timedelta(days=1)],
    escalation=[Escalate(SECOND_REVIEWER, after=timedelta(days=2))],
)


async def ask_reviewer(
    case: ReviewCase, *, suggested: ReviewedInvoice | None, files: Sequence[File]
) -> TaskResult[ReviewDecision]:
    """The answer of whoever has the task in the end."""
    suggested_data: dict[str, Any] | None = None if suggested is None else {"invoice": suggested}
    return await review_invoice(case, message=case.reason, suggested_data=suggested_data, files=files)
