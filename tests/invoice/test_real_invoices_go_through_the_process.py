from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from examples.invoice.demo.rest import Client, Standing
from examples.invoice.entities import Payment, vendor
from examples.invoice.main import app
from tests.invoice.conftest import served
from tests.invoice.real_invoices import FILES, Stated, each_real_invoice, needs_real_invoices, stated
from toolkit.config import Settings

# The sellers of the real files as a vendor master may have them: one is missing, two have other accounts.
VENDORS = {
    "Lieferant GmbH": ("DE123456789", "DE02120300000000202051"),
    "Global Supplies Ltd.": ("GB123456789", "GB29NWBK60161331926819"),
    "MUSTER-Autovermietung": ("DE136695976", "DE89370400440532013000"),
    "Verkehrsbetriebe GmbH": ("DE123456789", "DE02500105170137075030"),
}


def seed_vendors(session: Any) -> None:
    session.add_all(
        vendor(name=name, vat_id=vat_id, iban=iban, currency="EUR") for name, (vat_id, iban) in VENDORS.items()
    )


def what_the_policy_says(invoice: Stated) -> tuple[str, str]:
    """Action and reason, worked out from the XML alone."""
    if invoice.seller not in VENDORS:
        return "review", "unknown_vendor"
    if invoice.iban and invoice.iban != VENDORS[invoice.seller][1]:
        return "review", "changed_bank_details"
    if invoice.means == "59":
        return "review", "direct_debit"
    return ("review", "above_limit") if invoice.amount_due > 1000 else ("pay", "within_limit")


async def send_in(client: Client, path: Path) -> Standing:
    return await client.send_in(f"{path.parent.name}-{path.name}", path.read_bytes())  # noqa: ASYNC240  small


async def read_data(client: Client, run_id: str) -> dict[str, Any]:
    """The invoice as the run's first step read it, by REST."""
    steps = (await client.call("GET", f"/runs/{run_id}/steps"))["items"]
    result = next(step["result"] for step in steps if step["name"] == "read_without_model")
    invoice: dict[str, Any] = (json.loads(result) if isinstance(result, str) else result)["invoice"]
    return invoice


async def payments() -> list[Payment]:
    async with app.services.database.session() as session:
        return list((await session.exec(select(Payment))).all())


def decision(standing: Standing) -> tuple[str, str]:
    if standing.task is not None:
        return "review", standing.task["input"]["reason_code"]
    return standing.run["result"]["action"], standing.run["result"]["reason_code"]


@needs_real_invoices
@each_real_invoice
async def test_a_real_invoice_in_a_database_of_its_own(path: Path, settings: Settings) -> None:
    expected = stated(path)

    async with served(settings, seed=seed_vendors) as client:
        standing = await send_in(client, path)
        invoice = await read_data(client, standing.run["id"])
        booked = await payments()

    assert decision(standing) == what_the_policy_says(expected)
    assert invoice["number"] == expected.number
    assert invoice["issue_date"].replace("-", "") == expected.issued
    assert invoice["seller"]["name"] == expected.seller
    assert invoice["currency"] == expected.currency
    for field in ("net", "vat", "gross", "amount_due"):
        assert Decimal(invoice[field]) == getattr(expected, field)
    if standing.task is None:
        assert standing.run["state"] == "succeeded"
        assert standing.run["result"]["state"] == "paid"
        assert [(payment.amount, payment.currency) for payment in booked] == [(expected.amount_due, expected.currency)]
    else:
        assert standing.run["result"] is None
        assert booked == []


@needs_real_invoices
async def test_all_real_files_in_one_database_are_seven_invoices(settings: Settings) -> None:
    async with served(settings, seed=seed_vendors) as client:
        standings = [await send_in(client, path) for path in FILES]
        booked = await payments()

    duplicates = [standing for standing in standings if decision(standing) == ("reject", "duplicate")]
    going_on = [standing for standing in standings if standing not in duplicates]
    assert (len(going_on), len(duplicates)) == (7, 23)
    first_of_each = {stated(path).identity: stated(path) for path in reversed(FILES)}.values()
    assert sorted(decision(standing) for standing in going_on) == sorted(map(what_the_policy_says, first_of_each))
    assert sorted(payment.amount for payment in booked) == sorted(
        invoice.amount_due for invoice in first_of_each if what_the_policy_says(invoice)[0] == "pay"
    )


@needs_real_invoices
@pytest.mark.parametrize("path", [path for path in FILES if path.name.startswith("EN16931_Rabatte")], ids=str)
async def test_what_is_paid_is_the_amount_due_and_not_the_total(path: Path, settings: Settings) -> None:
    async with served(settings, seed=seed_vendors) as client:
        await send_in(client, path)
        [payment] = await payments()

    assert (payment.amount, payment.currency) == (Decimal("165.07"), "EUR")
    assert stated(path).gross == Decimal("215.07")
