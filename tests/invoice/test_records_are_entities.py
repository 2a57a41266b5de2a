"""Vendors, invoices and payments are entities: their life is on record, and one may look at all of it by REST."""

from __future__ import annotations

import httpx2
import pytest

from examples.invoice.demo.rest import Json, RefusedError
from examples.invoice.entities import Invoice
from examples.invoice.main import app
from tests.invoice.conftest import served
from tests.invoice.test_samples_go_through_the_process import rows, send_in
from toolkit.config import Settings
from toolkit.errors import TransitionRefused


async def test_what_became_of_an_invoice_is_on_record(settings: Settings) -> None:
    async with served(settings) as client:
        await send_in(client, "04-cii.xml")
        (invoice,) = (await client.call("GET", "/entities/invoice?state=paid"))["items"]
        moves = (await client.call("GET", f"/entities/invoice/{invoice['id']}/moves"))["items"]
        related = await client.call("GET", f"/entities/invoice/{invoice['id']}/related/payment")

        assert [(move["from_state"], move["to_state"], move["by"]) for move in moves] == [
            (None, "open", f"run:{invoice['run_id']}"),
            ("open", "paid", f"run:{invoice['run_id']}"),
        ]
        assert [payment["run_id"] for payment in related["items"]] == [invoice["run_id"]]
        with pytest.raises(RefusedError, match="405"):  # the process alone writes invoices
            await client.call("PATCH", f"/entities/invoice/{invoice['id']}", json={"state": "open"})
        with pytest.raises(TransitionRefused, match="cannot become 'open'"):
            async with app.session() as session:
                found = await session.get(Invoice, invoice["id"])
                assert found is not None
                found.state = "open"
        assert [row.state for row in await rows(Invoice)] == ["paid"]


async def test_a_change_of_bank_details_shows_who_made_it(settings: Settings) -> None:
    async with served(settings):
        transport = httpx2.ASGITransport(app=app)
        address = "http://localhost/toolkit/v1/entities"
        async with httpx2.AsyncClient(transport=transport, base_url=address, headers={"x-toolkit-user": "ada"}) as http:
            fields = {"name": "Acme", "name_key": "acme", "iban": "DE02120300000000202051", "currency": "EUR"}
            vendor: Json = (await http.post("/vendor", json=fields)).json()
            changed = await http.patch(
                f"/vendor/{vendor['id']}",
                json={"iban": "DE02500105170137075030"},
                headers={"if-match": '"1"', "x-toolkit-user": "eve"},
            )
            history = (await http.get(f"/vendor/{vendor['id']}/history")).json()["items"]

    assert changed.status_code == 200
    assert [(kept["by"], kept["values"]["iban"]) for kept in history] == [
        ("ada", "DE02120300000000202051"),
        ("eve", "DE02500105170137075030"),
    ]
