"""Does the page a person sees say what its XML says? A hybrid invoice that shows one amount and encodes another is the
oldest trick with Factur-X, and a frequent mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from examples.invoice.findings import Finding, Severity
from examples.invoice.invoice_data import InvoiceData

_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"
_SPACES = " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
# A number as printed: digits with separators between them. White space separates thousands only before three digits.
_PRINTED = re.compile(rf"(?<![\w.,])\d{{1,15}}(?:[.,{_APOSTROPHES}]\d+|[{_SPACES}]\d{{3}}(?!\d))*(?!\w)")
_SPACING = re.compile(rf"[{_SPACES}{_APOSTROPHES}]")


def compare_with_page(invoice: InvoiceData, page_text: str) -> tuple[Finding, ...]:
    """What of ``invoice`` (number, total with VAT, amount due) cannot be found in the text of its pages."""
    return tuple(_missing(invoice, page_text))


def printed_amounts(text: str) -> set[Decimal]:
    """Every amount that ``text`` may print, without signs.

    Both readings of what is ambiguous are given: "1.234" is 1234 in German and 1.234 in English.
    """
    found: set[Decimal] = set()
    for match in _PRINTED.finditer(text):
        found.update(_readings(match.group()))
    return found


def prints_number(text: str, number: str) -> bool:
    """Does the invoice number ``number`` stand in ``text``, by itself and not as part of a longer one?

    White space is ignored, since pages break and space long numbers.
    """
    letters = [re.escape(letter) for letter in number if not letter.isspace()]
    return re.search(r"(?<!\w)" + r"\s*".join(letters) + r"(?!\w)", text, re.IGNORECASE) is not None


def _missing(invoice: InvoiceData, page_text: str) -> Iterator[Finding]:
    if not prints_number(page_text, invoice.number):
        yield _finding("invoice number", invoice.number)
    amounts = printed_amounts(page_text)
    for name, amount in (("total with VAT", invoice.gross), ("amount due", invoice.amount_due)):
        if abs(amount) not in amounts:
            yield _finding(name, f"{amount:f} {invoice.currency}")


def _finding(name: str, expected: str) -> Finding:
    return Finding(
        rule="PAGE-TEXT",
        severity=Severity.ERROR,
        expected=expected,
        found="nothing like it on the page",
        where=name,
    )


def _readings(printed: str) -> Iterator[Decimal]:
    tight = _SPACING.sub("", printed)
    for decimal_mark, thousands_mark in ((".", ","), (",", ".")):
        whole, _, fraction = tight.partition(decimal_mark)
        groups = whole.split(thousands_mark)
        if thousands_mark in fraction or decimal_mark in fraction:
            continue
        if len(groups) > 1 and any(len(group) != 3 for group in groups[1:]):
            continue
        try:
            yield Decimal("".join(groups) + ("." + fraction if fraction else ""))
        except InvalidOperation:  # pragma: no cover  the pattern admits digits only
            continue
