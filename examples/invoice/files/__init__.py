"""Reads what a seller sends: Factur-X PDFs, CII and UBL XML exactly and without a model; other PDFs to their text."""

from __future__ import annotations

from examples.invoice.files.pages import compare_with_page
from examples.invoice.files.pdf import PdfContent, read_pdf
from examples.invoice.files.reading import Reading, Source, read_einvoice, read_file
from examples.invoice.files.unreadable import Fault, UnreadableFile

__all__ = [
    "Fault",
    "PdfContent",
    "Reading",
    "Source",
    "UnreadableFile",
    "compare_with_page",
    "read_einvoice",
    "read_file",
    "read_pdf",
]
