"""However large a file is, a few blocks of it are in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolkit.api.form_files import read_files
from toolkit.files import FileLimits, FileStorages, FileStore
from toolkit.storage import Database

MEBIBYTE = 1024 * 1024
SIZE = 63 * MEBIBYTE
MOST = 20 * MEBIBYTE


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileStore]:
    database = Database(f"sqlite:///{tmp_path / 'toolkit.db'}")
    await database.open()
    storages = FileStorages.from_configuration({"default": "file://./files"}, base_folder=tmp_path)
    yield FileStore(database, storages, limits=FileLimits(max_bytes=SIZE))
    await database.close()


@contextmanager
def flat() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST, f"{peak / MEBIBYTE:.1f} MiB"


async def stream(chunk: int) -> AsyncIterator[bytes]:
    for _ in range(SIZE // chunk):
        yield bytes(chunk)


@pytest.mark.parametrize("chunk", [16 * 1024, 256 * 1024, 3 * MEBIBYTE])
async def test_an_upload_and_its_download_are_never_in_memory_as_a_whole(store: FileStore, chunk: int) -> None:
    with flat():
        file = await store.upload(stream(chunk), filename="large.bin")
    count = 0
    with flat():
        async with store.open(file) as chunks:
            async for block in chunks:
                count += len(block)

    assert file.size == count == SIZE


async def test_the_files_of_a_form_are_not_either(store: FileStore) -> None:
    async def body() -> AsyncIterator[bytes]:
        for name in "ab":
            yield f'--x\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'.encode()
            async for chunk in stream(256 * 1024):
                yield chunk
            yield b"\r\n"
        yield b"--x--\r\n"

    with flat():
        files = await store.upload_all(read_files("multipart/form-data; boundary=x", body()))

    assert [file.size for file in files] == [SIZE, SIZE]
