"""What an event may carry: plain JSON, of which whoever waits makes what it declares."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from tests.workflows.conftest import StartEngine
from toolkit.errors import SerializationError
from toolkit.workflows import emit_event, wait_for_event, workflow


class Invoice(BaseModel):
    total: Decimal
    due: date


INVOICE = Invoice(total=Decimal("12.50"), due=date(2026, 3, 1))


@workflow()
async def reads() -> str:
    invoice = await wait_for_event("invoice", payload_type=Invoice)
    return str(invoice.total)


@workflow()
async def sends(kind: str) -> str:
    try:
        await emit_event("invoice", PAYLOADS[kind])
    except SerializationError as error:
        return str(error)
    return "sent"


PAYLOADS: dict[str, Any] = {
    "decimal": Decimal("12.50"),
    "model": INVOICE,
    "list": [INVOICE],
    "object": object(),
    "plain": INVOICE.model_dump(mode="json"),
}


@pytest.mark.parametrize("kind", ["decimal", "model", "list", "object"])
async def test_a_payload_that_is_not_plain_json_is_refused_with_what_to_do(
    start_engine: StartEngine, kind: str
) -> None:
    engine = await start_engine(sends)

    told = await asyncio.wait_for((await engine.start(sends, kind)).result(), 10)
    with pytest.raises(SerializationError, match="read it by payload_type="):
        await engine.emit_event("invoice", PAYLOADS[kind])

    assert "model_dump(mode='json')" in told
    assert "return" not in told


async def test_a_plain_payload_comes_back_as_the_type_that_the_wait_declares(start_engine: StartEngine) -> None:
    engine = await start_engine(sends, reads)
    assert await asyncio.wait_for((await engine.start(sends, "plain")).result(), 10) == "sent"
    assert await asyncio.wait_for((await engine.start(reads)).result(), 10) == "12.50"

    await engine.emit_event("other", payload_json=INVOICE.model_dump_json())
