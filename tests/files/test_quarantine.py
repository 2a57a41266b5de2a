"""With a scan, nobody reads a file before the scan has let it pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest

from toolkit.access import list_audit
from toolkit.errors import ConfigurationError, FileQuarantined, StorageError
from toolkit.files import File, FileStorages, FileStore, Route, release, rescan
from toolkit.storage import Database


async def test_what_the_scan_refuses_is_kept_from_everybody_until_it_is_released(
    store: FileStore, database: Database
) -> None:
    async def scan(file: File, chunks: AsyncIterator[bytes]) -> str | None:
        return "EICAR" if b"virus" in b"".join([chunk async for chunk in chunks]) else None

    store.scan = scan
    clean = await store.upload(b"hello", filename="a.txt")
    with pytest.raises(FileQuarantined, match=r"'b\.txt'.*EICAR") as refused:
        await store.upload(b"a virus", filename="b.txt")
    bad = refused.value.file_id

    assert await store.read(clean) == b"hello"
    assert [file.id for file in await store.list_files(state="quarantined")] == [bad]
    for read in (store.read(bad), store.open(bad).__aenter__()):
        with pytest.raises(FileQuarantined):
            await read

    await release(store, bad, reason="a false alarm")
    assert await store.read(bad) == b"a virus"
    actions = [entry.action for entry in await list_audit(database, object_kind="file", object_id=bad)]
    assert actions == ["file.released", "file.quarantined", "file.uploaded"]


async def test_a_file_whose_scan_failed_is_scanned_again(store: FileStore) -> None:
    answers = [True, False]

    async def scan(file: File, chunks: AsyncIterator[bytes]) -> str | None:
        if answers.pop(0):
            raise ConnectionError("the scanner is away")
        return None

    store.scan = scan
    with pytest.raises(StorageError, match=r"'a\.txt' could not be scanned"):
        await store.upload(b"hello", filename="a.txt")
    (file,) = await store.list_files()
    with pytest.raises(FileQuarantined, match="waits"):
        await store.read(file.id)

    assert await rescan(store, older_than=timedelta(0)) == 1
    assert await store.read(file.id) == b"hello"


async def test_a_release_holds_whatever_a_scan_finds_that_was_under_way(store: FileStore, database: Database) -> None:
    is_away = True
    begun, told = asyncio.Event(), asyncio.Event()

    async def scan(file: File, chunks: AsyncIterator[bytes]) -> str | None:
        if is_away:
            raise ConnectionError("the scanner is away")
        begun.set()
        await told.wait()
        return "EICAR"

    store.scan = scan
    with pytest.raises(StorageError):
        await store.upload(b"hello", filename="a.txt")
    (file,) = await store.list_files()
    is_away = False
    rescanning = asyncio.create_task(rescan(store, older_than=timedelta(0)))
    await begun.wait()
    await release(store, file.id, reason="a false alarm")
    told.set()

    assert await rescanning == 1
    assert await store.read(file.id) == b"hello"
    actions = [entry.action for entry in await list_audit(database, object_kind="file", object_id=file.id)]
    assert actions == ["file.released", "file.uploaded"]


async def test_a_route_says_where_a_new_file_goes(database: Database, tmp_path: Path) -> None:
    routes = [Route(storage="pictures", content_type="image/*"), Route(storage="tables", filename="*.csv")]
    found = {name: f"file://./{name}" for name in ("default", "pictures", "tables")}
    store = FileStore(database, FileStorages.from_configuration(found, base_folder=tmp_path, routes=routes))

    files = [
        await store.upload(b"\x89PNG\r\n\x1a\n" + b"\x00" * 9, filename="not-a-picture.csv"),
        await store.upload(b"a,b\n1,2\n", filename="A.CSV"),
        await store.upload(b"hello", filename="picture.png"),
        await store.upload(b"", filename="empty"),
    ]

    stored = [(await store.metadata(file)).storage for file in files]
    assert stored == ["pictures", "tables", "default", "default"]
    with pytest.raises(ConfigurationError, match="'nowhere'"):
        FileStorages.from_configuration(found, base_folder=tmp_path, routes=[Route(storage="nowhere")])


async def test_a_storage_that_signs_addresses_gives_the_bytes_out_itself(
    database: Database, tmp_path: Path, s3_entry: dict[str, object]
) -> None:
    def fetch(address: str) -> tuple[bytes, str | None]:
        with urlopen(address) as answer:
            return answer.read(), answer.headers["content-disposition"]

    for redirects in (True, False):
        storages = FileStorages.from_configuration(
            {"default": {**s3_entry, "redirect": redirects}}, base_folder=tmp_path
        )
        store = FileStore(database, storages)
        file = await store.upload(b"hello", filename="a.txt")

        signed = await store.sign(await store.metadata(file), disposition='attachment; filename="a.txt"')

        if redirects:
            assert signed is not None
            assert await asyncio.to_thread(fetch, signed) == (b"hello", 'attachment; filename="a.txt"')
        else:
            assert signed is None


async def test_files_are_found_by_what_is_known_of_them(store: FileStore) -> None:
    first = await store.upload(b"hello", filename="Invoice 7%.txt")
    second = await store.upload(b"\x89PNG\r\n\x1a\n" + b"\x00" * 90, filename="a.png")
    made_at = (await store.metadata(second)).created_at

    async def found(**filters: object) -> list[str]:
        return [file.id for file in await store.list_files(**filters)]  # type: ignore[arg-type]

    assert await found(filename="INVOICE") == [first.id]
    assert await found(filename="7%") == [first.id]
    assert await found(filename="_") == []
    assert await found(content_type="image/*") == [second.id]
    assert await found(sha256=first.sha256) == [first.id]
    assert await found(size_from=6) == [second.id]
    assert await found(size_to=5) == [first.id]
    assert await found(created_before=made_at) == [first.id]
    assert await found(created_from=made_at) == [second.id]
    assert await found(storage="default", state="stored") == [second.id, first.id]
