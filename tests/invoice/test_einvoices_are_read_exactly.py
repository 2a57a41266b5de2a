from __future__ import annotations

from pathlib import Path

from examples.invoice.arithmetic import check_arithmetic
from examples.invoice.files import Source, read_file
from examples.invoice.findings import Severity
from tests.invoice.real_invoices import FILES, each_real_invoice, needs_real_invoices, stated


@needs_real_invoices
def test_there_are_thirty_real_files_with_seven_invoices() -> None:
    assert len(FILES) == 30
    assert len({stated(path).identity for path in FILES}) == 7


@needs_real_invoices
@each_real_invoice
def test_a_real_einvoice_is_read_to_the_cent(path: Path) -> None:
    expected = stated(path)

    invoice = read_file(path.read_bytes()).invoice

    assert invoice is not None
    assert invoice.number == expected.number
    assert f"{invoice.issue_date:%Y%m%d}" == expected.issued
    assert invoice.seller.name == expected.seller
    assert invoice.currency == expected.currency
    assert invoice.net == expected.net
    assert invoice.vat == expected.vat
    assert invoice.gross == expected.gross
    assert invoice.amount_due == expected.amount_due
    assert invoice.payee_iban == expected.iban
    assert invoice.payment_means == expected.means


@needs_real_invoices
@each_real_invoice
def test_a_real_page_agrees_with_its_xml(path: Path) -> None:
    reading = read_file(path.read_bytes())

    assert reading.findings == ()
    assert (
        reading.source
        is {"pdf": Source.FACTURX, "cii": Source.CII, "ubl": Source.UBL}[
            "pdf" if path.suffix == ".pdf" else path.parent.name
        ]
    )


@needs_real_invoices
@each_real_invoice
def test_a_real_invoice_keeps_the_rules_on_totals(path: Path) -> None:
    invoice = read_file(path.read_bytes()).invoice

    assert invoice is not None
    assert [str(finding) for finding in check_arithmetic(invoice) if finding.severity is Severity.ERROR] == []


@needs_real_invoices
def test_three_real_lines_are_rounded_in_another_way() -> None:
    readings = {path.name.split(".")[0]: read_file(path.read_bytes()).invoice for path in FILES}

    warnings = [
        (name, finding.where) for name, invoice in readings.items() if invoice for finding in check_arithmetic(invoice)
    ]

    assert warnings == [
        ("EN16931_1_Teilrechnung", "line 4"),
        ("EN16931_Kraftfahrversicherung_Bruttopreise", "line 1"),
        ("EN16931_Kraftfahrversicherung_Bruttopreise", "line 2"),
    ]
