"""The tables of the process: whom we buy from, what was billed, what was paid."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from examples.invoice.entities.money import Money
from toolkit.ids import new_id
from toolkit.storage import UtcDateTime


class Vendor(SQLModel, table=True):
    """A company we buy from, as our own people agreed it: the vendor master. Never written from an invoice."""

    id: str = Field(default_factory=new_id, primary_key=True)
    name: str
    # What names are compared by; see `invoice_data.name_key`.
    name_key: str = Field(unique=True)
    vat_id: str = ""
    iban: str
    currency: str = Field(max_length=3)


class InvoiceState(StrEnum):
    """Where an invoice stands."""

    OPEN = "open"
    PAID = "paid"
    CREDITED = "credited"
    REJECTED = "rejected"


class Invoice(SQLModel, table=True):
    """An invoice that came in, registered once: another with the same vendor, number and total is a duplicate."""

    __table_args__ = (UniqueConstraint("vendor_key", "number", "gross", name="one_invoice_once"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    run_id: str
    vendor_key: str
    number: str
    issue_date: date | None = None
    currency: str = Field(max_length=3)
    gross: Decimal = Field(sa_type=Money)
    amount_due: Decimal = Field(sa_type=Money)
    state: str = InvoiceState.OPEN.value
    reason: str = ""


class Payment(SQLModel, table=True):
    """Money that was sent for an invoice. The constraints say "once": for an invoice, and for a run that pays."""

    id: str = Field(default_factory=new_id, primary_key=True)
    run_id: str = Field(unique=True)
    invoice_id: str = Field(foreign_key="invoice.id", unique=True)
    payee: str
    iban: str
    amount: Decimal = Field(sa_type=Money)
    currency: str = Field(max_length=3)
    booked_at: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=UtcDateTime)
