"""A large value goes to the shared storage and comes back as it was; the journal keeps a stub."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from toolkit.agents import History
from toolkit.clock import SystemClock
from toolkit.errors import ConfigurationError, StorageError
from toolkit.files import File, FileStorages, FileStore, FileSweeper, LargeValues
from toolkit.ids import new_id
from toolkit.storage import Database

LARGE = '{"text": "' + "ü" * 1000 + '"}'


def values_in(entry: Any, tmp_path: Path) -> LargeValues:
    storages = FileStorages.from_configuration({"default": entry}, base_folder=tmp_path)
    return LargeValues(storages, clock=SystemClock(), inline_bytes=1000)


@pytest.fixture(params=["folder", "memory", "s3"])
def values(request: pytest.FixtureRequest, tmp_path: Path) -> LargeValues:
    if request.param == "s3":
        entry = request.getfixturevalue("s3_entry")
    else:
        entry = {"url": "file://./files" if request.param == "folder" else f"memory://{new_id()}"}
    return values_in({**entry, "shared": True}, tmp_path)


async def test_a_large_value_is_kept_elsewhere_and_read_back(values: LargeValues) -> None:
    stub = await values.keep(LARGE, run_id=new_id())

    assert len(stub) < 300
    assert stub.startswith("@values:default:values/")
    assert await values.fetch(stub) == LARGE


async def test_a_value_that_refers_to_a_file_stays_where_a_deletion_looks_for_it(values: LargeValues) -> None:
    file = File(id=new_id(), filename="x" * 2000, content_type="a/b", size=1, sha256="a" * 64).model_dump_json()

    assert await values.keep(file, run_id=new_id()) == file


async def test_a_value_that_refers_to_a_history_stays_where_a_deletion_looks_for_it(values: LargeValues) -> None:
    talk = History(id=new_id(), agent="x" * 2000, messages=2).model_dump_json()

    assert await values.keep(talk, run_id=new_id()) == talk


@pytest.mark.parametrize("text", ["", "null", '"@values:x"', "[1, 2]", "x" * 1000, "ü" * 500])
async def test_any_other_value_stays_what_it_is(values: LargeValues, text: str) -> None:
    assert await values.keep(text, run_id=new_id()) == text
    assert await values.fetch(text) == text


async def test_two_attempts_never_write_to_one_place(values: LargeValues) -> None:
    run_id = new_id()

    assert await values.keep(LARGE, run_id=run_id) != await values.keep(LARGE, run_id=run_id)


async def test_without_a_shared_storage_every_value_stays(tmp_path: Path) -> None:
    values = values_in({"url": "file://./files"}, tmp_path)

    assert await values.keep(LARGE, run_id=new_id()) == LARGE
    assert not (tmp_path / "files").exists()


async def test_bytes_that_were_changed_are_no_value(tmp_path: Path) -> None:
    values = values_in({"url": "file://./files", "shared": True}, tmp_path)
    stub = await values.keep(LARGE, run_id=new_id())
    (path,) = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]

    path.write_bytes(path.read_bytes().replace(b"text", b"next"))
    with pytest.raises(StorageError, match="restore"):
        await values.fetch(stub)
    path.unlink()
    with pytest.raises(StorageError):
        await values.fetch(stub)


async def test_a_sweep_deletes_the_values_that_stand_in_no_journal(values: LargeValues) -> None:
    run_id = new_id()
    kept = await values.keep(LARGE, run_id=run_id)
    await values.keep(LARGE, run_id=run_id)  # of an attempt that was killed before its checkpoint
    await values.keep(LARGE, run_id=new_id())
    asked: list[Sequence[str]] = []

    async def stubs_of(runs: Sequence[str]) -> set[str]:
        asked.append(runs)
        return {kept} if run_id in runs else set()

    now = SystemClock().now()
    assert await values.sweep(stubs_of, before=now - timedelta(hours=1)) == 0
    assert await values.sweep(stubs_of, before=now + timedelta(hours=1)) == 2
    assert await values.sweep(stubs_of, before=now + timedelta(hours=1)) == 0
    assert await values.fetch(kept) == LARGE
    assert all(run_id in runs for runs in asked)


async def test_the_sweeper_looks_after_values_and_leaves_files_alone(database: Database, tmp_path: Path) -> None:
    storages = FileStorages.from_configuration(
        {"default": {"url": "file://./files", "shared": True}}, base_folder=tmp_path
    )
    store = FileStore(database, storages)
    values = LargeValues(storages, clock=database.clock, inline_bytes=1000)
    file = await store.upload(b"hello", filename="x")
    await values.keep(LARGE, run_id=new_id())

    async def stubs_of(runs: Sequence[str]) -> set[str]:
        return set()

    sweeper = FileSweeper(database, store, orphans_after=timedelta(days=-1), values=values, stubs_of=stubs_of)

    assert await sweeper.turn() == {"rescan": 0, "retention": 0, "orphans": 0, "values": 1}
    assert await store.read(file) == b"hello"


def test_one_storage_at_most_is_shared(tmp_path: Path) -> None:
    found = {name: {"url": f"file://./{name}", "shared": True} for name in ("default", "other")}

    with pytest.raises(ConfigurationError, match="default, other"):
        FileStorages.from_configuration(found, base_folder=tmp_path)
    with pytest.raises(ConfigurationError, match="shared"):
        FileStorages.from_configuration({"default": {"url": "file://./x", "shared": "yes"}}, base_folder=tmp_path)
