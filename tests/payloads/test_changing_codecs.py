"""A codec comes to a live database, its keys are replaced, and a process without the right one harms nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.payloads.codecs import EncryptedPayloads
from tests.payloads.dumps import cells_of, places_of
from tests.workflows.conftest import until, until_state
from toolkit.errors import RunFailed, StorageError
from toolkit.storage import MARK, Database, PayloadCodec, PayloadNotDecoded
from toolkit.workflows import (
    Engine,
    RunState,
    check_live_runs,
    emit_event,
    step,
    wait_for_completion,
    wait_for_event,
    workflow,
)

OLD, NEW, OTHER = (Fernet.generate_key() for _ in range(3))
SECRET = "quince-88"


class Broken(Exception):
    pass


@step()
async def weigh(text: str) -> str:
    return f"{text} of 3 kg"


@step()
async def fail(text: str) -> str:
    raise Broken("it broke")


@workflow()
async def sell(text: str) -> list[Any]:
    weighed = await weigh(text)
    try:
        await fail(text)
    except Broken as error:
        return [weighed, str(error), await wait_for_event("paid")]
    raise AssertionError("the step fails")


@workflow()
async def swallow(text: str) -> str:
    """Its code catches whatever it can."""
    try:
        return str(await wait_for_event(text))
    except Exception as error:  # noqa: BLE001 - what an author may write
        return f"caught {error}"


@workflow()
async def go_wrong(text: str) -> None:
    await fail(text)


@workflow()
async def follow(run_id: str) -> str:
    try:
        return str(await wait_for_completion(run_id))
    except StorageError as error:
        return f"caught {error}"


is_changed: list[bool] = []


@workflow()
async def change_its_mind(text: str) -> None:
    await weigh(f"{text} today" if is_changed else text)
    await wait_for_event("go")


SOLD = [f"{SECRET} of 3 kg", "it broke", {"sum": SECRET}]


@asynccontextmanager
async def an_engine(url: str, codec: PayloadCodec | None = None) -> AsyncIterator[Engine]:
    """A process with this codec."""
    database = Database(url, payload_codec=codec)
    await database.open()
    try:
        engine = Engine(database, workflows=[sell, swallow, go_wrong, follow, change_its_mind])
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()
    finally:
        await database.close()


async def begin(url: str, codec: PayloadCodec | None = None) -> str:
    """A run that waits, begun by a process with this codec."""
    async with an_engine(url, codec) as engine:
        run = await engine.start(sell, SECRET)
        await until_state(engine, run.id, RunState.SUSPENDED)
        return run.id


async def end(engine: Engine, run_id: str) -> Any:
    await engine.emit_event("paid", {"sum": SECRET}, run_id=run_id)
    return json.loads(await engine.wait_for_completion(run_id))


async def test_a_codec_comes_to_a_database_with_plain_rows(database_url: str) -> None:
    run_id = await begin(database_url)

    async with an_engine(database_url, EncryptedPayloads(NEW)) as engine:
        assert await end(engine, run_id) == SOLD
        fresh = await engine.start(sell, SECRET)
        assert await end(engine, fresh.id) == SOLD
        assert (await engine.list_steps(run_id))[0].result == f'"{SECRET} of 3 kg"'

    cells = await cells_of(database_url)
    inputs = cells["toolkit_run.input"]
    assert sorted(text.startswith(MARK) for text in inputs) == [False, True]
    assert all(text.startswith(MARK) for text in cells["toolkit_run.result"])


async def test_keys_are_replaced_while_runs_go_on(database_url: str) -> None:
    run_id = await begin(database_url, EncryptedPayloads(OLD))

    async with an_engine(database_url, EncryptedPayloads(NEW, OLD)) as engine:
        assert await end(engine, run_id) == SOLD
        fresh = (await engine.start(sell, SECRET)).id
        await until_state(engine, fresh, RunState.SUSPENDED)
    async with an_engine(database_url, EncryptedPayloads(NEW)) as engine:
        assert await end(engine, fresh) == SOLD

    assert await places_of(database_url, SECRET) == set()


@pytest.mark.parametrize("codec", [None, EncryptedPayloads(OTHER)], ids=["no codec", "another key"])
async def test_a_run_that_cannot_be_decoded_is_parked_and_goes_on_when_it_can(
    codec: PayloadCodec | None, database_url: str
) -> None:
    run_id = await begin(database_url, EncryptedPayloads(OLD))
    before = (await cells_of(database_url))["toolkit_step.result"]

    async with an_engine(database_url, codec) as engine:
        await engine.emit_event("paid", {"sum": SECRET}, run_id=run_id)
        (found,) = await _until_parked(engine)
        assert found.error_summary is not None
        assert "is encoded, and this process cannot decode it" in found.error_summary
        assert "Toolkit(payload_codec=...)" in found.error_summary
        with pytest.raises(PayloadNotDecoded, match=f"the input of run {run_id}"):
            await engine.get_run(run_id)
        with pytest.raises(PayloadNotDecoded, match="the record of the step at weigh/0"):
            await engine.list_steps(run_id)
        (checked,) = [each async for each in check_live_runs(engine)]
        assert checked.fault is not None
        assert "cannot decode it" in checked.fault

    assert (await cells_of(database_url))["toolkit_step.result"][: len(before)] == before
    keys = [OLD] if codec is None else [OLD, OTHER]
    async with an_engine(database_url, EncryptedPayloads(*keys)) as engine:
        parked = await engine.get_run(run_id)
        assert parked.error is not None
        assert "cannot decode it" in parked.error
        await engine.control.release(run_id)
        assert json.loads(await engine.wait_for_completion(run_id)) == SOLD


async def _until_parked(engine: Engine) -> Any:
    await until(lambda: engine.list_runs(state=RunState.PARKED))
    return await engine.list_runs(state=RunState.PARKED)


async def test_an_event_that_cannot_be_decoded_is_not_caught_by_the_authors_code(database_url: str) -> None:
    async with an_engine(database_url) as engine:
        run = await engine.start(swallow, "news")
        await until_state(engine, run.id, RunState.SUSPENDED)
        other = Database(database_url, payload_codec=EncryptedPayloads(OLD))
        await other.open()
        async with other.session() as session:
            await emit_event("news", SECRET, session=session)
        await other.close()
        engine.poke()
        await _until_parked(engine)

    async with an_engine(database_url, EncryptedPayloads(OLD)) as engine:
        await engine.control.release(run.id)
        assert await engine.wait_for_completion(run.id) == f'"{SECRET}"'


async def test_what_cannot_be_decoded_does_not_hold_up_others(database_url: str) -> None:
    await begin(database_url, EncryptedPayloads(OLD))

    async with an_engine(database_url) as engine:
        await engine.emit_event("paid", {"sum": SECRET})
        await _until_parked(engine)
        run = await engine.start(sell, SECRET)
        assert await end(engine, run.id) == SOLD


async def test_how_a_run_ended_is_asked_for_without_its_key(database_url: str) -> None:
    async with an_engine(database_url, EncryptedPayloads(OLD)) as engine:
        done, failed = await engine.start(sell, SECRET), await engine.start(go_wrong, SECRET)
        await end(engine, done.id)
        with pytest.raises(RunFailed):
            await engine.wait_for_completion(failed.id)

    async with an_engine(database_url) as engine:
        with pytest.raises(PayloadNotDecoded, match=f"the result of run {done.id}"):
            await engine.wait_for_completion(done.id)
        with pytest.raises(PayloadNotDecoded, match=f"the error of run {failed.id}"):
            await engine.wait_for_completion(failed.id)
        with pytest.raises(PayloadNotDecoded, match=f"the error of run {failed.id}"):
            await engine.control.retry(failed.id)
        forked = await engine.control.fork(failed.id)
        await until_state_listed(engine, forked.run_id, RunState.PARKED)


async def until_state_listed(engine: Engine, run_id: str, state: RunState) -> None:
    async def is_there() -> bool:
        return any(run.id == run_id for run in await engine.list_runs(state=state))

    await until(is_there)


async def test_a_run_that_waits_for_one_that_cannot_be_decoded_is_parked_and_not_failed(database_url: str) -> None:
    async with an_engine(database_url, EncryptedPayloads(OLD)) as engine:
        done = await engine.start(sell, SECRET)
        await end(engine, done.id)

    async with an_engine(database_url) as engine:
        run = await engine.start(follow, done.id)
        (found,) = await _until_parked(engine)
        assert (found.id, "how run" in str(found.error_summary)) == (run.id, True)

    async with an_engine(database_url, EncryptedPayloads(OLD)) as engine:
        await engine.control.release(run.id)
        assert await engine.wait_for_completion(run.id) == json.dumps(str(SOLD))


async def test_what_a_parked_run_says_of_its_arguments_is_encoded(database_url: str) -> None:
    is_changed.clear()
    async with an_engine(database_url, EncryptedPayloads(OLD)) as engine:
        run = await engine.start(change_its_mind, SECRET)
        await until_state(engine, run.id, RunState.SUSPENDED)
    is_changed.append(True)
    async with an_engine(database_url, EncryptedPayloads(OLD)) as engine:
        await engine.emit_event("go")
        await _until_parked(engine)
        assert f"{SECRET} today" in str((await engine.get_run(run.id)).error)

    assert await places_of(database_url, SECRET) == set()


async def test_two_installations_in_one_process_keep_their_codecs_apart(database_url: str, tmp_path: Any) -> None:
    other_url = f"sqlite:///{tmp_path / 'other.db'}"
    async with (
        an_engine(database_url, EncryptedPayloads(OLD)) as one,
        an_engine(other_url, EncryptedPayloads(NEW)) as other,
        an_engine(f"sqlite:///{tmp_path / 'plain.db'}") as plain,
    ):
        for engine in (one, other, plain):
            run = await engine.start(sell, SECRET)
            async with engine.database.session() as session:
                await emit_event("paid", {"sum": SECRET}, session=session)
            engine.poke()
            assert json.loads(await engine.wait_for_completion(run.id)) == SOLD

    old, new = EncryptedPayloads(OLD), EncryptedPayloads(NEW)
    assert _all_read_by(old, await cells_of(database_url)) == {True}
    assert _all_read_by(new, await cells_of(other_url)) == {True}
    assert "toolkit_event.payload" in await places_of(f"sqlite:///{tmp_path / 'plain.db'}", SECRET)


def _all_read_by(codec: EncryptedPayloads, cells: dict[str, list[str]]) -> set[bool]:
    marked = [text for texts in cells.values() for text in texts if text.startswith(MARK)]
    assert marked
    return {bool(codec.decode(base64.b64decode(text.removeprefix(MARK)))) for text in marked}
