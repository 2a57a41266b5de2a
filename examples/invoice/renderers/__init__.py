"""Writes an :class:`InvoiceData` as sellers send it: as a PDF page, CII XML or UBL XML. Used to make the samples."""

from __future__ import annotations

from examples.invoice.renderers.cii_writer import write_cii
from examples.invoice.renderers.pdf_page import Language, PageStyle, write_pdf
from examples.invoice.renderers.ubl_writer import write_ubl

__all__ = ["Language", "PageStyle", "write_cii", "write_pdf", "write_ubl"]
