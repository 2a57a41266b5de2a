from __future__ import annotations

from decimal import Decimal

import pytest

from examples.invoice.files import Source, read_file
from examples.invoice.files.pages import printed_amounts, prints_number
from examples.invoice.make_samples import CRATES, CRATES_ON_PAGE, facturx
from examples.invoice.renderers import PageStyle, write_cii, write_pdf


@pytest.mark.parametrize(
    "printed",
    ["1234.50", "1,234.50", "1.234,50", "1234,50", "1'234.50", "1’234.50", "1 234,50", "1\u00a0234,50", "€1.234,50"],
)
def test_an_amount_is_found_in_any_usual_format(printed: str) -> None:
    assert Decimal("1234.50") in printed_amounts(f"Total: {printed} EUR")


def test_a_negative_amount_is_found_by_its_digits() -> None:
    assert Decimal(50) in printed_amounts("Prepaid -50,00")


@pytest.mark.parametrize("printed", ["11234.50", "1234.501", "1234.5.0", "X1234.50", "21.234,50"])
def test_an_amount_inside_a_longer_one_is_not_found(printed: str) -> None:
    assert Decimal("1234.50") not in printed_amounts(f"Total: {printed}")


def test_an_invoice_number_may_be_broken_over_lines() -> None:
    assert prints_number("Rechnung Nr. 9314110911/00/\nM/00/N vom", "9314110911/00/M/00/N")


@pytest.mark.parametrize("text", ["471102", "No. 14711020", "No. 471102a"])
def test_an_invoice_number_must_stand_by_itself(text: str) -> None:
    assert prints_number(text, "471102") is (text == "471102")


def test_a_page_that_shows_another_amount_is_found_out() -> None:
    reading = read_file(facturx(CRATES, page=CRATES_ON_PAGE))

    assert reading.source is Source.FACTURX
    assert reading.invoice is not None
    assert [finding.where for finding in reading.findings] == ["total with VAT", "amount due"]


def test_a_page_that_agrees_raises_no_alarm() -> None:
    assert read_file(facturx(CRATES)).findings == ()


def test_an_einvoice_behind_a_scan_cannot_be_compared() -> None:
    from facturx import generate_from_binary

    scan = write_pdf(CRATES, PageStyle(is_scan=True))
    reading = read_file(generate_from_binary(scan, write_cii(CRATES), check_xsd=False, level="en16931"))

    assert [finding.found for finding in reading.findings] == ["a scan"]
