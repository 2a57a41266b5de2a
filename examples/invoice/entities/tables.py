"""The entities of the process: whom we buy from, what was billed, what was paid."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from toolkit.entities import Entity, ExactDecimal, History, StatusField


class Vendor(Entity, History, table=True):
    """A company we buy from, as our own people agreed it: the vendor master. Never written from an invoice.

    Every version is kept: whose bank details were changed when, and by whom, is what a fraud turns on.
    """

    name: str
    # What names are compared by; see `invoice_data.name_key`.
    name_key: str = Field(unique=True)
    vat_id: str = ""
    iban: str
    currency: str = Field(max_length=3)


class InvoiceState(StrEnum):
    """Where an invoice stands. It ends once: from ``open`` every way leads to a state that none leaves."""

    OPEN = "open"
    PAID = "paid"
    CREDITED = "credited"
    REJECTED = "rejected"


class Invoice(Entity, table=True):
    """An invoice that came in, registered once: another with the same vendor, number and total is a duplicate."""

    __table_args__ = (UniqueConstraint("vendor_key", "number", "gross", name="one_invoice_once"),)

    run_id: str
    vendor_key: str
    number: str
    issue_date: date | None = None
    currency: str = Field(max_length=3)
    gross: Decimal = Field(sa_type=ExactDecimal)
    amount_due: Decimal = Field(sa_type=ExactDecimal)
    state: str = StatusField(
        states=[state.value for state in InvoiceState], transitions={"open": ["paid", "credited", "rejected"]}
    )
    reason: str = ""


class Payment(Entity, table=True):
    """Money that was sent for an invoice. The constraints say "once": for an invoice, and for a run that pays."""

    run_id: str = Field(unique=True)
    invoice_id: str = Field(foreign_key="invoice.id", unique=True)
    payee: str
    iban: str
    amount: Decimal = Field(sa_type=ExactDecimal)
    currency: str = Field(max_length=3)
