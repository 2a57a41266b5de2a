"""A storage behind a connection that is cut in the middle: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.files.cable import Cable
from toolkit.access import list_audit
from toolkit.errors import FileNotStored, StorageError
from toolkit.files import FileStorages, FileStore, sweep_orphans
from toolkit.storage import Database

MEBIBYTE = 1024 * 1024
CONTENT = hashlib.sha256(b"seed").digest() * (20 * MEBIBYTE // 32)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: what is cut here is not the database."""
    return f"sqlite:///{tmp_path / 'toolkit.db'}"


@pytest.fixture
async def cable(s3_endpoint: str) -> AsyncIterator[Cable]:
    async with Cable(s3_endpoint) as cable:
        yield cable


@pytest.fixture
def store(
    database: Database, cable: Cable, s3_entry: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FileStore:
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)  # it waits longer and longer between them
    options = {**s3_entry["options"], "endpoint_url": cable.endpoint}
    options["config_kwargs"] = {"retries": {"max_attempts": 0}, "connect_timeout": 5, "read_timeout": 5}
    entry = {"url": s3_entry["url"], "options": options}
    return FileStore(database, FileStorages.from_configuration({"default": entry}, base_folder=tmp_path))


async def unfinished(options: dict[str, Any], url: str) -> list[Any]:
    import s3fs

    listed = s3fs.S3FileSystem(**options).call_s3
    return list(
        (await asyncio.to_thread(listed, "list_multipart_uploads", Bucket=url.split("/")[2])).get("Uploads", [])
    )


async def test_an_upload_survives_a_cut_and_is_whole(store: FileStore, cable: Cable) -> None:
    cable.cut_after(12 * MEBIBYTE, of="sent", heals=True)

    file = await store.upload(CONTENT, filename="scan.bin")

    assert cable.cuts == 1
    assert await store.read(file) == CONTENT


async def test_an_upload_to_a_storage_that_stays_away_leaves_nothing(
    store: FileStore, cable: Cable, database: Database, s3_entry: dict[str, Any]
) -> None:
    cable.cut_after(12 * MEBIBYTE, of="sent", heals=False)

    with pytest.raises(FileNotStored, match=r"'scan\.bin'"):
        await store.upload(CONTENT, filename="scan.bin")

    assert await store.list_files() == []
    assert await list_audit(database) == []
    cable.mend()
    assert await store.storages.get().list_folder("") == []
    # Nobody could tell the server to forget the parts that it has: the sweep does, and the next upload goes through.
    assert len(await unfinished(s3_entry["options"], s3_entry["url"])) == 1
    assert await sweep_orphans(store, older_than=timedelta(minutes=-1)) == 1
    assert await unfinished(s3_entry["options"], s3_entry["url"]) == []
    assert await store.read(await store.upload(CONTENT, filename="scan.bin")) == CONTENT


async def test_a_small_upload_to_a_storage_that_stays_away_leaves_nothing(store: FileStore, cable: Cable) -> None:
    cable.cut_after(1000, of="sent", heals=False)

    with pytest.raises(FileNotStored):
        await store.upload(CONTENT[: 2 * MEBIBYTE], filename="scan.bin")

    cable.mend()
    assert await store.list_files() == []
    assert await sweep_orphans(store, older_than=timedelta(minutes=-1)) == 0
    assert await store.storages.get().list_folder("") == []


async def test_a_download_survives_a_cut_and_is_whole(store: FileStore, cable: Cable) -> None:
    file = await store.upload(CONTENT, filename="scan.bin")
    cable.cut_after(12 * MEBIBYTE, of="received", heals=True)

    assert await store.read(file) == CONTENT
    assert cable.cuts == 1


async def test_a_download_from_a_storage_that_stays_away_is_an_error_and_never_short(
    store: FileStore, cable: Cable
) -> None:
    file = await store.upload(CONTENT, filename="scan.bin")
    cable.cut_after(12 * MEBIBYTE, of="received", heals=False)

    found = b""
    with pytest.raises(StorageError, match="could not read"):
        async with store.open(file) as chunks:
            async for chunk in chunks:
                found += chunk

    assert CONTENT.startswith(found)
    assert len(found) < len(CONTENT)
    cable.mend()
    assert await store.read(file) == CONTENT


async def test_a_deletion_while_the_storage_is_away_leaves_the_bytes_to_the_sweep(
    store: FileStore, cable: Cable
) -> None:
    file = await store.upload(b"hello", filename="a.txt")
    cable.is_cut = True

    await store.delete(file.id)

    cable.mend()
    assert await store.list_files() == []
    assert await sweep_orphans(store, older_than=timedelta(minutes=-1)) == 1
