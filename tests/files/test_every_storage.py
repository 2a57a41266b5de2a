"""The life of a file is the same wherever its bytes lie."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from toolkit.errors import FileQuarantined, NotFound
from toolkit.files import (
    File,
    FileStorages,
    FileStore,
    RetentionRule,
    expire_files,
    migrate_files,
    release,
    sweep_orphans,
    verify_files,
)
from toolkit.files.folders import FolderStorage
from toolkit.storage import Database

CONTENT = bytes(range(256)) * 40_000


async def scan(file: File, chunks: AsyncIterator[bytes]) -> str | None:
    return "EICAR" if b"virus" in b"".join([chunk async for chunk in chunks]) else None


async def test_a_file_lives_in_every_storage_alike(
    database: Database, storages: FileStorages, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = FolderStorage("elsewhere", tmp_path_factory.mktemp("elsewhere"))
    places = FileStorages({"default": storages.get(), "elsewhere": elsewhere}, default="default")
    store = FileStore(database, places, scan=scan, stores_once=True)

    first = await store.upload(CONTENT, filename="a.bin")
    second = await store.upload(CONTENT, filename="b.bin")
    with pytest.raises(FileQuarantined) as refused:
        await store.upload(b"a virus", filename="c.txt")
    await release(store, refused.value.file_id, reason="a false alarm")
    assert [await store.read(file) for file in (first, second)] == [CONTENT, CONTENT]
    async with store.open(second, start=9_000_000, end=9_000_300) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == CONTENT[9_000_000:9_000_300]

    assert await migrate_files(store, source="default", target="elsewhere") == 3
    assert await migrate_files(store, source="elsewhere", target="default") == 3
    assert [damage async for damage in verify_files(store)] == []
    assert await store.read(first) == CONTENT

    await store.delete(first.id)
    assert await store.read(second) == CONTENT
    with pytest.raises(NotFound):
        await store.read(first)
    assert await sweep_orphans(store, older_than=timedelta(minutes=-1)) == 0
    assert await expire_files(store, [RetentionRule(keep=timedelta(minutes=-1))]) == 2
    assert await store.list_files() == []
    assert await _objects(places) == []


async def _objects(places: FileStorages) -> list[str]:
    found = list[str]()
    for place in places:
        folders = [""]
        while folders:
            for item in await place.list_folder(folders.pop()):
                (folders if item.is_folder else found).append(item.key)
    return found
