"""What a file is, its content says; a name or a sender can only choose a finer word for it."""

from __future__ import annotations

import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from toolkit.files import detect
from toolkit.files.detection import DISPLAYED, HEAD_BYTES, UNKNOWN

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(17)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>", "application/pdf"),
        (b"\n\n%PDF-1.4\n", "application/pdf"),
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
        (b"GIF89a\x01\x00\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"II*\x00\x08\x00\x00\x00" + bytes(20), "image/tiff"),
        (b"\x1f\x8b\x08\x00" + bytes(10), "application/gzip"),
        (b"PK\x03\x04" + bytes(40), "application/zip"),
        (b"hello", "text/plain"),
        ("Grüße, 請求書\n".encode(), "text/plain"),
        ("Gr\u00fc\u00dfe aus M\u00fcnchen\n".encode("latin-1"), "text/plain"),
        (
            "\u201equoted\u201c text in Windows' own encoding, which is longer than its quotes".encode("cp1252"),
            "text/plain",
        ),
        ("hello".encode("utf-16"), "text/plain"),
        (b"\xef\xbb\xbfhello", "text/plain"),
        (b"1 < 2 and 3 > 2", "text/plain"),
        (b"From: ACME\nTo: Ada\nDate: today\n\nDear Ada", "text/plain"),
        (b'{"total": "12.50"}', "application/json"),
        (b"  [1, 2]\n", "application/json"),
        (b"{not json}", "text/plain"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<Invoice xmlns="urn:x"/>', "application/xml"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><!-- a --><?pi?>\n<rsm:CrossIndustryInvoice>", "application/xml"),
        ("<?xml version='1.0' encoding='utf-16'?><Invoice/>".encode("utf-16"), "application/xml"),
        (b"<Invoice>\n<style>x</style></Invoice>", "text/html"),  # without a prolog, the safe side
        (b"<Invoice><Total>1</Total></Invoice>", "application/xml"),
        (b"Received: from a\r\nFrom: a@example.com\r\nSubject: x\r\n\r\n<html>", "message/rfc822"),
        (b"", UNKNOWN),
        (bytes(range(256)), UNKNOWN),
        (bytes(100), UNKNOWN),
        (b"\x00\x01hello", UNKNOWN),
    ],
)
def test_a_content_is_recognised(head: bytes, expected: str) -> None:
    assert detect(head) == expected


MARKUP = [
    b"<html><script>alert(1)</script>",
    b"<!DOCTYPE html><p>",
    b"<!doctype\n html>",
    b"  \n\t<HTML>",
    b"\xef\xbb\xbf<html>",
    b"<!-- a comment --><script>alert(1)</script>",
    b"<script>alert(1)</script>",
    b"hello <script>alert(1)</script>",
    b"hello <img src=x onerror=alert(1)>",
    b"hello <b onmouseover = alert(1)>",
    b"<a href='javascript:alert(1)'>x</a>",
    b"<iframe src=x>",
    b"<meta http-equiv=refresh>",
    b"<p>" + b" " * 1000 + b"<ScRiPt>",
    "<html><script>alert(1)</script>".encode("utf-16"),
    "<svg onload=alert(1)>".encode("utf-16-be"),
    b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a 'b'>]><x:svg xmlns:x='http://www.w3.org/2000/svg'/>",
    b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>",
    b"<?xml version='1.0'?><?xml-stylesheet href='x.xsl'?><a/>",
    b"<html>%PDF-1.7",
    b"<script>alert(1)</script>%PDF-1.7",
    b"text <html> <!-- GIF89a",
]


@pytest.mark.parametrize("head", MARKUP)
@pytest.mark.parametrize(
    ("filename", "declared"),
    [("", None), ("a.png", "image/png"), ("a.txt", "text/plain"), ("a.pdf", "application/pdf")],
)
def test_markup_is_never_displayed_whatever_it_is_called(head: bytes, filename: str, declared: str | None) -> None:
    assert detect(head, filename=filename, declared=declared) not in DISPLAYED


@pytest.mark.parametrize(
    ("head", "filename", "declared", "expected"),
    [
        (b"a;b\n1;2\n", "lines.CSV", None, "text/csv"),
        (b"a;b\n1;2\n", "lines", "text/csv", "text/csv"),
        (b"a;b\n1;2\n", "lines", "Text/CSV ; charset=utf-8", "text/csv"),
        (b"a;b\n1;2\n", "lines.md", "text/csv", "text/csv"),
        (b"hello", "a.html", "text/html", "text/plain"),
        (PNG, "a.csv", "text/csv", "image/png"),
        (b"%PDF-1.7", "a.docx", None, "application/pdf"),
        (bytes(100), "a.pdf", "application/pdf", UNKNOWN),
    ],
)
def test_a_name_or_a_sender_only_refines(head: bytes, filename: str, declared: str | None, expected: str) -> None:
    assert detect(head, filename=filename, declared=declared) == expected


def test_an_office_document_is_a_zip_with_a_finer_name() -> None:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")

    assert detect(content.getvalue()) == "application/zip"
    assert detect(content.getvalue(), filename="a.xlsx").endswith("spreadsheetml.sheet")


def test_a_head_that_ends_within_a_character_is_text() -> None:
    content = ("x" + "é" * HEAD_BYTES).encode()[:HEAD_BYTES]
    assert content[-1:] == b"\xc3"

    assert detect(content) == "text/plain"


def test_a_long_json_is_told_by_its_beginning() -> None:
    assert detect((b'{"lines": [' + b'"x", ' * HEAD_BYTES)[:HEAD_BYTES]) == "application/json"
    assert detect((b"[draft] " * HEAD_BYTES)[:HEAD_BYTES]) == "text/plain"


@pytest.mark.parametrize(
    "unit",
    [
        b"<!---->", b"<!--", b"<?a?>", b"<?", b"<b ", b"<b on", b"<!DOCTYPE a[", b"]", b" ", b"<a:", b"on ", b"<svg", b"<",
        b"<!DOCTYPE ", b"[", b'{"', b"a:", b"\n\n", b"%PDF", b"<x y='onx ' ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", [b"", b"<b ", b"<?xml?>", b"<!DOCTYPE a", b"<!DOCTYPE a [", b"[", b"From:"])
def test_no_content_makes_detection_slow(start: bytes, unit: bytes) -> None:
    head = (start + unit * HEAD_BYTES)[:HEAD_BYTES]

    before = time.process_time()
    detect(head)

    assert time.process_time() - before < 1


@pytest.mark.parametrize("name", ["pdf", "xml"])
def test_every_real_invoice_is_recognised(name: str, invoices: Path) -> None:
    found = sorted(invoices.rglob(f"*.{name}"))
    assert found

    assert {detect(path.read_bytes()[:HEAD_BYTES], filename=path.name) for path in found} == {f"application/{name}"}
