"""Reads an uploaded file as far as that goes without a model: e-invoices exactly, PDFs to their text."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from examples.invoice.files.cii import ROOT as CII_ROOT
from examples.invoice.files.cii import read_cii
from examples.invoice.files.documents import Element, parse_xml
from examples.invoice.files.pages import compare_with_page
from examples.invoice.files.pdf import PdfContent, read_pdf
from examples.invoice.files.ubl import CREDIT_NOTE_ROOT, INVOICE_ROOT, read_ubl
from examples.invoice.files.unreadable import Fault, UnreadableFile
from examples.invoice.findings import Finding, Severity
from examples.invoice.invoice_data import InvoiceData

MAX_FILE_BYTES = 20_000_000

_SYNTAXES: dict[str, Callable[[Element], InvoiceData]] = {
    CII_ROOT: read_cii,
    INVOICE_ROOT: read_ubl,
    CREDIT_NOTE_ROOT: read_ubl,
}


class Source(StrEnum):
    """Where the data of an invoice comes from."""

    CII = "cii"
    UBL = "ubl"
    FACTURX = "factur-x"
    PAGE = "page"
    SCAN = "scan"
    NONE = "none"


class Reading(BaseModel):
    """What reading a file gave.

    ``invoice`` is there for an e-invoice. Without it, ``source`` says what is left to do: ``page`` has text for the
    extraction agent, ``scan`` has none, ``factur-x`` carries incomplete XML, and ``none`` cannot be read at all, for
    the reason in ``fault`` and ``message``.
    """

    model_config = ConfigDict(frozen=True)

    source: Source
    invoice: InvoiceData | None = None
    findings: tuple[Finding, ...] = ()
    fault: Fault | None = None
    message: str = ""


def read_file(data: bytes) -> Reading:
    """Reads ``data`` by what it is, whatever it is called. Blocks while a PDF is read; call it in a thread."""
    try:
        return _read(data)
    except UnreadableFile as error:
        return Reading(source=Source.NONE, fault=error.fault, message=str(error))


def read_einvoice(data: bytes) -> InvoiceData:
    """The invoice in the CII or UBL document ``data``.

    Raises:
        UnreadableFile: not XML, not safe, not one of the two syntaxes, or without a required term.
    """
    root = parse_xml(data)
    reader = _SYNTAXES.get(root.tag)
    if reader is None:
        raise UnreadableFile(
            Fault.UNKNOWN_FORMAT, f"found an XML document {root.tag!r}, expected an invoice in CII or UBL syntax"
        )
    try:
        return reader(root)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UnreadableFile(Fault.MISSING_FIELD, f"the e-invoice's {place} does not fit: {first['msg']}") from error


def _read(data: bytes) -> Reading:
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableFile(Fault.TOO_LARGE, f"the file is {len(data)} bytes large, the limit is {MAX_FILE_BYTES}")
    if b"%PDF-" in data[:1024]:
        return _read_pdf(read_pdf(data))
    if data.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"<"):
        invoice = read_einvoice(data)
        is_cii = parse_xml(data).tag == CII_ROOT
        return Reading(source=Source.CII if is_cii else Source.UBL, invoice=invoice)
    raise UnreadableFile(Fault.UNKNOWN_FORMAT, "the file is neither a PDF nor XML; ask the seller for one of these")


def _read_pdf(content: PdfContent) -> Reading:
    try:
        invoice = None if content.xml is None else _attached(content.xml)
    except UnreadableFile as error:
        if error.fault is not Fault.MISSING_FIELD:
            raise
        # Such as a profile without lines. The page may say more, but which of the two is right, a person decides.
        return Reading(source=Source.FACTURX, message=f"the XML in the PDF is incomplete: {error}")
    if invoice is None:
        return _read_page(content)
    if not content.has_text:
        finding = Finding(
            rule="PAGE-TEXT", severity=Severity.ERROR, expected="a page with text to compare", found="a scan"
        )
        return Reading(source=Source.FACTURX, invoice=invoice, findings=(finding,))
    return Reading(source=Source.FACTURX, invoice=invoice, findings=compare_with_page(invoice, content.text))


def _read_page(content: PdfContent) -> Reading:
    if content.has_text:
        return Reading(source=Source.PAGE)
    return Reading(source=Source.SCAN, message="the pages are pictures without text, so nothing could be read")


def _attached(xml: bytes) -> InvoiceData | None:
    """The attached invoice, or None when the attachment is in a syntax we do not read, such as ZUGFeRD 1."""
    try:
        return read_einvoice(xml)
    except UnreadableFile as error:
        if error.fault is Fault.UNKNOWN_FORMAT:
            return None
        raise
