"""A file that a live run or an open task needs is kept, also where nobody can look into their payloads in SQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.payloads.codecs import EncryptedPayloads
from tests.payloads.dumps import places_of
from tests.workflows.conftest import until_state
from toolkit import Toolkit
from toolkit.app import file_references
from toolkit.config import Settings
from toolkit.errors import FileInUse
from toolkit.files import File
from toolkit.storage import PayloadNotDecoded
from toolkit.workflows import RunState, step, wait_for_event, workflow


@step()
async def derive() -> File:
    return await File.upload(content=b"derived", filename="derived.txt")


@workflow()
async def read(given: File) -> str:
    derived = await derive()
    await wait_for_event("read")
    return derived.id


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings.of({"database": {"url": database_url}}, folder=tmp_path)


def make_app(codec: Any = None) -> Toolkit:
    return Toolkit("Papers", payload_codec=codec).register_workflow(read)


async def test_files_of_live_runs_are_kept_and_others_go(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_references, "_PAGE", 3)  # so that there are several
    app = make_app(EncryptedPayloads(Fernet.generate_key()))
    async with app.running(settings=settings):
        engine, store = app.services.engine, app.services.files
        given, free = [await File.upload(content=name.encode(), filename=name) for name in ("given", "free")]
        others = [
            await engine.start(read, await File.upload(content=str(at).encode(), filename="other")) for at in range(7)
        ]
        run = await engine.start(read, given)
        for each in (*others, run):
            await until_state(engine, each.id, RunState.SUSPENDED)
        (derived,) = [found for found in await engine.list_steps(run.id) if found.name == "derive"]
        derived_file = next(
            file for file in await store.list_files(filename="derived") if file.id in str(derived.result)
        )

        for file in (given, derived_file.reference()):
            with pytest.raises(FileInUse) as refused:
                await store.delete(file.id)
            assert refused.value.details["references"] == [f"run {run.id}"]
        await store.delete(free.id)
        places = await places_of(database_url, given.id)
        assert not any(place.startswith(("toolkit_run.", "toolkit_step.", "toolkit_wait.")) for place in places)
        await engine.emit_event("read")
        await asyncio.gather(*(each.result() for each in (*others, run)))
        await store.delete(given.id)


async def test_without_the_codec_nobody_knows_so_nothing_goes(settings: Settings) -> None:
    app = make_app(EncryptedPayloads(Fernet.generate_key()))
    async with app.running(settings=settings):
        given = await File.upload(content=b"given", filename="given")
        run = await app.start(read, given)
        await until_state(app.services.engine, run.id, RunState.SUSPENDED)

    app = make_app()
    async with app.running(settings=settings, with_worker=False):
        with pytest.raises(PayloadNotDecoded, match=f"a payload of the run {run.id}"):
            await app.services.files.delete(given.id)
        assert await app.services.files.read(given) == b"given"
