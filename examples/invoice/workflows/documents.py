"""Steps that read: e-invoices by themselves, pages with the agent and a check of what it says against the page."""

from __future__ import annotations

import asyncio

from examples.invoice.agents import OurCompany, read_invoice
from examples.invoice.arithmetic import check_arithmetic
from examples.invoice.files import Reading, Source, compare_with_page, read_file, read_pdf
from examples.invoice.findings import Finding
from examples.invoice.invoice_data import InvoiceData
from toolkit.errors import ModelBehaviorError, TurnsExceeded
from toolkit.files import File
from toolkit.workflows import step

OUR_COMPANY = OurCompany(name="Kontor Nord GmbH", vat_id="DE300400500")


async def read_document(file: File) -> Reading:
    """The invoice in ``file`` with what is wrong with it, or why it could not be read."""
    reading = await read_without_model(file)
    return await read_with_agent(file) if reading.source is Source.PAGE else reading


@step(display_name="Read the file")
async def read_without_model(file: File) -> Reading:
    data = await file.read()
    return await asyncio.to_thread(read_file, data)


async def read_with_agent(file: File) -> Reading:
    try:
        answer = (await read_invoice(file, tool_context=OUR_COMPANY)).output
    except (ModelBehaviorError, TurnsExceeded) as error:
        return Reading(source=Source.PAGE, message=f"the model gave no usable answer: {error}")
    if answer.invoice is None:
        return Reading(source=Source.PAGE, message=answer.problem)
    findings = await compare_answer(file, answer.invoice)
    return Reading(source=Source.PAGE, invoice=answer.invoice, findings=findings)


@step(display_name="Compare the answer with the page")
async def compare_answer(file: File, invoice: InvoiceData) -> tuple[Finding, ...]:
    """A model may make up a number; what it says must stand on the page."""
    data = await file.read()
    content = await asyncio.to_thread(read_pdf, data)
    return compare_with_page(invoice, content.text)


@step(display_name="Check the amounts")
async def check_amounts(invoice: InvoiceData) -> tuple[Finding, ...]:
    return check_arithmetic(invoice)
