"""A process that ends at any commit leaves encoded payloads with which another goes on."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet

from tests.payloads.codecs import EncryptedPayloads
from tests.payloads.dumps import places_of
from toolkit.testing import Process, crash_everywhere
from toolkit.workflows import get_session, message, start_in, step, suspend, wait_for_event, workflow

SECRET = "sloe-41"


@step()
async def weigh(text: str) -> str:
    return f"{text} of 3 kg"


@step()
async def begin_another(text: str) -> str:
    return (await start_in(get_session(), wrap, text)).id


@workflow()
async def wrap(text: str) -> str:
    await suspend(interval=1)
    return f"wrapped {text}"


@workflow()
async def sell(text: str) -> list[Any]:
    weighed = await weigh(text)
    await begin_another(text)
    await message(f"{text} was weighed")
    return [weighed, await wrap(text), await wait_for_event("paid")]


async def play(process: Process, key: str) -> list[Any]:
    run = await process.start(sell, SECRET, idempotency_key=key)
    await process.engine.emit_event("paid", {"by": SECRET}, run_id=run.id, idempotency_key=key)
    return await process.result(run)


async def test_whenever_a_process_ends_another_reads_what_it_left(database_url: str) -> None:
    codec = EncryptedPayloads(Fernet.generate_key())

    played = await crash_everywhere(play, database_url, sell, wrap, every=2, payload_codec=codec)

    assert len(played) > 10
    expected = [f"{SECRET} of 3 kg", f"wrapped {SECRET}", {"by": SECRET}]
    assert [outcome for outcome in played.values() if outcome != expected] == []
    assert await places_of(database_url, SECRET) == set()
