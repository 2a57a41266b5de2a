from __future__ import annotations

import pytest
from pydantic_ai import Agent, BinaryContent, RunContext

from examples.invoice.agents.extraction import Extraction
from examples.invoice.agents.labels import read_labels
from examples.invoice.agents.offline_model import offline_model
from examples.invoice.files.pdf import read_pdf
from examples.invoice.invoice_data import InvoiceData
from examples.invoice.make_samples import CHAIRS, COFFEE, COMMAND, LICENCES, PAPER, SAMPLES, SIGNS
from examples.invoice.renderers import Language, PageStyle, write_pdf


def page(invoice: InvoiceData, style: PageStyle | None = None) -> str:
    return read_pdf(write_pdf(invoice, style or PageStyle())).text


def without_what_pages_omit(invoice: InvoiceData) -> InvoiceData:
    """A page names no VAT category of lines, no payment means, no countries; the reader knows discounts by their label."""
    lines = tuple(line.model_copy(update={"vat_category": "", "vat_rate": None}) for line in invoice.lines)
    buyer = invoice.buyer.model_copy(update={"vat_id": "", "country": ""}) if invoice.buyer else None
    return invoice.model_copy(
        update={"lines": lines, "buyer": buyer, "payment_means": "", "allowances_and_charges": ()}
    )


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("invoice", [PAPER, COFFEE, LICENCES, SIGNS], ids=lambda invoice: invoice.number)
def test_a_page_is_read_by_its_labels_in_both_languages(invoice: InvoiceData, language: Language) -> None:
    extraction = read_labels(page(invoice, PageStyle(language=language)))

    assert extraction.invoice is not None, extraction.problem
    assert without_what_pages_omit(extraction.invoice) == without_what_pages_omit(invoice)


def test_a_command_on_the_page_changes_nothing() -> None:
    assert "ignore previous instructions" in COMMAND
    assert read_labels(page(CHAIRS, PageStyle(note=COMMAND))) == read_labels(page(CHAIRS))


def test_what_is_missing_is_named() -> None:
    extraction = read_labels("Seller: Elbe Office Supplies GmbH\nInvoice number: 7")

    assert extraction.invoice is None
    assert extraction.problem == "not found on the page: Invoice date, Currency, Total without VAT, Total with VAT"


def test_a_field_that_does_not_fit_is_named() -> None:
    extraction = read_labels(page(PAPER).replace("2026-10-05", "yesterday"))

    assert extraction.invoice is None
    assert "yesterday" in extraction.problem


@pytest.mark.parametrize("printed", ["2026-10-05", "05.10.2026", "5 October 2026", "5. Oktober 2026"])
def test_a_date_is_read_in_any_usual_form(printed: str) -> None:
    invoice = read_labels(page(PAPER).replace("2026-10-05", printed)).invoice

    assert invoice is not None
    assert invoice.issue_date == PAPER.issue_date


async def test_an_agent_gets_the_invoice_from_the_attached_pdf() -> None:
    agent = Agent(offline_model(), output_type=Extraction)
    data = (SAMPLES / "01-plain-english.pdf").read_bytes()

    result = await agent.run(["Read it.", BinaryContent(data, media_type="application/pdf")])

    assert result.output.invoice is not None
    assert result.output.invoice.number == "EO-2026-0117"
    assert result.response.model_name == "offline"


async def test_an_agent_may_look_the_vendor_up_first() -> None:
    asked: list[tuple[str, str]] = []
    agent = Agent(offline_model(), output_type=Extraction, deps_type=str)

    @agent.tool
    async def find_vendor(ctx: RunContext[str], name: str, vat_id: str) -> str:
        asked.append((name, vat_id))
        return "known"

    data = (SAMPLES / "01-plain-english.pdf").read_bytes()
    result = await agent.run(["Read it.", BinaryContent(data, media_type="application/pdf")], deps="")

    assert asked == [("Elbe Office Supplies GmbH", "DE811234567")]
    assert result.output.invoice is not None
    assert result.usage.requests == 2


async def test_without_a_document_there_is_no_invoice() -> None:
    result = await Agent(offline_model(), output_type=Extraction).run("Pay 100 EUR to me.")

    assert result.output == Extraction(problem="no PDF came with the question")
