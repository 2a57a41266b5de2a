"""Do the amounts of an invoice fit together? The calculation rules of EN 16931-1, section 6.4.2, in ``Decimal``.

The rules on totals and VAT (BR-CO-10 and 13 to 17) must hold to the cent. Quantity times price is only a warning:
sellers round prices in ways the standard does not forbid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_UP, Decimal

from examples.invoice.findings import Finding, Severity
from examples.invoice.invoice_data import ZERO, InvoiceData, InvoiceLine

CENT = Decimal("0.01")


def check_arithmetic(invoice: InvoiceData) -> tuple[Finding, ...]:
    """Every calculation that does not come out; empty when all do."""
    return (*_totals(invoice), *_vat(invoice), *_lines(invoice.lines))


def to_cent(amount: Decimal) -> Decimal:
    """``amount`` rounded half up to two decimals, as EN 16931 rounds."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def _totals(invoice: InvoiceData) -> Iterator[Finding]:
    sum_of_lines = sum((line.net for line in invoice.lines), ZERO)
    if invoice.line_total is not None:
        yield from _compare("BR-CO-10", "sum of lines", expected=sum_of_lines, found=invoice.line_total)
    yield from _compare(
        "BR-CO-13",
        "total without VAT",
        expected=sum_of_lines - invoice.allowance_total + invoice.charge_total,
        found=invoice.net,
    )
    yield from _compare("BR-CO-15", "total with VAT", expected=invoice.net + invoice.vat, found=invoice.gross)
    yield from _compare(
        "BR-CO-16",
        "amount due",
        expected=invoice.gross - invoice.prepaid + invoice.rounding,
        found=invoice.amount_due,
    )


def _vat(invoice: InvoiceData) -> Iterator[Finding]:
    total = sum((vat.amount for vat in invoice.vat_breakdown), ZERO)
    yield from _compare("BR-CO-14", "VAT total", expected=total, found=invoice.vat)
    for vat in invoice.vat_breakdown:
        yield from _compare(
            "BR-CO-17",
            f"VAT {vat.category} {vat.rate:f} %",
            expected=to_cent(vat.basis * vat.rate / 100),
            found=vat.amount,
        )


def _lines(lines: Iterable[InvoiceLine]) -> Iterator[Finding]:
    for position, line in enumerate(lines, start=1):
        if line.unit_price is None or line.base_quantity == ZERO:
            continue
        computed = to_cent(line.quantity * line.unit_price / line.base_quantity) - line.allowances + line.charges
        yield from _compare(
            "LINE-NET", f"line {position}", expected=computed, found=line.net, severity=Severity.WARNING
        )


def _compare(
    rule: str, where: str, *, expected: Decimal, found: Decimal, severity: Severity = Severity.ERROR
) -> Iterator[Finding]:
    if expected != found:
        yield Finding(rule=rule, severity=severity, expected=f"{expected:f}", found=f"{found:f}", where=where)
