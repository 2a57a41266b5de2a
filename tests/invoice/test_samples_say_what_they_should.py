from __future__ import annotations

import pytest

from examples.invoice.arithmetic import check_arithmetic
from examples.invoice.files import Source, read_einvoice, read_file
from examples.invoice.findings import Severity
from examples.invoice.invoice_data import InvoiceData
from examples.invoice.make_samples import (
    BROCHURES,
    COFFEE,
    CONSULTING,
    FREIGHT,
    LICENCES,
    MAKERS,
    PAPER,
    RETURNED_PAPER,
    SAMPLES,
    SIGNS,
    says_the_same,
)
from examples.invoice.renderers import write_cii, write_ubl

INVOICES = [PAPER, COFFEE, FREIGHT, BROCHURES, CONSULTING, LICENCES, SIGNS]


@pytest.mark.parametrize("name", MAKERS)
def test_the_committed_sample_is_what_the_script_makes(name: str) -> None:
    assert says_the_same((SAMPLES / name).read_bytes(), MAKERS[name]())


@pytest.mark.parametrize("name", [name for name in MAKERS if "facturx" not in name and name[:2] not in {"11", "16"}])
def test_samples_without_an_embedded_invoice_have_the_same_bytes_each_time(name: str) -> None:
    assert MAKERS[name]() == MAKERS[name]()


@pytest.mark.parametrize("invoice", INVOICES, ids=lambda invoice: invoice.number)
def test_an_invoice_written_as_xml_is_read_back(invoice: InvoiceData) -> None:
    assert amounts(read_einvoice(write_cii(invoice))) == amounts(invoice)
    assert amounts(read_einvoice(write_ubl(invoice))) == amounts(invoice)


def test_a_credit_note_is_a_document_of_its_own_in_ubl() -> None:
    note = read_einvoice(write_ubl(RETURNED_PAPER))

    assert note.is_credit_note
    assert note.type_code == "381"
    assert note.gross == RETURNED_PAPER.gross


def test_a_self_billed_invoice_is_no_credit_note() -> None:
    assert not PAPER.model_copy(update={"type_code": "389"}).is_credit_note


@pytest.mark.parametrize("invoice", INVOICES, ids=lambda invoice: invoice.number)
def test_a_sample_invoice_keeps_the_rules_on_totals(invoice: InvoiceData) -> None:
    assert [finding for finding in check_arithmetic(invoice) if finding.severity is Severity.ERROR] == []


def test_samples_come_in_every_kind_of_document() -> None:
    sources = {read_file((SAMPLES / name).read_bytes()).source for name in MAKERS}

    assert sources == set(Source)


def amounts(invoice: InvoiceData) -> InvoiceData:
    """``invoice`` without what its documents write in another way: units, and a credit note's due date."""
    lines = tuple(line.model_copy(update={"unit": ""}) for line in invoice.lines)
    return invoice.model_copy(update={"lines": lines})
