"""Writes an invoice in Cross Industry Invoice syntax, profile EN 16931 (the one inside Factur-X and ZUGFeRD)."""

from __future__ import annotations

from datetime import date
from typing import Any

from examples.invoice.files.cii import NAMESPACES
from examples.invoice.invoice_data import AllowanceOrCharge, InvoiceData, InvoiceLine, Party, VatAmount
from examples.invoice.renderers.trees import maker, money, to_bytes

_make = maker(NAMESPACES)


def write_cii(invoice: InvoiceData) -> bytes:
    """``invoice`` as CII XML that is valid against the EN 16931 schema of Factur-X."""
    return to_bytes(
        _make(
            "rsm:CrossIndustryInvoice",
            _make(
                "rsm:ExchangedDocumentContext",
                _make("ram:GuidelineSpecifiedDocumentContextParameter", _make("ram:ID", "urn:cen.eu:en16931:2017")),
            ),
            _make(
                "rsm:ExchangedDocument",
                _make("ram:ID", invoice.number),
                _make("ram:TypeCode", invoice.type_code),
                _make("ram:IssueDateTime", _day(invoice.issue_date)),
            ),
            _make(
                "rsm:SupplyChainTradeTransaction",
                *(_line(line, position) for position, line in enumerate(invoice.lines, start=1)),
                _make(
                    "ram:ApplicableHeaderTradeAgreement",
                    _party("ram:SellerTradeParty", invoice.seller),
                    _party("ram:BuyerTradeParty", invoice.buyer) if invoice.buyer else None,
                ),
                _make("ram:ApplicableHeaderTradeDelivery"),
                _settlement(invoice),
            ),
        )
    )


def _settlement(invoice: InvoiceData) -> Any:
    return _make(
        "ram:ApplicableHeaderTradeSettlement",
        _make("ram:InvoiceCurrencyCode", invoice.currency),
        _make(
            "ram:SpecifiedTradeSettlementPaymentMeans",
            _make("ram:TypeCode", invoice.payment_means or "58"),
            _make("ram:PayeePartyCreditorFinancialAccount", _make("ram:IBANID", invoice.payee_iban)),
        )
        if invoice.payee_iban
        else None,
        *(_vat(vat) for vat in invoice.vat_breakdown),
        *(_allowance_or_charge(entry) for entry in invoice.allowances_and_charges),
        _make("ram:SpecifiedTradePaymentTerms", _make("ram:DueDateDateTime", _day(invoice.due_date)))
        if invoice.due_date
        else None,
        _make(
            "ram:SpecifiedTradeSettlementHeaderMonetarySummation",
            _make("ram:LineTotalAmount", money(invoice.line_total or invoice.net)),
            _make("ram:ChargeTotalAmount", money(invoice.charge_total)),
            _make("ram:AllowanceTotalAmount", money(invoice.allowance_total)),
            _make("ram:TaxBasisTotalAmount", money(invoice.net)),
            _make("ram:TaxTotalAmount", money(invoice.vat), currencyID=invoice.currency),
            _make("ram:GrandTotalAmount", money(invoice.gross)),
            _make("ram:TotalPrepaidAmount", money(invoice.prepaid)),
            _make("ram:DuePayableAmount", money(invoice.amount_due)),
        ),
    )


def _party(tag: str, party: Party) -> Any:
    return _make(
        tag,
        _make("ram:Name", party.name),
        _make("ram:PostalTradeAddress", _make("ram:CountryID", party.country)) if party.country else None,
        _make("ram:SpecifiedTaxRegistration", _make("ram:ID", party.vat_id, schemeID="VA")) if party.vat_id else None,
    )


def _line(line: InvoiceLine, position: int) -> Any:
    return _make(
        "ram:IncludedSupplyChainTradeLineItem",
        _make("ram:AssociatedDocumentLineDocument", _make("ram:LineID", str(position))),
        _make("ram:SpecifiedTradeProduct", _make("ram:Name", line.description)),
        _make(
            "ram:SpecifiedLineTradeAgreement",
            _make("ram:NetPriceProductTradePrice", _make("ram:ChargeAmount", f"{line.unit_price:f}")),
        ),
        _make(
            "ram:SpecifiedLineTradeDelivery",
            _make("ram:BilledQuantity", f"{line.quantity:f}", unitCode="C62"),
        ),
        _make(
            "ram:SpecifiedLineTradeSettlement",
            _make(
                "ram:ApplicableTradeTax",
                _make("ram:TypeCode", "VAT"),
                _make("ram:CategoryCode", line.vat_category),
                _make("ram:RateApplicablePercent", f"{line.vat_rate:f}"),
            ),
            _make("ram:SpecifiedTradeSettlementLineMonetarySummation", _make("ram:LineTotalAmount", money(line.net))),
        ),
    )


def _allowance_or_charge(entry: AllowanceOrCharge) -> Any:
    return _make(
        "ram:SpecifiedTradeAllowanceCharge",
        _make("ram:ChargeIndicator", _make("udt:Indicator", "true" if entry.is_charge else "false")),
        _make("ram:ActualAmount", money(entry.amount)),
        _make("ram:Reason", entry.reason),
        _make(
            "ram:CategoryTradeTax",
            _make("ram:TypeCode", "VAT"),
            _make("ram:CategoryCode", entry.vat_category),
            _make("ram:RateApplicablePercent", f"{entry.vat_rate:f}"),
        ),
    )


def _vat(vat: VatAmount) -> Any:
    return _make(
        "ram:ApplicableTradeTax",
        _make("ram:CalculatedAmount", money(vat.amount)),
        _make("ram:TypeCode", "VAT"),
        _make("ram:BasisAmount", money(vat.basis)),
        _make("ram:CategoryCode", vat.category),
        _make("ram:RateApplicablePercent", f"{vat.rate:f}"),
    )


def _day(day: date) -> Any:
    return _make("udt:DateTimeString", f"{day:%Y%m%d}", format="102")
