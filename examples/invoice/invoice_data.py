"""What an invoice says, in one shape, whatever it was read from.

The fields are the business terms ("BT") of EN 16931-1, the European standard for electronic invoices, so a PDF read by
a model, a Factur-X PDF, a CII and a UBL file all become the same :class:`InvoiceData`. Amounts are ``Decimal`` in the
invoice's currency and are kept as stated; nothing here is calculated. `arithmetic.py` says whether they fit together.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def one_line(text: str) -> str:
    """``text`` with every run of white space, line breaks included, as one space."""
    return " ".join(text.split())


def compact(text: str) -> str:
    """``text`` in capitals without white space, the form in which IBANs and VAT ids are compared."""
    return re.sub(r"\s+", "", text).upper()


def name_key(name: str) -> str:
    """``name`` reduced to its letters and digits in small case, for comparing company names.

    "Kraftwerk  Süd GmbH & Co. KG" and "KRAFTWERK SÜD GMBH & CO KG" have the same key.
    """
    return " ".join(re.findall(r"\w+", name.casefold()))


def _finite(amount: Decimal) -> Decimal:
    if not amount.is_finite():
        raise ValueError(f"found {amount!r}, expected a finite number")
    return amount


def _absent(value: object) -> object:
    return "" if value is None else value  # models say null where a text is missing


Amount = Annotated[Decimal, AfterValidator(_finite), Field(max_digits=20, decimal_places=10)]
Line = Annotated[str, BeforeValidator(_absent), AfterValidator(one_line), Field(max_length=1000)]
Code = Annotated[str, BeforeValidator(_absent), AfterValidator(compact), Field(max_length=40)]

ZERO = Decimal(0)
CREDIT_NOTE_TYPES = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"})
"""The UNTDID 1001 codes that EN 16931 reads as a credit note. A self-billed invoice (389) is not among them, although
German pages call it "Gutschrift"."""

DIRECT_DEBIT_MEANS = frozenset({"49", "59"})
"""The UNTDID 4461 codes by which the seller collects the amount; paying it as well would pay twice."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Party(_Frozen):
    """Seller or buyer."""

    name: Line = Field(description="Name of the company or person, without the address")
    vat_id: Code = Field(default="", description="VAT identifier with its country prefix, e.g. DE123456789")
    country: Code = Field(default="", description="Country code of the address, two letters")


class InvoiceLine(_Frozen):
    """One invoice line (BG-25)."""

    description: Line = ""
    quantity: Amount = Field(default=Decimal(1), description="Invoiced quantity (BT-129)")
    unit: Line = Field(default="", description="Unit of the quantity (BT-130)")
    unit_price: Amount | None = Field(default=None, description="Net price for base_quantity units (BT-146)")
    base_quantity: Amount = Field(default=Decimal(1), description="Number of units the price is for (BT-149)")
    allowances: Amount = Field(default=ZERO, description="Sum of the discounts of this line (BT-136)")
    charges: Amount = Field(default=ZERO, description="Sum of the surcharges of this line (BT-141)")
    vat_category: Code = Field(default="", description="VAT category code of the line (BT-151)")
    vat_rate: Amount | None = Field(default=None, description="VAT rate of the line in per cent (BT-152)")
    net: Amount = Field(description="Net amount of the line (BT-131)")


class AllowanceOrCharge(_Frozen):
    """One discount or surcharge on the whole invoice (BG-20, BG-21)."""

    is_charge: bool = Field(description="True for a surcharge, false for a discount")
    amount: Amount
    reason: Line = ""
    vat_category: Code = ""
    vat_rate: Amount | None = None


class VatAmount(_Frozen):
    """The VAT of one category and rate (BG-23)."""

    category: Code = Field(
        default="S", description="VAT category code: S standard, E exempt, K intra-community, Z zero"
    )
    rate: Amount = Field(default=ZERO, description="Rate in per cent (BT-119)")
    basis: Amount = Field(description="Taxable amount (BT-116)")
    amount: Amount = Field(description="VAT on that amount (BT-117)")


class InvoiceData(_Frozen):
    """One invoice or credit note as its document states it."""

    number: Line = Field(min_length=1, description="Invoice number (BT-1)")
    type_code: Code = Field(
        default="380", description="UNTDID 1001: 380 invoice, 381 credit note, 389 self-billed (BT-3)"
    )
    issue_date: date = Field(description="Issue date (BT-2)")
    due_date: date | None = Field(default=None, description="Payment due date (BT-9)")
    currency: Code = Field(pattern=r"^[A-Z]{3}$", description="Currency of all amounts, ISO 4217 (BT-5)")
    seller: Party
    buyer: Party | None = None
    payee: Line = Field(default="", description="Who is to be paid, when it is not the seller (BT-59)")
    payee_iban: Code = Field(default="", description="IBAN the seller wants to be paid to (BT-84)")
    payment_means: Code = Field(
        default="", description="UNTDID 4461: 30 and 58 transfer, 49 and 59 direct debit (BT-81)"
    )
    lines: tuple[InvoiceLine, ...] = ()
    allowances_and_charges: tuple[AllowanceOrCharge, ...] = ()
    vat_breakdown: tuple[VatAmount, ...] = ()
    line_total: Amount | None = Field(default=None, description="Sum of the line nets (BT-106)")
    allowance_total: Amount = Field(default=ZERO, description="Sum of the discounts on the whole invoice (BT-107)")
    charge_total: Amount = Field(default=ZERO, description="Sum of the surcharges on the whole invoice (BT-108)")
    net: Amount = Field(description="Total without VAT (BT-109)")
    vat: Amount = Field(default=ZERO, description="Total VAT in the invoice currency (BT-110)")
    gross: Amount = Field(description="Total with VAT (BT-112)")
    prepaid: Amount = Field(default=ZERO, description="Amount already paid (BT-113)")
    rounding: Amount = Field(default=ZERO, description="Rounding of the amount due (BT-114)")
    amount_due: Amount = Field(description="Amount due for payment (BT-115)")

    @property
    def is_credit_note(self) -> bool:
        return self.type_code in CREDIT_NOTE_TYPES

    @property
    def is_direct_debit(self) -> bool:
        return self.payment_means in DIRECT_DEBIT_MEANS
