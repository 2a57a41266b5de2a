"""Reads UBL 2.1 ``Invoice`` and ``CreditNote``, the syntax of Peppol and of XRechnung's other half."""

from __future__ import annotations

from decimal import Decimal

from examples.invoice.files.documents import Element
from examples.invoice.invoice_data import ZERO, AllowanceOrCharge, InvoiceData, InvoiceLine, Party, VatAmount

INVOICE_ROOT = "{urn:oasis:names:specification:ubl:schema:xsd:Invoice-2}Invoice"
CREDIT_NOTE_ROOT = "{urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2}CreditNote"
NAMESPACES = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}


def read_ubl(root: Element) -> InvoiceData:
    """The invoice or credit note in the UBL document ``root``.

    Raises:
        UnreadableFile: a business term that EN 16931 requires is missing or malformed.
    """
    document = root.using(NAMESPACES)
    is_credit_note = root.tag == CREDIT_NOTE_ROOT
    currency = document.required_text("cbc:DocumentCurrencyCode", "invoice currency (BT-5)")
    totals = document.one("cac:LegalMonetaryTotal", "document totals (BG-22)")
    tax_total = _tax_total(document, currency)
    buyer = document.first("cac:AccountingCustomerParty/cac:Party")
    return InvoiceData(
        number=document.required_text("cbc:ID", "invoice number (BT-1)"),
        type_code=document.required_text(
            "cbc:CreditNoteTypeCode" if is_credit_note else "cbc:InvoiceTypeCode", "type code (BT-3)"
        ),
        issue_date=document.required_day("cbc:IssueDate", "issue date (BT-2)"),
        due_date=document.day("cac:PaymentMeans/cbc:PaymentDueDate" if is_credit_note else "cbc:DueDate"),
        currency=currency,
        seller=_party(document.one("cac:AccountingSupplierParty/cac:Party", "seller (BG-4)")),
        buyer=None if buyer is None else _party(buyer),
        payee=document.text("cac:PayeeParty/cac:PartyName/cbc:Name"),
        payee_iban=document.text("cac:PaymentMeans/cac:PayeeFinancialAccount/cbc:ID"),
        payment_means=document.text("cac:PaymentMeans/cbc:PaymentMeansCode"),
        lines=tuple(
            _line(line, is_credit_note=is_credit_note)
            for line in document.all("cac:CreditNoteLine" if is_credit_note else "cac:InvoiceLine")
        ),
        allowances_and_charges=tuple(_allowance_or_charge(entry) for entry in document.all("cac:AllowanceCharge")),
        vat_breakdown=() if tax_total is None else tuple(_vat(entry) for entry in tax_total.all("cac:TaxSubtotal")),
        line_total=totals.required_amount("cbc:LineExtensionAmount", "sum of lines (BT-106)"),
        allowance_total=totals.amount("cbc:AllowanceTotalAmount") or ZERO,
        charge_total=totals.amount("cbc:ChargeTotalAmount") or ZERO,
        net=totals.required_amount("cbc:TaxExclusiveAmount", "total without VAT (BT-109)"),
        vat=(None if tax_total is None else tax_total.amount("cbc:TaxAmount")) or ZERO,
        gross=totals.required_amount("cbc:TaxInclusiveAmount", "total with VAT (BT-112)"),
        prepaid=totals.amount("cbc:PrepaidAmount") or ZERO,
        rounding=totals.amount("cbc:PayableRoundingAmount") or ZERO,
        amount_due=totals.required_amount("cbc:PayableAmount", "amount due (BT-115)"),
    )


def _tax_total(document: Element, currency: str) -> Element | None:
    """The ``TaxTotal`` in the invoice's currency; another one, in that of the tax office, is BT-111 and not meant."""
    stated = document.all("cac:TaxTotal")
    own = [total for total in stated if total.one("cbc:TaxAmount", "VAT total").attribute("currencyID") == currency]
    return own[0] if own else None


def _party(party: Element) -> Party:
    # The registered name is BT-27/BT-44; the other one is the name the party trades under.
    name = party.text("cac:PartyLegalEntity/cbc:RegistrationName")
    return Party(
        name=name or party.required_text("cac:PartyName/cbc:Name", "name of seller or buyer (BT-27, BT-44)"),
        vat_id=party.text("cac:PartyTaxScheme[cac:TaxScheme/cbc:ID='VAT']/cbc:CompanyID"),
        country=party.text("cac:PostalAddress/cac:Country/cbc:IdentificationCode"),
    )


def _line(line: Element, *, is_credit_note: bool) -> InvoiceLine:
    quantity = line.one(
        "cbc:CreditedQuantity" if is_credit_note else "cbc:InvoicedQuantity", "invoiced quantity (BT-129)"
    )
    surcharges = [_allowance_or_charge(entry) for entry in line.all("cac:AllowanceCharge")]
    return InvoiceLine(
        description=line.text("cac:Item/cbc:Name"),
        quantity=quantity.required_amount(".", "invoiced quantity (BT-129)"),
        unit=quantity.attribute("unitCode"),
        unit_price=line.amount("cac:Price/cbc:PriceAmount"),
        base_quantity=line.amount("cac:Price/cbc:BaseQuantity") or Decimal(1),
        allowances=sum((entry.amount for entry in surcharges if not entry.is_charge), ZERO),
        charges=sum((entry.amount for entry in surcharges if entry.is_charge), ZERO),
        vat_category=line.text("cac:Item/cac:ClassifiedTaxCategory/cbc:ID"),
        vat_rate=line.amount("cac:Item/cac:ClassifiedTaxCategory/cbc:Percent"),
        net=line.required_amount("cbc:LineExtensionAmount", "line net amount (BT-131)"),
    )


def _allowance_or_charge(entry: Element) -> AllowanceOrCharge:
    return AllowanceOrCharge(
        is_charge=entry.text("cbc:ChargeIndicator") in {"true", "1"},
        amount=entry.required_amount("cbc:Amount", "amount of an allowance or charge (BT-92, BT-99)"),
        reason=entry.text("cbc:AllowanceChargeReason"),
        vat_category=entry.text("cac:TaxCategory/cbc:ID"),
        vat_rate=entry.amount("cac:TaxCategory/cbc:Percent"),
    )


def _vat(entry: Element) -> VatAmount:
    return VatAmount(
        category=entry.required_text("cac:TaxCategory/cbc:ID", "VAT category (BT-118)"),
        rate=entry.amount("cac:TaxCategory/cbc:Percent") or ZERO,
        basis=entry.required_amount("cbc:TaxableAmount", "VAT basis (BT-116)"),
        amount=entry.required_amount("cbc:TaxAmount", "VAT amount (BT-117)"),
    )
