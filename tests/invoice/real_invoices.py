"""The real e-invoices of `INVOICES_DIR`, and a second, deliberately simple reading of them to compare ours with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pypdf
import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("INVOICES_DIR") or REPOSITORY.parent / "shared" / "invoices")
FILES = sorted(path for path in FOLDER.glob("*/*") if path.suffix in {".pdf", ".xml"}) if FOLDER.is_dir() else []

# Other people's documents, so no part of the project: its own samples are tested everywhere.
needs_real_invoices = pytest.mark.skipif(
    not FILES, reason=f"no real e-invoices in {FOLDER} (set INVOICES_DIR to a folder that has them)"
)
each_real_invoice = pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in FILES])


@dataclass(frozen=True)
class Stated:
    """What an invoice's XML says, read by the names of its elements alone."""

    number: str
    issued: str
    seller: str
    currency: str
    net: Decimal
    vat: Decimal
    gross: Decimal
    amount_due: Decimal
    iban: str
    means: str

    @property
    def identity(self) -> tuple[str, str, Decimal]:
        return self.seller, self.number, self.gross


def stated(path: Path) -> Stated:
    """What the XML of the file at ``path`` says."""
    data = path.read_bytes()
    if path.suffix == ".pdf":
        data = next(iter(pypdf.PdfReader(BytesIO(data)).attachments.values()))[0]
    root = ET.fromstring(data)
    return _cii(root) if root.tag.endswith("CrossIndustryInvoice") else _ubl(root)


def _cii(root: ET.Element) -> Stated:
    totals = _first(root, "SpecifiedTradeSettlementHeaderMonetarySummation")
    creditor = _maybe(root, "PayeePartyCreditorFinancialAccount")
    return Stated(
        number=_text(_first(root, "ExchangedDocument"), "ID"),
        issued=_text(_first(root, "IssueDateTime"), "DateTimeString"),
        seller=_text(_first(root, "SellerTradeParty"), "Name"),
        currency=_text(root, "InvoiceCurrencyCode"),
        net=Decimal(_text(totals, "TaxBasisTotalAmount")),
        vat=Decimal(_text(totals, "TaxTotalAmount")),
        gross=Decimal(_text(totals, "GrandTotalAmount")),
        amount_due=Decimal(_text(totals, "DuePayableAmount")),
        iban=_text(creditor, "IBANID").replace(" ", "") if creditor is not None else "",
        means=_means(root, "SpecifiedTradeSettlementPaymentMeans", "TypeCode"),
    )


def _ubl(root: ET.Element) -> Stated:
    totals = _first(root, "LegalMonetaryTotal")
    creditor = _maybe(root, "PayeeFinancialAccount")
    return Stated(
        number=next(child.text or "" for child in root if child.tag.endswith("}ID")),
        issued=_text(root, "IssueDate").replace("-", ""),
        seller=_text(_first(root, "AccountingSupplierParty"), "RegistrationName"),
        currency=_text(root, "DocumentCurrencyCode"),
        net=Decimal(_text(totals, "TaxExclusiveAmount")),
        vat=Decimal(_text(_first(root, "TaxTotal"), "TaxAmount")),
        gross=Decimal(_text(totals, "TaxInclusiveAmount")),
        amount_due=Decimal(_text(totals, "PayableAmount")),
        iban=_text(creditor, "ID").replace(" ", "") if creditor is not None else "",
        means=_means(root, "PaymentMeans", "PaymentMeansCode"),
    )


def _means(root: ET.Element, element: str, code: str) -> str:
    means = _maybe(root, element)
    return _text(means, code) if means is not None else ""


def _all(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)


def _maybe(root: ET.Element, name: str) -> ET.Element | None:
    return next(_all(root, name), None)


def _first(root: ET.Element, name: str) -> ET.Element:
    return next(_all(root, name))


def _text(root: ET.Element, name: str) -> str:
    return " ".join((_first(root, name).text or "").split())
