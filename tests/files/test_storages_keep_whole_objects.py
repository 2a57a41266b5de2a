"""Whatever the place: an object is there whole, or it is not there."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from toolkit.errors import StorageError
from toolkit.files import Storage
from toolkit.files.storages import BLOCK_BYTES, holds

KEY = "2026/01/31/01900000-0000-7000-8000-000000000001"


async def blocks_of(content: bytes, size: int = BLOCK_BYTES) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def read(storage: Storage, key: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in storage.read(key, start=start, end=end)])


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, 20 * BLOCK_BYTES + 1])
async def test_what_was_written_is_read_back(storage: Storage, size: int) -> None:
    content = hashlib.sha256(b"seed").digest() * (size // 32 + 1)
    content = content[:size]

    await storage.write(KEY, blocks_of(content))

    assert await read(storage, KEY, 0, size) == content


@pytest.mark.parametrize("size", [1, 2, BLOCK_BYTES])
async def test_an_object_is_held_in_its_size_and_no_other(storage: Storage, size: int) -> None:
    assert not await holds(storage, KEY, size=size)
    await storage.write(KEY, blocks_of(bytes(size)))

    assert await holds(storage, KEY, size=size)
    assert not await holds(storage, KEY, size=size + 1)
    assert size == 1 or not await holds(storage, KEY, size=size - 1)


async def test_any_range_is_read_by_itself(storage: Storage) -> None:
    content = bytes(range(256)) * 50_000
    await storage.write(KEY, blocks_of(content))

    for start, end in [
        (0, 1),
        (255, 300),
        (BLOCK_BYTES - 1, BLOCK_BYTES + 1),
        (7, 9_000_000),
        (12_799_999, 12_800_000),
    ]:
        assert await read(storage, KEY, start, end) == content[start:end]
    assert await read(storage, KEY, 5, 5) == b""


async def test_two_readers_do_not_disturb_each_other(storage: Storage) -> None:
    content = bytes(range(256)) * 40_000
    await storage.write(KEY, blocks_of(content))

    found = await asyncio.gather(*[read(storage, KEY, start, len(content)) for start in (0, 1, 5_000_000)])

    assert found == [content, content[1:], content[5_000_000:]]


@pytest.mark.parametrize("written", [0, 1, 20])
async def test_nothing_is_left_of_a_write_whose_source_fails(storage: Storage, written: int) -> None:
    async def failing() -> AsyncIterator[bytes]:
        for _ in range(written):
            yield b"x" * BLOCK_BYTES
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        await storage.write(KEY, failing())

    assert await storage.list_folder("2026/01/31") == []
    with pytest.raises(StorageError):
        await read(storage, KEY, 0, 1)


@pytest.mark.parametrize("written", [0, 1, 20])
async def test_nothing_is_left_of_a_write_that_is_cancelled(storage: Storage, written: int) -> None:
    reached = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        for _ in range(written):
            yield b"x" * BLOCK_BYTES
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(storage.write(KEY, stuck()))
    await reached.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await storage.list_folder("2026/01/31") == []


async def test_a_storage_lists_its_folders_and_objects_with_their_age(storage: Storage) -> None:
    await storage.write(KEY, blocks_of(b"one"))

    (year,) = await storage.list_folder("")
    (day,) = await storage.list_folder("2026/01")
    (found,) = await storage.list_folder("2026/01/31")

    assert (year.key, year.is_folder) == ("2026", True)
    assert (day.key, day.is_folder) == ("2026/01/31", True)
    assert (found.key, found.is_folder) == (KEY, False)
    assert found.modified_at is not None
    assert found.modified_at.tzinfo is not None
    assert await storage.list_folder("1999/01/01") == []


async def test_what_was_deleted_is_gone_and_deleting_it_again_is_no_error(storage: Storage) -> None:
    await storage.write(KEY, blocks_of(b"one"))

    await storage.delete(KEY)
    await storage.delete(KEY)

    assert await storage.list_folder("2026/01/31") == []
    with pytest.raises(StorageError):
        await read(storage, KEY, 0, 3)
