"""Writes an invoice or a credit note in UBL 2.1 syntax, as Peppol BIS Billing does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from lxml import etree

from examples.invoice.files.ubl import CREDIT_NOTE_ROOT, INVOICE_ROOT, NAMESPACES
from examples.invoice.invoice_data import AllowanceOrCharge, InvoiceData, InvoiceLine, Party, VatAmount
from examples.invoice.renderers.trees import maker, money, to_bytes

_make = maker(NAMESPACES)


def write_ubl(invoice: InvoiceData) -> bytes:
    """``invoice`` as a UBL ``Invoice``, or as a ``CreditNote`` when its type code says so."""
    kind = "CreditNote" if invoice.is_credit_note else "Invoice"
    root_tag = CREDIT_NOTE_ROOT if invoice.is_credit_note else INVOICE_ROOT
    namespaces: dict[str | None, str] = dict(NAMESPACES.items())
    namespaces[None] = str(etree.QName(root_tag).namespace)
    root = etree.Element(root_tag, nsmap=namespaces)
    parts = [
        _make("cbc:CustomizationID", "urn:cen.eu:en16931:2017"),
        _make("cbc:ID", invoice.number),
        _make("cbc:IssueDate", invoice.issue_date.isoformat()),
        # In a credit note the due date stands with the payment means.
        _make("cbc:DueDate", invoice.due_date.isoformat()) if invoice.due_date and kind == "Invoice" else None,
        _make(f"cbc:{kind}TypeCode", invoice.type_code),
        _make("cbc:DocumentCurrencyCode", invoice.currency),
        _make("cac:AccountingSupplierParty", _party(invoice.seller)),
        _make("cac:AccountingCustomerParty", _party(invoice.buyer)) if invoice.buyer else None,
        _make(
            "cac:PaymentMeans",
            _make("cbc:PaymentMeansCode", invoice.payment_means or "58"),
            _make("cac:PayeeFinancialAccount", _make("cbc:ID", invoice.payee_iban)),
        )
        if invoice.payee_iban
        else None,
        *(_allowance_or_charge(entry, invoice.currency) for entry in invoice.allowances_and_charges),
        _make(
            "cac:TaxTotal",
            _amount("cbc:TaxAmount", invoice.vat, invoice.currency),
            *(_vat(vat, invoice.currency) for vat in invoice.vat_breakdown),
        ),
        _totals(invoice),
        *(_line(line, position, kind, invoice.currency) for position, line in enumerate(invoice.lines, start=1)),
    ]
    for part in parts:
        if part is not None:
            root.append(part)
    return to_bytes(root)


def _totals(invoice: InvoiceData) -> Any:
    amounts = {
        "cbc:LineExtensionAmount": invoice.line_total or invoice.net,
        "cbc:TaxExclusiveAmount": invoice.net,
        "cbc:TaxInclusiveAmount": invoice.gross,
        "cbc:AllowanceTotalAmount": invoice.allowance_total,
        "cbc:ChargeTotalAmount": invoice.charge_total,
        "cbc:PrepaidAmount": invoice.prepaid,
        "cbc:PayableAmount": invoice.amount_due,
    }
    return _make("cac:LegalMonetaryTotal", *(_amount(tag, value, invoice.currency) for tag, value in amounts.items()))


def _party(party: Party) -> Any:
    return _make(
        "cac:Party",
        _make("cac:PostalAddress", _make("cac:Country", _make("cbc:IdentificationCode", party.country)))
        if party.country
        else None,
        _make("cac:PartyTaxScheme", _make("cbc:CompanyID", party.vat_id), _tax_scheme()) if party.vat_id else None,
        _make("cac:PartyLegalEntity", _make("cbc:RegistrationName", party.name)),
    )


def _line(line: InvoiceLine, position: int, kind: str, currency: str) -> Any:
    quantity = "cbc:CreditedQuantity" if kind == "CreditNote" else "cbc:InvoicedQuantity"
    return _make(
        f"cac:{kind}Line",
        _make("cbc:ID", str(position)),
        _make(quantity, f"{line.quantity:f}", unitCode="C62"),
        _amount("cbc:LineExtensionAmount", line.net, currency),
        _make(
            "cac:Item",
            _make("cbc:Name", line.description),
            _category("cac:ClassifiedTaxCategory", line.vat_category, line.vat_rate),
        ),
        _make("cac:Price", _make("cbc:PriceAmount", f"{line.unit_price:f}", currencyID=currency)),
    )


def _allowance_or_charge(entry: AllowanceOrCharge, currency: str) -> Any:
    return _make(
        "cac:AllowanceCharge",
        _make("cbc:ChargeIndicator", "true" if entry.is_charge else "false"),
        _make("cbc:AllowanceChargeReason", entry.reason),
        _amount("cbc:Amount", entry.amount, currency),
        _category("cac:TaxCategory", entry.vat_category, entry.vat_rate),
    )


def _vat(vat: VatAmount, currency: str) -> Any:
    return _make(
        "cac:TaxSubtotal",
        _amount("cbc:TaxableAmount", vat.basis, currency),
        _amount("cbc:TaxAmount", vat.amount, currency),
        _category("cac:TaxCategory", vat.category, vat.rate),
    )


def _category(tag: str, category: str, rate: Decimal | None) -> Any:
    return _make(tag, _make("cbc:ID", category), _make("cbc:Percent", f"{rate or 0:f}"), _tax_scheme())


def _tax_scheme() -> Any:
    return _make("cac:TaxScheme", _make("cbc:ID", "VAT"))


def _amount(tag: str, amount: Decimal, currency: str) -> Any:
    return _make(tag, money(amount), currencyID=currency)
