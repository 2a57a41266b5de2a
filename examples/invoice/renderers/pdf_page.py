"""Prints an invoice on a PDF page with labels in English or German, or as a scan: the same page as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from io import BytesIO

from fpdf import FPDF
from PIL import Image, ImageDraw, ImageFont

from examples.invoice.arithmetic import to_cent
from examples.invoice.invoice_data import InvoiceData


class Language(StrEnum):
    """Language of labels, numbers and dates on the page."""

    ENGLISH = "en"
    GERMAN = "de"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageStyle:
    """How a page is made: ``note`` is printed below the totals, ``password`` locks it, a scan is a picture."""

    language: Language = Language.ENGLISH
    note: str = ""
    password: str = ""
    is_scan: bool = False


_WORDS = {
    Language.ENGLISH: {
        "title": "INVOICE", "seller": "Seller", "vat_id": "VAT ID", "buyer": "Bill to", "number": "Invoice number",
        "issue_date": "Invoice date", "due_date": "Due date", "currency": "Currency",
        "items": ("Pos", "Description", "Quantity", "Unit", "Unit price", "Amount"),
        "line_total": "Subtotal", "discount": "Discount", "shipping": "Shipping", "net": "Total without VAT",
        "vat_line": "VAT {rate} % on {basis}", "vat": "Total VAT", "gross": "Total with VAT", "prepaid": "Already paid",
        "amount_due": "Amount due",
    },
    Language.GERMAN: {
        "title": "RECHNUNG", "seller": "Verkäufer", "vat_id": "USt-IdNr.", "buyer": "Rechnungsempfänger",
        "number": "Rechnungsnummer", "issue_date": "Rechnungsdatum", "due_date": "Fällig am", "currency": "Währung",
        "items": ("Pos", "Bezeichnung", "Menge", "Einheit", "Einzelpreis", "Betrag"),
        "line_total": "Zwischensumme", "discount": "Rabatt", "shipping": "Versandkosten", "net": "Nettobetrag",
        "vat_line": "USt {rate} % auf {basis}", "vat": "Umsatzsteuer gesamt", "gross": "Gesamtbetrag",
        "prepaid": "Bereits bezahlt", "amount_due": "Zahlbetrag",
    },
}  # fmt: skip
_COLUMNS = (12, 78, 22, 20, 28, 28)


def write_pdf(invoice: InvoiceData, style: PageStyle) -> bytes:
    """``invoice`` as a PDF of one page. The same input gives the same bytes."""
    pdf = FPDF()
    pdf.set_creation_date(datetime.combine(invoice.issue_date, datetime.min.time(), tzinfo=UTC))
    pdf.set_title(invoice.number)
    pdf.set_author(invoice.seller.name)
    pdf.set_lang(style.language.value)
    if style.password:
        pdf.set_encryption(owner_password=style.password, user_password=style.password)
    pdf.add_page()
    if style.is_scan:
        pdf.image(_picture(_page_lines(invoice, style)), x=0, y=0, w=pdf.w)
    else:
        _print(pdf, invoice, style)
    return bytes(pdf.output())


def _print(pdf: FPDF, invoice: InvoiceData, style: PageStyle) -> None:
    words = _WORDS[style.language]
    pdf.set_font("Helvetica", style="B", size=16)
    pdf.cell(text=f"{words['title']}   {invoice.seller.name}", new_x="LMARGIN", new_y="NEXT", h=12)
    pdf.set_font("Helvetica", size=10)
    for line in _head(invoice, style.language):
        pdf.cell(text=line, new_x="LMARGIN", new_y="NEXT", h=6)
    pdf.ln(4)
    for row in _rows(invoice, style.language):
        for width, text in zip(_COLUMNS, row, strict=True):
            pdf.cell(w=width, h=6, text=text)
        pdf.ln(6)
    pdf.ln(4)
    for line in _totals(invoice, style.language):
        pdf.cell(text=line, new_x="LMARGIN", new_y="NEXT", h=6)
    if style.note:
        pdf.ln(4)
        pdf.multi_cell(w=180, h=5, text=style.note)


def _page_lines(invoice: InvoiceData, style: PageStyle) -> list[str]:
    rows = ["   ".join(row) for row in _rows(invoice, style.language)]
    return [*_head(invoice, style.language), "", *rows, "", *_totals(invoice, style.language)]


def _head(invoice: InvoiceData, language: Language) -> Iterator[str]:
    words = _WORDS[language]
    yield f"{words['seller']}: {invoice.seller.name}"
    if invoice.seller.vat_id:
        yield f"{words['vat_id']}: {invoice.seller.vat_id}"
    if invoice.buyer:
        yield f"{words['buyer']}: {invoice.buyer.name}"
    yield f"{words['number']}: {invoice.number}"
    yield f"{words['issue_date']}: {_day(invoice.issue_date, language)}"
    if invoice.due_date:
        yield f"{words['due_date']}: {_day(invoice.due_date, language)}"
    yield f"{words['currency']}: {invoice.currency}"


def _rows(invoice: InvoiceData, language: Language) -> Iterator[tuple[str, ...]]:
    items = _WORDS[language]["items"]
    assert isinstance(items, tuple)
    yield items
    for position, line in enumerate(invoice.lines, start=1):
        quantity = f"{line.quantity:f}".replace(".", "," if language is Language.GERMAN else ".")
        price = _money(line.unit_price or Decimal(0), language)
        yield (str(position), line.description, quantity, line.unit, price, _money(line.net, language))


def _totals(invoice: InvoiceData, language: Language) -> Iterator[str]:
    words = _WORDS[language]
    yield f"{words['line_total']}: {_money(invoice.line_total or invoice.net, language)}"
    if invoice.allowance_total:
        yield f"{words['discount']}: -{_money(invoice.allowance_total, language)}"
    if invoice.charge_total:
        yield f"{words['shipping']}: {_money(invoice.charge_total, language)}"
    yield f"{words['net']}: {_money(invoice.net, language)}"
    for vat in invoice.vat_breakdown:
        label = str(words["vat_line"]).format(rate=f"{vat.rate:f}", basis=_money(vat.basis, language))
        yield f"{label}: {_money(vat.amount, language)}"
    yield f"{words['vat']}: {_money(invoice.vat, language)}"
    yield f"{words['gross']}: {_money(invoice.gross, language)}"
    if invoice.prepaid:
        yield f"{words['prepaid']}: -{_money(invoice.prepaid, language)}"
    yield f"{words['amount_due']}: {_money(invoice.amount_due, language)} {invoice.currency}"
    if invoice.payee_iban:
        yield f"IBAN: {invoice.payee_iban}"


def _money(amount: Decimal, language: Language) -> str:
    english = f"{to_cent(amount):,.2f}"
    return english.translate(str.maketrans(",.", ".,")) if language is Language.GERMAN else english


def _day(day: date, language: Language) -> str:
    return f"{day:%d.%m.%Y}" if language is Language.GERMAN else day.isoformat()


def _picture(lines: list[str]) -> BytesIO:
    """The page as a grey picture, as a scanner makes it: nothing in it can be searched or copied."""
    image = Image.new("L", (1240, 1754), color=250)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=28)
    for number, line in enumerate(lines):
        draw.text((110, 120 + number * 48), line, fill=40, font=font)
    stream = BytesIO()
    image.save(stream, format="PNG", optimize=True)
    stream.seek(0)
    return stream
