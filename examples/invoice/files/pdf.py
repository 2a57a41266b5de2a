"""What a PDF carries: the text of its pages and the e-invoice attached to it. Read with limits: from strangers."""

from __future__ import annotations

import logging
import struct
import time
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pypdf
from facturx import get_xml_from_pdf
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from examples.invoice.files.documents import parse_xml
from examples.invoice.files.unreadable import Fault, UnreadableFile

MAX_PAGES = 50
MAX_STREAM_BYTES = 20_000_000
MAX_TEXT_SECONDS = 20.0

# Both quote what they read; what matters of it is in our own error.
for _name in ("factur-x", "pypdf"):
    logging.getLogger(_name).setLevel(logging.ERROR)

# What pypdf raises on files that are not what they claim to be; it promises only the first.
_BROKEN = (
    PyPdfError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfContent:
    """``text`` of all pages, and the XML of the e-invoice attached to the PDF, if there is one."""

    text: str
    xml: bytes | None

    @property
    def has_text(self) -> bool:
        """False for a scan: pages that are pictures."""
        return bool(self.text.strip())


def read_pdf(data: bytes) -> PdfContent:
    """Text and e-invoice of the PDF ``data``. Blocks for up to 20 s; call it in a thread.

    Raises:
        UnreadableFile: broken, needs a password, more than 50 pages, too slow or too large to unpack, or its XML
            attachment is larger than 5 MB or declares a DTD.
    """
    limits = pypdf.Configuration(
        maximum_declared_stream_length=MAX_STREAM_BYTES,
        zlib_maximum_output_length=MAX_STREAM_BYTES,
        lzw_maximum_output_length=MAX_STREAM_BYTES,
        run_length_maximum_output_length=MAX_STREAM_BYTES,
        array_based_stream_maximum_output_length=MAX_STREAM_BYTES,
    )
    try:
        with pypdf.apply_configuration(limits):
            reader = pypdf.PdfReader(BytesIO(data))
            _refuse_locked(reader)
            _refuse_long(reader)
            return PdfContent(text=_text(reader), xml=_xml(reader, data))
    except DependencyError as error:  # an encryption that needs a library which is not installed
        raise _locked() from error
    except LimitReachedError as error:
        raise UnreadableFile(Fault.TOO_LARGE, f"the PDF is too large when unpacked: {error}") from error
    except _BROKEN as error:
        raise UnreadableFile(
            Fault.BROKEN_PDF, f"the PDF is broken ({type(error).__name__}: {error}); ask the seller to send it again"
        ) from error


def _refuse_locked(reader: pypdf.PdfReader) -> None:
    # Many PDFs are encrypted with an empty password, only to forbid printing; those open like any other.
    if reader.is_encrypted and not reader.decrypt(""):
        raise _locked()


def _locked() -> UnreadableFile:
    return UnreadableFile(
        Fault.ENCRYPTED_PDF, "the PDF is encrypted and needs a password; ask the seller for one that opens without"
    )


def _refuse_long(reader: pypdf.PdfReader) -> None:
    pages = len(reader.pages)
    if pages == 0:
        raise UnreadableFile(Fault.BROKEN_PDF, "the PDF has no page; ask the seller to send it again")
    if pages > MAX_PAGES:
        raise UnreadableFile(Fault.TOO_LARGE, f"the PDF has {pages} pages, the limit for an invoice is {MAX_PAGES}")


def _text(reader: pypdf.PdfReader) -> str:
    deadline = time.monotonic() + MAX_TEXT_SECONDS

    def stop_when_late(*_: Any) -> None:
        if time.monotonic() > deadline:
            raise UnreadableFile(Fault.TOO_SLOW, f"the text of the PDF could not be read within {MAX_TEXT_SECONDS:g} s")

    return "\n".join(page.extract_text(visitor_operand_before=stop_when_late) for page in reader.pages)


def _xml(reader: pypdf.PdfReader, data: bytes) -> bytes | None:
    for attachment in reader.attachment_list:
        if attachment.name.lower().endswith(".xml"):
            _refuse_unsafe(attachment.content)
    # The schema is not checked: sellers break it in ways that do not matter, and what matters is checked when read.
    name, xml = get_xml_from_pdf(data, check_xsd=False)
    return xml if name else None


def _refuse_unsafe(xml: bytes) -> None:
    """factur-x parses attachments with a parser of its own, so what ours refuses must not get that far."""
    try:
        parse_xml(xml)
    except UnreadableFile as error:
        if error.fault is not Fault.BROKEN_XML:  # factur-x passes over a broken one; the page can still be read
            raise
