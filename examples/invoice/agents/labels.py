"""Reads an invoice from the text of its page by the labels in front of its fields, in English and German.

This is no understanding of documents: "Invoice number: 42" is read, prose is not. It stands in for a language model
where there is none, and gives the same answer every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from examples.invoice.agents.extraction import Extraction
from examples.invoice.invoice_data import (
    ZERO,
    AllowanceOrCharge,
    InvoiceData,
    InvoiceLine,
    Party,
    VatAmount,
    compact,
    one_line,
)

LABELS: dict[str, tuple[str, ...]] = {
    "number": ("Invoice number", "Credit note number", "Rechnungsnummer", "Gutschriftsnummer"),
    "issue_date": ("Invoice date", "Date", "Rechnungsdatum", "Datum"),
    "due_date": ("Due date", "Payable by", "Fällig am", "Zahlbar bis"),
    "currency": ("Currency", "Währung"),
    "seller": ("Seller", "From", "Verkäufer", "Lieferant"),
    "vat_id": ("VAT ID", "VAT number", "USt-IdNr.", "USt.-Id.-Nr."),
    "buyer": ("Bill to", "Buyer", "Rechnungsempfänger", "Käufer"),
    "payee_iban": ("IBAN",),
    "line_total": ("Subtotal", "Sum of lines", "Zwischensumme", "Positionssumme"),
    "discount": ("Discount", "Rabatt"),
    "shipping": ("Shipping", "Versandkosten"),
    "net": ("Total without VAT", "Net total", "Nettobetrag", "Rechnungssumme ohne USt."),
    "vat": ("Total VAT", "Umsatzsteuer gesamt", "Steuerbetrag"),
    "gross": ("Total with VAT", "Total", "Gesamtbetrag", "Bruttosumme"),
    "prepaid": ("Already paid", "Bereits bezahlt", "Erhaltene Anzahlungen"),
    "amount_due": ("Amount due", "Zahlbetrag"),
}  # fmt: skip
_REQUIRED = ("number", "issue_date", "currency", "seller", "net", "gross")
_CREDIT_NOTE = re.compile(r"^\s*(credit note|rechnungskorrektur)\b", re.IGNORECASE | re.MULTILINE)
_GERMAN = re.compile(r"^\s*(Rechnungsnummer|Rechnungsdatum|Währung)\b", re.MULTILINE)
_VAT_LINE = re.compile(r"^(?:VAT|USt)\s+([\d.,]+)\s*%\s+(?:on|auf)\s+([\d.,]+)\s*:?\s+([\d.,]+)", re.MULTILINE)
_ITEM = re.compile(r"^\d{1,3}\s+(\S.*?)\s+([\d.,]+)\s+([^\W\d]+)\s+([\d.,]+)\s+(-?[\d.,]+)$", re.MULTILINE)
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "januar"), ("february", "februar"), ("march", "märz"), ("april",), ("may", "mai"),
            ("june", "juni"), ("july", "juli"), ("august",), ("september",), ("october", "oktober"),
            ("november",), ("december", "dezember"),
        ),
        start=1,
    )
    for name in names
}  # fmt: skip


def read_labels(text: str) -> Extraction:
    """The invoice that ``text`` states, or the problem that kept it from being read."""
    page = _Page(text=text, has_decimal_comma=_GERMAN.search(text) is not None)
    fields = {name: page.field(labels) for name, labels in LABELS.items()}
    missing = [LABELS[name][0] for name in _REQUIRED if not fields[name]]
    if missing:
        return Extraction(problem=f"not found on the page: {', '.join(missing)}")
    try:
        return Extraction(invoice=_invoice(page, fields))
    except ValueError as error:  # Pydantic's ValidationError is one, too
        return Extraction(problem=one_line(str(error))[:500])


def _invoice(page: _Page, fields: dict[str, str]) -> InvoiceData:
    gross = page.amount(fields["gross"])
    breakdown = tuple(page.vat_amounts())
    return InvoiceData(
        number=fields["number"],
        type_code="381" if _CREDIT_NOTE.search(page.text) else "380",
        issue_date=_day(fields["issue_date"]),
        due_date=_day(fields["due_date"]) if fields["due_date"] else None,
        currency=fields["currency"],
        seller=Party(name=fields["seller"], vat_id=fields["vat_id"], country=compact(fields["vat_id"])[:2]),
        buyer=Party(name=fields["buyer"]) if fields["buyer"] else None,
        payee_iban=fields["payee_iban"],
        lines=tuple(page.lines()),
        allowances_and_charges=tuple(_allowances_and_charges(page, fields)),
        vat_breakdown=breakdown,
        line_total=page.amount(fields["line_total"]) if fields["line_total"] else None,
        allowance_total=abs(page.amount(fields["discount"])),
        charge_total=page.amount(fields["shipping"]),
        net=page.amount(fields["net"]),
        vat=page.amount(fields["vat"]) if fields["vat"] else sum((vat.amount for vat in breakdown), ZERO),
        gross=gross,
        prepaid=abs(page.amount(fields["prepaid"])),
        # A page that states no amount due asks for its total.
        amount_due=page.amount(fields["amount_due"]) if fields["amount_due"] else gross,
    )


def _allowances_and_charges(page: _Page, fields: dict[str, str]) -> Iterator[AllowanceOrCharge]:
    for name, is_charge in (("discount", False), ("shipping", True)):
        if fields[name]:
            yield AllowanceOrCharge(is_charge=is_charge, amount=abs(page.amount(fields[name])), reason=name)


@dataclass(frozen=True, slots=True)
class _Page:
    text: str
    has_decimal_comma: bool

    def field(self, labels: tuple[str, ...]) -> str:
        """What follows the first of ``labels`` that opens a line, or ``""``."""
        for label in labels:
            match = re.search(rf"^\s*{re.escape(label)}\s*:[ \t]*(\S.*)$", self.text, re.IGNORECASE | re.MULTILINE)
            if match:
                return one_line(match.group(1))
        return ""

    def amount(self, printed: str) -> Decimal:
        """The number in ``printed``, such as "1.234,50 EUR"; zero for ``""``.

        Raises:
            ValueError: there is none.
        """
        if not printed:
            return ZERO
        digits = re.sub(r"[^\d.,-]", "", printed)
        decimal_mark, thousands_mark = (",", ".") if self.has_decimal_comma else (".", ",")
        try:
            return Decimal(digits.replace(thousands_mark, "").replace(decimal_mark, "."))
        except InvalidOperation as error:
            raise ValueError(f"found {printed[:40]!r}, expected an amount") from error

    def lines(self) -> Iterator[InvoiceLine]:
        for description, quantity, unit, price, net in _ITEM.findall(self.text):
            yield InvoiceLine(
                description=description,
                quantity=self.amount(quantity),
                unit=unit,
                unit_price=self.amount(price),
                net=self.amount(net),
            )

    def vat_amounts(self) -> Iterator[VatAmount]:
        for rate, basis, amount in _VAT_LINE.findall(self.text):
            percent = self.amount(rate)
            yield VatAmount(
                category="S" if percent else "Z", rate=percent, basis=self.amount(basis), amount=self.amount(amount)
            )


def _day(printed: str) -> date:
    """The date in ``printed``: 2026-10-05, 05.10.2026, 5 October 2026 or 5. Oktober 2026.

    Raises:
        ValueError: it is none of these.
    """
    for form in ("%Y-%m-%d", "%d.%m.%Y"):
        try:
            return datetime.strptime(printed, form).date()  # noqa: DTZ007  an invoice's date has no time zone
        except ValueError:
            continue
    match = re.fullmatch(r"(\d{1,2})\.? ([^\W\d]+) (\d{4})", printed)
    if match and match.group(2).lower() in _MONTHS:
        return date(int(match.group(3)), _MONTHS[match.group(2).lower()], int(match.group(1)))
    raise ValueError(f"found {printed[:40]!r}, expected a date such as 2026-10-05 or 05.10.2026")
