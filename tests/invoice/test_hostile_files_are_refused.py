from __future__ import annotations

from io import BytesIO

import pypdf
import pytest

from examples.invoice.files import Fault, Source, UnreadableFile, documents, pdf, read_einvoice, read_file, reading
from examples.invoice.make_samples import FREIGHT, MAKERS, PAPER, SAMPLES
from examples.invoice.renderers import PageStyle, write_cii, write_pdf, write_ubl

XXE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]><x>&secret;</x>'


def with_attachment(xml: bytes) -> bytes:
    writer = pypdf.PdfWriter(clone_from=BytesIO(write_pdf(PAPER, PageStyle())))
    writer.add_attachment("factur-x.xml", xml)
    stream = BytesIO()
    writer.write(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    "xml",
    [
        XXE,
        XXE.decode().encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><a>&b;</a>',
        b'<!DOCTYPE x PUBLIC "-//x//EN" "http://192.0.2.1/x.dtd"><x/>',
    ],
    ids=["external entity", "external entity in UTF-16", "entity expansion", "external DTD"],
)
def test_xml_with_a_document_type_is_refused(xml: bytes) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read_einvoice(xml)

    assert caught.value.fault is Fault.UNSAFE_XML


def test_a_document_type_inside_a_pdf_is_refused_before_any_other_parser_sees_it() -> None:
    assert read_file(with_attachment(XXE)).fault is Fault.UNSAFE_XML


def test_xml_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_XML_BYTES", 1000)

    assert read_file(write_cii(FREIGHT)).fault is Fault.TOO_LARGE
    assert read_file(with_attachment(write_cii(FREIGHT))).fault is Fault.TOO_LARGE


def test_a_file_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 100)

    assert read_file(b" " * 101).fault is Fault.TOO_LARGE


def test_a_pdf_with_too_many_pages_is_refused() -> None:
    writer = pypdf.PdfWriter()
    for _ in range(pdf.MAX_PAGES + 1):
        writer.add_blank_page(width=100, height=100)
    stream = BytesIO()
    writer.write(stream)

    assert read_file(stream.getvalue()).fault is Fault.TOO_LARGE


def test_a_page_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_TEXT_SECONDS", -1.0)

    assert read_file(write_pdf(PAPER, PageStyle())).fault is Fault.TOO_SLOW


def test_a_pdf_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_STREAM_BYTES", 300)

    assert read_file(write_pdf(PAPER, PageStyle())).fault is Fault.TOO_LARGE


@pytest.mark.parametrize("length", range(0, 1600, 37))
def test_a_pdf_cut_anywhere_gives_a_reason_and_no_other_error(length: int) -> None:
    reading = read_file(write_pdf(PAPER, PageStyle())[:length])

    assert reading.invoice is None
    assert reading.message or reading.source is Source.PAGE


def test_broken_and_encrypted_pdfs_say_so() -> None:
    broken = read_file((SAMPLES / "14-broken.pdf").read_bytes())
    encrypted = read_file((SAMPLES / "15-encrypted.pdf").read_bytes())

    assert (broken.source, broken.fault) == (Source.NONE, Fault.BROKEN_PDF)
    assert (encrypted.source, encrypted.fault) == (Source.NONE, Fault.ENCRYPTED_PDF)
    assert "password" in encrypted.message


def test_a_pdf_locked_only_against_printing_is_read() -> None:
    writer = pypdf.PdfWriter(clone_from=BytesIO(write_pdf(PAPER, PageStyle())))
    writer.encrypt(user_password="", owner_password="owner", algorithm="RC4-128")
    stream = BytesIO()
    writer.write(stream)

    assert read_file(stream.getvalue()).source is Source.PAGE


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.UNKNOWN_FORMAT),
        (b"PK\x03\x04", Fault.UNKNOWN_FORMAT),
        (b"<html><body>Invoice</body></html>", Fault.UNKNOWN_FORMAT),
        (b"<Invoice", Fault.BROKEN_XML),
        (b'<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"/>', Fault.MISSING_FIELD),
        (write_ubl(FREIGHT).replace(b">464.70<", b">464,70<"), Fault.MISSING_FIELD),
        (write_ubl(FREIGHT).replace(b">464.70<", b">NaN<"), Fault.MISSING_FIELD),
        (write_cii(FREIGHT).replace(b"20261007", b"20261307"), Fault.MISSING_FIELD),
        (write_cii(FREIGHT).replace(b">EUR<", b">Euros<"), Fault.MISSING_FIELD),
    ],
    ids=["empty", "zip", "html", "cut", "bare", "comma", "not a number", "no such day", "no currency code"],
)
def test_what_is_no_einvoice_says_what_is_wrong(data: bytes, fault: Fault) -> None:
    reading = read_file(data)

    assert (reading.invoice, reading.source, reading.fault) == (None, Source.NONE, fault)
    assert reading.message


def test_a_pdf_with_a_broken_attachment_is_read_from_its_page() -> None:
    assert read_file(with_attachment(b"<Invoice")).source is Source.PAGE


def test_a_pdf_with_another_kind_of_xml_is_read_from_its_page() -> None:
    assert read_file(with_attachment(b"<packing-list/>")).source is Source.PAGE


def test_a_pdf_whose_xml_lacks_a_required_field_goes_to_a_person() -> None:
    xml = write_cii(FREIGHT).replace(b"<ram:GrandTotalAmount>464.70</ram:GrandTotalAmount>", b"")

    found = read_file(with_attachment(xml))

    assert (found.source, found.invoice, found.fault) == (Source.FACTURX, None, None)
    assert "BT-112" in found.message


def test_every_sample_is_made_by_the_script() -> None:
    assert sorted(MAKERS) == sorted(path.name for path in SAMPLES.iterdir() if path.suffix in {".pdf", ".xml"})
