"""Equal content may be stored once; each file still has a life of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from toolkit.access import list_audit
from toolkit.errors import FileQuarantined, NotFound
from toolkit.files import File, FileStorages, FileStore, migrate_files, sweep_orphans, verify_files
from toolkit.storage import Database


@pytest.fixture
def store(database: Database, tmp_path: Path) -> FileStore:
    storages = FileStorages.from_configuration(
        {"default": "file://./files", "new": "file://./new"}, base_folder=tmp_path
    )
    return FileStore(database, storages, stores_once=True)


def objects_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_files_of_equal_content_share_their_bytes_and_nothing_else(store: FileStore, folder: Path) -> None:
    first = await store.upload(b"the same", filename="first.txt")
    second = await store.upload(b"the same", filename="second.csv")
    other = await store.upload(b"another!", filename="other.txt")

    assert len(objects_in(folder)) == 2
    assert first.id != second.id
    assert (second.filename, second.content_type) == ("second.csv", "text/csv")
    assert [await store.read(file) for file in (first, second, other)] == [b"the same", b"the same", b"another!"]


async def test_bytes_go_with_the_last_file_that_has_them(store: FileStore, folder: Path) -> None:
    first, second, third = [await store.upload(b"the same", filename=name) for name in "abc"]

    await store.delete(first.id)
    assert await store.read(second) == b"the same"
    await store.delete(third.id)
    assert len(objects_in(folder)) == 1

    await store.delete(second.id)
    assert objects_in(folder) == []
    assert await store.read(await store.upload(b"the same", filename="again")) == b"the same"


async def test_deletions_and_uploads_at_once_lose_no_bytes(store: FileStore, folder: Path) -> None:
    for _ in range(5):
        old = await asyncio.gather(*[store.upload(b"the same", filename="old") for _ in range(4)])
        new = asyncio.gather(*[store.upload(b"the same", filename="new") for _ in range(4)])
        await asyncio.gather(*[store.delete(file.id) for file in old], new)

        assert await asyncio.gather(*[store.read(file) for file in new.result()]) == [b"the same"] * 4
        for file in new.result():
            await store.delete(file.id)
    # Two deletions of the last two files at once each leave the bytes to the other; those are for the sweep.
    assert await store.list_files() == []


async def test_a_move_takes_all_that_share_along(store: FileStore, tmp_path: Path) -> None:
    files = [await store.upload(content, filename="x") for content in (b"the same", b"the same", b"another!")]

    assert await migrate_files(store, source="default", target="new") == 3

    assert [await store.read(file) for file in files] == [b"the same", b"the same", b"another!"]
    assert objects_in(tmp_path / "files") == []
    assert len(objects_in(tmp_path / "new")) == 2
    assert [damage async for damage in verify_files(store)] == []


async def test_moves_and_uploads_at_once_lose_no_bytes(store: FileStore) -> None:
    files = [await store.upload(bytes([number % 3]) * 10, filename="x") for number in range(6)]

    moved = await asyncio.gather(
        *[migrate_files(store, source="default", target="new") for _ in range(3)],
        *[store.upload(bytes([number]) * 10, filename="y") for number in range(3)],
    )

    for file in [*files, *[found for found in moved if isinstance(found, File)]]:
        assert len(await store.read(file)) == 10
    assert await sweep_orphans(store) == 0


async def test_a_reader_goes_on_where_the_file_was_moved_to(store: FileStore) -> None:
    content = bytes(range(256)) * 20_000
    file = await store.upload(content, filename="x")

    async with store.open(file) as chunks:
        found = await anext(chunks)
        assert await migrate_files(store, source="default", target="new") == 1
        found += b"".join([chunk async for chunk in chunks])
    async with store.open(file.id, start=5) as chunks:
        rest = b"".join([chunk async for chunk in chunks])

    assert found == content
    assert rest == content[5:]


async def test_a_reader_that_comes_too_late_for_the_old_place_looks_again(store: FileStore) -> None:
    file = await store.upload(b"hello", filename="x")
    row = await store.rows.find(file.id)
    await migrate_files(store, source="default", target="new")

    assert b"".join([chunk async for chunk in store.chunks(row, start=1, end=5)]) == b"ello"
    await store.delete(file.id)
    with pytest.raises(NotFound):
        await store.read(file)


@pytest.mark.parametrize("damage", ["gone", "short", "long"])
async def test_bytes_that_were_lost_come_back_with_an_equal_upload(
    store: FileStore, folder: Path, database: Database, damage: str
) -> None:
    old = [await store.upload(b"the same", filename=name) for name in "ab"]
    (path,) = objects_in(folder)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"the sam" if damage == "short" else b"the same!")

    new = [await store.upload(b"the same", filename=name) for name in "cd"]

    assert [await store.read(file) for file in (*old, *new)] == [b"the same"] * 4
    assert len([path for path in objects_in(folder) if path.read_bytes() == b"the same"]) == 1
    (entry, _) = await list_audit(database, object_kind="file", object_id=old[0].id)
    assert (entry.action, entry.details) == ("file.restored", {"from": new[0].id})


async def test_what_a_scan_says_of_one_file_holds_for_that_file(store: FileStore) -> None:
    async def scan(file: File, chunks: AsyncIterator[bytes]) -> str | None:
        return "not by this name" if file.filename == "bad.txt" else None

    store.scan = scan
    good = await store.upload(b"the same", filename="good.txt")
    with pytest.raises(FileQuarantined) as refused:
        await store.upload(b"the same", filename="bad.txt")

    assert await store.read(good) == b"the same"
    with pytest.raises(FileQuarantined):
        await store.read(refused.value.file_id)
