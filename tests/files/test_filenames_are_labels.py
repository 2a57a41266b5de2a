"""A filename from outside becomes a label that can be shown and saved anywhere."""

from __future__ import annotations

import unicodedata
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.files import clean_filename
from toolkit.files.names import LONGEST_BYTES


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("Rechnung Nr. 5 (Kopie).pdf", "Rechnung Nr. 5 (Kopie).pdf"),
        ("Cafe\u0301.pdf", "Café.pdf"),
        ("請求書.pdf", "請求書.pdf"),
        ("فاتورة.pdf", "فاتورة.pdf"),
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),  # a joiner that Persian needs
        ("👩\u200d💻.png", "👩\u200d💻.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\win.ini", "win.ini"),
        ("C:\\Users\\ada\\invoice.pdf", "invoice.pdf"),
        ("/etc/", "etc"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),  # shown as invoiceexe.pdf
        ("invoice.pdf\x00.exe", "invoice.pdf.exe"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie_ x"),
        ("file.txt:stream", "file.txt_stream"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("confirm.txt", "confirm.txt"),
        (".htaccess", ".htaccess"),
        ("name. . .", "name"),
        (".", "file"),
        ("..", "file"),
        ("", "file"),
        ("   ", "file"),
        ("\u200d\u200c", "file"),
        ("////", "file"),
        ("%2e%2e%2fpasswd", "%2e%2e%2fpasswd"),  # a label is not decoded
        ("\ud800bad", "bad"),
        ("\ufeffbom.txt", "bom.txt"),
        ("a\u2028b", "ab"),
        ("tag\U000e0041.txt", "tag.txt"),
    ],
)
def test_a_name_is_cleaned_and_otherwise_left_as_it_is(name: str, label: str) -> None:
    assert clean_filename(name) == label


_TRICKS = [
    "../", "..\\", "/", "\\", "\x00", "\n", "\u202e", "\u2066", "\u200f", "C:", "con/", "aux.", "%2e%2e/", "....//",
    "\ud800", "\u0301" * 50, "a" * 300, "語" * 200, ".", " ",
]  # fmt: skip
_BODIES = ["passwd", "nul", "file.pdf", ".", "", "x" * 251 + ".pdf", "~", "COM¹", "a.b.c.", "📄.png"]
HOSTILE = [trick + body + end for (trick, body), end in product(product(_TRICKS, _BODIES), ("", "\u202etxt.exe"))]


def assert_is_a_label(label: str) -> None:
    assert 0 < len(label.encode()) <= LONGEST_BYTES
    assert not set(label) & set('/\\:<>"|?*\x00')
    assert label.strip(". ")
    assert label == label.strip()
    assert not label.endswith(".")
    assert label == unicodedata.normalize("NFC", label)
    assert not {unicodedata.category(character) for character in label if character not in "\u200c\u200d"} & {
        "Cc",
        "Cf",
        "Cs",
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_no_hostile_name_gets_through(name: str) -> None:
    assert_is_a_label(clean_filename(name))


@given(st.text(st.characters(exclude_categories=()), max_size=400))
def test_every_text_becomes_a_label_and_a_label_stays_as_it_is(name: str) -> None:
    label = clean_filename(name)

    assert_is_a_label(label)
    assert clean_filename(label) == label


def test_a_long_name_keeps_its_suffix_and_whole_characters() -> None:
    label = clean_filename("請" * 200 + ".pdf")

    assert label.endswith("請.pdf")
    assert len(label.encode()) == 83 * 3 + 4
