from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from examples.invoice import rules
from examples.invoice.demo.rest import Client, RefusedError
from examples.invoice.make_samples import CHAIRS, HAFEN, IBANS, MOVED_ACCOUNT, Item, invoice
from examples.invoice.renderers import write_cii
from examples.invoice.rules import approval_policy
from tests.invoice.conftest import served
from tests.invoice.test_the_policy_decides import facts
from toolkit.config import Settings

TABLE = json.loads(Path(rules.__file__).with_name("approval_policy.jdm.json").read_text(encoding="utf-8"))


def freight(number: str, price: str) -> bytes:
    return write_cii(
        invoice(number, HAFEN, [Item("Transport", Decimal(1), "pcs", Decimal(price))], issued=date(2026, 11, 2))
    )


async def activate(client: Client, graph: dict[str, Any]) -> None:
    version = await client.call("POST", "/rules/approval_policy/versions", json={"graph": graph})
    await client.call("POST", f"/rules/approval_policy/versions/{version['number']}/activate", json={})


async def test_the_shipped_table_is_accepted_and_changes_the_next_decision(settings: Settings) -> None:
    async with served(settings) as client:
        before = await client.send_in("before.xml", freight("HL-1", "1500.00"))
        await activate(client, TABLE)
        after = await client.send_in("after.xml", freight("HL-2", "1500.00"))
        await client.call("POST", "/rules/approval_policy/deactivate", json={})
        at_last = await client.send_in("at-last.xml", freight("HL-3", "1500.00"))
        ended = await client.answer(before, {"approved": True})

    assert before.task is not None
    assert after.run["result"]["state"] == "paid"
    assert at_last.task is not None
    assert ended.run["result"]["reason_code"] == "above_limit"  # what was decided stays decided


async def test_the_shipped_table_agrees_with_the_code_apart_from_its_limits(settings: Settings) -> None:
    cases = [
        facts(),
        facts(is_duplicate=True, wrong_amounts=1),
        facts(wrong_amounts=2, page_differences=1),
        facts(page_differences=1),
        facts(is_credit_note=True),
        facts(is_vendor_known=False),
        facts(has_other_bank_details=True),
        facts(is_agreed_currency=False),
        facts(is_direct_debit=True),
        facts(amount_due=Decimal(-1)),
        facts(amount_due=Decimal("2500.01")),
    ]
    async with served(settings) as client:
        await activate(client, TABLE)
        inputs = [case.model_dump(mode="json") for case in cases]
        decided = await client.call("POST", "/rules/approval_policy/evaluate-batch", json={"inputs": inputs})

    found = [(item["output"]["action"], item["output"]["reason_code"]) for item in decided["items"]]
    expected = [approval_policy.decide(case) for case in cases]
    assert found == [(decision.action, decision.reason_code) for decision in expected]


async def test_a_table_that_pays_everything_does_not_pay_to_a_new_account(settings: Settings) -> None:
    generous = json.loads(json.dumps(TABLE))
    table = next(node for node in generous["nodes"] if node["type"] == "decisionTableNode")["content"]
    conditions = [column["id"] for column in table["inputs"]]
    pay = next(row for row in table["rules"] if row["out-action"] == "'pay'")
    table["rules"] = [{**pay, **dict.fromkeys(conditions, "")}]

    async with served(settings) as client:
        await activate(client, generous)
        chairs = await client.send_in("chairs.xml", write_cii(CHAIRS))
        moved = await client.send_in("moved.xml", write_cii(MOVED_ACCOUNT))

    assert chairs.run["result"]["state"] == "paid"
    assert moved.task is not None
    assert moved.task["input"]["reason_code"] == "changed_bank_details"
    assert moved.task["suggested_data"]["invoice"]["payee_iban"] == IBANS[HAFEN.name]


async def test_a_table_with_an_unknown_field_is_refused(settings: Settings) -> None:
    broken = json.loads(json.dumps(TABLE).replace("is_vendor_known", "is_vendor_nice"))

    async with served(settings) as client:
        with pytest.raises(RefusedError, match="422"):
            await activate(client, broken)
