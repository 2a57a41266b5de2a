from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TypeVar

from sqlmodel import select

from examples.invoice.demo.cases import Case
from examples.invoice.demo.expectations import read_expectations
from examples.invoice.demo.rest import Client
from examples.invoice.entities import Invoice, Payment
from examples.invoice.main import app
from tests.invoice.conftest import served
from toolkit.config import Settings

Row = TypeVar("Row", Invoice, Payment)
EXPECTED = {expected.file: expected for expected in read_expectations()}


async def send_in(client: Client, name: str) -> Case:
    return Case(EXPECTED[name], await client.send_in(name, EXPECTED[name].path.read_bytes()))


async def answered(client: Client, case: Case, output: dict[str, object] | None = None) -> Case:
    answer = output if output is not None else case.expected.answer
    assert answer is not None
    return Case(case.expected, await client.answer(case.standing, answer))


async def rows(table: type[Row]) -> list[Row]:
    async with app.services.database.session() as session:
        return list((await session.exec(select(table))).all())


async def test_every_sample_ends_as_it_should_and_is_paid_once(settings: Settings) -> None:
    async with served(settings) as client:
        cases = [await send_in(client, name) for name in EXPECTED]
        ended = [await answered(client, case) if case.asked else case for case in cases]
        payments, invoices = await rows(Payment), await rows(Invoice)

    assert [difference for case in ended for difference in case.differences()] == []
    assert [case.expected.file for case in cases if case.asked] == [
        expected.file for expected in EXPECTED.values() if expected.answer
    ]
    paid = sorted(f"{payment.amount} {payment.currency}" for payment in payments)
    assert paid == sorted(expected.paid for expected in EXPECTED.values() if expected.paid)
    assert len(invoices) == 13  # sixteen files less one duplicate and two that cannot be read
    assert {invoice.state for invoice in invoices} == {"paid", "credited", "rejected"}


async def test_money_goes_to_the_account_on_file(settings: Settings) -> None:
    async with served(settings) as client:
        case = await send_in(client, "11-changed-bank-details.pdf")
        assert case.asked["iban_on_file"] == "DE02500105170137075030"
        assert case.asked["invoice"]["payee_iban"] == "LT601010012345678901"
        await answered(client, case, {"approved": True})
        [payment] = await rows(Payment)

    assert (payment.iban, payment.amount) == ("DE02500105170137075030", Decimal("261.80"))


async def test_the_reviewer_sees_the_document_and_what_was_read(settings: Settings) -> None:
    async with served(settings) as client:
        task = (await send_in(client, "08-wrong-sums.pdf")).standing.task

    assert task is not None
    assert [file["filename"] for file in task["files"]] == ["08-wrong-sums.pdf"]
    assert task["assigned_to"] == "accounting"
    assert task["suggested_data"]["invoice"]["number"] == "2026-10-0057"
    assert Decimal(task["suggested_data"]["invoice"]["amount_due"]) == Decimal("439.86")
    assert [finding["rule"] for finding in task["input"]["findings"]] == ["BR-CO-15"]


async def test_approving_without_an_account_asks_again(settings: Settings) -> None:
    async with served(settings) as client:
        asked = await send_in(client, "12-unknown-vendor.pdf")
        again = await answered(client, asked, {"approved": True})
        ended = await answered(client, again)

    assert again.standing.task is not None
    assert "no account to pay to" in again.standing.task["message"]
    assert list(ended.differences()) == []


async def test_a_scan_of_an_invoice_that_came_in_before_is_a_duplicate(settings: Settings) -> None:
    typed_in = {
        "seller": "Elbe Office Supplies GmbH",
        "number": "EO-2026-0117",
        "currency": "EUR",
        "gross": "476.00",
        "amount_due": "476.00",
        "payee_iban": "DE89370400440532013000",
    }
    async with served(settings) as client:
        await send_in(client, "01-plain-english.pdf")
        scan = await send_in(client, "13-scan-without-text.pdf")
        ended = await answered(client, scan, {"approved": True, "invoice": typed_in})
        payments = await rows(Payment)

    assert (ended.state, ended.reason_code) == ("rejected", "duplicate")
    assert len(payments) == 1


async def test_the_model_is_called_offline_wherever_it_shows(settings: Settings) -> None:
    async with served(settings) as client:
        case = await send_in(client, "10-commands-the-model.pdf")
        steps = (await client.call("GET", f"/runs/{case.standing.run['id']}/steps"))["items"]

    agent = next(step for step in steps if step["kind"] == "agent")
    assert agent["details"]["model"] == "offline"
    assert [step["kind"] for step in steps if step["path"].startswith("read_invoice")].count("model_call") == 2
    assert any(step["kind"] == "tool_call" for step in steps)
    assert case.reason_code == "above_limit"


async def test_the_same_file_sent_again_with_its_key_is_the_same_run(settings: Settings) -> None:
    async with served(settings) as client:
        first = await send_in(client, "03-facturx.pdf")
        second = await send_in(client, "03-facturx.pdf")

    assert first.standing.run["id"] == second.standing.run["id"]
    assert first.state == "paid"


async def test_of_equal_invoices_sent_at_the_same_time_one_goes_on(settings: Settings) -> None:
    content = EXPECTED["04-cii.xml"].path.read_bytes()

    async with served(settings) as client:
        standings = await asyncio.gather(*(client.send_in(f"{copy}.xml", content) for copy in range(6)))
        payments = await rows(Payment)

    states = sorted(standing.run["result"]["state"] for standing in standings)
    assert states == ["paid"] + ["rejected"] * 5
    assert len(payments) == 1
