"""A reference reads from, and uploads to, the installation whose code is running."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.errors import WrongContext
from toolkit.files import File, FileMetadata, FileStore, current_store, using


async def test_a_file_is_uploaded_read_opened_and_described(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello world")

    with using(store):
        file = await File.upload(content=tmp_path / "a.txt", filename="a.csv")

        assert file.content_type == "text/csv"
        assert await file.read() == b"hello world"
        async with file.open(start=6) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == b"world"
        metadata = await file.metadata()
        assert isinstance(metadata, FileMetadata)
        assert metadata.reference() == file


async def test_the_store_is_known_in_the_tasks_of_the_block_and_forgotten_after_it(store: FileStore) -> None:
    async def look() -> FileStore:
        return current_store()

    with using(store):
        task = asyncio.create_task(look())

    assert await task is store
    with pytest.raises(WrongContext, match="using"):
        current_store()


async def test_outside_of_an_installation_a_file_says_what_is_missing() -> None:
    file = File(id="01900000-0000-7000-8000-000000000001", filename="x", content_type="a/b", size=1, sha256="a" * 64)

    with pytest.raises(WrongContext, match="running installation"):
        await file.read()
    with pytest.raises(WrongContext):
        file.open()
    with pytest.raises(WrongContext):
        await File.upload(content=b"x", filename="x")


def test_a_reference_loads_neither_fsspec_nor_a_database_library() -> None:
    code = (
        "import sys; from toolkit.files import File, using; "
        "print([name for name in ('fsspec', 'sqlalchemy', 'sqlmodel', 'puremagic', 's3fs') if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
