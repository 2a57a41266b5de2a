"""Reads UN/CEFACT Cross Industry Invoice (D16B), the syntax inside Factur-X, ZUGFeRD 2 and XRechnung PDFs."""

from __future__ import annotations

from decimal import Decimal

from examples.invoice.files.documents import Element
from examples.invoice.invoice_data import ZERO, AllowanceOrCharge, InvoiceData, InvoiceLine, Party, VatAmount

ROOT = "{urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100}CrossIndustryInvoice"
NAMESPACES = {
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}


def read_cii(root: Element) -> InvoiceData:
    """The invoice in the CII document ``root``.

    Raises:
        UnreadableFile: a business term that EN 16931 requires is missing or malformed.
    """
    document = root.using(NAMESPACES)
    header = document.one("rsm:ExchangedDocument", "document header")
    trade = document.one("rsm:SupplyChainTradeTransaction", "trade transaction")
    agreement = trade.one("ram:ApplicableHeaderTradeAgreement", "trade agreement")
    settlement = trade.one("ram:ApplicableHeaderTradeSettlement", "trade settlement")
    totals = settlement.one("ram:SpecifiedTradeSettlementHeaderMonetarySummation", "document totals")
    currency = settlement.required_text("ram:InvoiceCurrencyCode", "invoice currency (BT-5)")
    buyer = agreement.first("ram:BuyerTradeParty")
    means = settlement.first("ram:SpecifiedTradeSettlementPaymentMeans")
    return InvoiceData(
        number=header.required_text("ram:ID", "invoice number (BT-1)"),
        type_code=header.required_text("ram:TypeCode", "type code (BT-3)"),
        issue_date=header.required_day("ram:IssueDateTime/udt:DateTimeString", "issue date (BT-2)"),
        due_date=settlement.day("ram:SpecifiedTradePaymentTerms/ram:DueDateDateTime/udt:DateTimeString"),
        currency=currency,
        seller=_party(agreement.one("ram:SellerTradeParty", "seller (BG-4)")),
        buyer=None if buyer is None else _party(buyer),
        payee=settlement.text("ram:PayeeTradeParty/ram:Name"),
        payee_iban=settlement.text(
            "ram:SpecifiedTradeSettlementPaymentMeans/ram:PayeePartyCreditorFinancialAccount/ram:IBANID"
        ),
        payment_means="" if means is None else means.text("ram:TypeCode"),
        lines=tuple(_line(line) for line in trade.all("ram:IncludedSupplyChainTradeLineItem")),
        allowances_and_charges=tuple(
            _allowance_or_charge(entry) for entry in settlement.all("ram:SpecifiedTradeAllowanceCharge")
        ),
        vat_breakdown=tuple(_vat(entry) for entry in settlement.all("ram:ApplicableTradeTax")),
        line_total=totals.required_amount("ram:LineTotalAmount", "sum of lines (BT-106)"),
        allowance_total=totals.amount("ram:AllowanceTotalAmount") or ZERO,
        charge_total=totals.amount("ram:ChargeTotalAmount") or ZERO,
        net=totals.required_amount("ram:TaxBasisTotalAmount", "total without VAT (BT-109)"),
        vat=_vat_total(totals, currency),
        gross=totals.required_amount("ram:GrandTotalAmount", "total with VAT (BT-112)"),
        prepaid=totals.amount("ram:TotalPrepaidAmount") or ZERO,
        rounding=totals.amount("ram:RoundingAmount") or ZERO,
        amount_due=totals.required_amount("ram:DuePayableAmount", "amount due (BT-115)"),
    )


def _party(party: Element) -> Party:
    return Party(
        name=party.required_text("ram:Name", "name of seller or buyer (BT-27, BT-44)"),
        vat_id=party.text("ram:SpecifiedTaxRegistration/ram:ID[@schemeID='VA']"),
        country=party.text("ram:PostalTradeAddress/ram:CountryID"),
    )


def _line(line: Element) -> InvoiceLine:
    price = line.first("ram:SpecifiedLineTradeAgreement/ram:NetPriceProductTradePrice")
    quantity = line.one("ram:SpecifiedLineTradeDelivery/ram:BilledQuantity", "invoiced quantity (BT-129)")
    settlement = line.one("ram:SpecifiedLineTradeSettlement", "line settlement")
    surcharges = [_allowance_or_charge(entry) for entry in settlement.all("ram:SpecifiedTradeAllowanceCharge")]
    return InvoiceLine(
        description=line.text("ram:SpecifiedTradeProduct/ram:Name"),
        quantity=quantity.required_amount(".", "invoiced quantity (BT-129)"),
        unit=quantity.attribute("unitCode"),
        unit_price=None if price is None else price.amount("ram:ChargeAmount"),
        base_quantity=(None if price is None else price.amount("ram:BasisQuantity")) or Decimal(1),
        allowances=sum((entry.amount for entry in surcharges if not entry.is_charge), ZERO),
        charges=sum((entry.amount for entry in surcharges if entry.is_charge), ZERO),
        vat_category=settlement.text("ram:ApplicableTradeTax/ram:CategoryCode"),
        vat_rate=settlement.amount("ram:ApplicableTradeTax/ram:RateApplicablePercent"),
        net=settlement.required_amount(
            "ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount", "line net amount (BT-131)"
        ),
    )


def _allowance_or_charge(entry: Element) -> AllowanceOrCharge:
    return AllowanceOrCharge(
        is_charge=entry.text("ram:ChargeIndicator/udt:Indicator") in {"true", "1"},
        amount=entry.required_amount("ram:ActualAmount", "amount of an allowance or charge (BT-92, BT-99)"),
        reason=entry.text("ram:Reason"),
        vat_category=entry.text("ram:CategoryTradeTax/ram:CategoryCode"),
        vat_rate=entry.amount("ram:CategoryTradeTax/ram:RateApplicablePercent"),
    )


def _vat(entry: Element) -> VatAmount:
    return VatAmount(
        category=entry.required_text("ram:CategoryCode", "VAT category (BT-118)"),
        rate=entry.amount("ram:RateApplicablePercent") or ZERO,
        basis=entry.required_amount("ram:BasisAmount", "VAT basis (BT-116)"),
        amount=entry.required_amount("ram:CalculatedAmount", "VAT amount (BT-117)"),
    )


def _vat_total(totals: Element, currency: str) -> Decimal:
    """BT-110. A second ``TaxTotalAmount``, in the currency of the tax office, is BT-111 and not meant."""
    stated = totals.all("ram:TaxTotalAmount")
    own = [amount for amount in stated if amount.attribute("currencyID") in {"", currency}]
    return (own[0].amount(".") if own else None) or ZERO
