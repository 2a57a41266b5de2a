"""Whoever plants a link in the folder of a storage reads nothing and writes nothing outside of it."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from toolkit.errors import StorageError
from toolkit.files.folders import FolderStorage

DAY = "2026/01/31"
KEY = f"{DAY}/01900000-0000-7000-8000-000000000001"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / Path(KEY).name).write_bytes(b"secret")
    return outside


@pytest.fixture
def storage(folder: Path) -> FolderStorage:
    folder.mkdir()
    return FolderStorage("default", folder)


async def blocks() -> AsyncIterator[bytes]:
    yield b"ours"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


async def read(storage: FolderStorage, key: str) -> bytes:
    return b"".join([chunk async for chunk in storage.read(key, start=0, end=6)])


@pytest.mark.parametrize("linked", ["2026", "2026/01", "2026/01/31"])
async def test_a_link_in_the_place_of_a_folder_is_refused(
    storage: FolderStorage, folder: Path, outside: Path, linked: str
) -> None:
    (folder / linked).parent.mkdir(parents=True, exist_ok=True)
    (folder / linked).symlink_to(outside)
    before = names_in(outside)

    with pytest.raises(StorageError, match="link"):
        await storage.write(KEY, blocks())
    with pytest.raises(StorageError, match="link"):
        await read(storage, KEY)
    with pytest.raises(StorageError, match="link"):
        await storage.delete(KEY)

    assert names_in(outside) == before


async def test_a_link_in_the_place_of_an_object_is_refused(storage: FolderStorage, folder: Path, outside: Path) -> None:
    (folder / DAY).mkdir(parents=True)
    (folder / KEY).symlink_to(outside / Path(KEY).name)

    with pytest.raises(StorageError):
        await read(storage, KEY)

    await storage.delete(KEY)
    assert (outside / Path(KEY).name).read_bytes() == b"secret"


async def test_a_link_in_the_place_of_an_unfinished_object_is_refused(
    storage: FolderStorage, folder: Path, outside: Path
) -> None:
    (folder / DAY).mkdir(parents=True)
    (folder / f"{KEY}.part").symlink_to(outside / Path(KEY).name)

    with pytest.raises(StorageError):
        await storage.write(KEY, blocks())

    assert (outside / Path(KEY).name).read_bytes() == b"secret"
    assert await storage.list_folder(DAY) == []


async def test_a_link_is_not_listed(storage: FolderStorage, folder: Path, outside: Path) -> None:
    (folder / "2026").symlink_to(outside)

    assert await storage.list_folder("") == []


async def test_a_pipe_in_the_place_of_an_object_is_refused_at_once(storage: FolderStorage, folder: Path) -> None:
    (folder / DAY).mkdir(parents=True)
    os.mkfifo(folder / KEY)

    with pytest.raises(StorageError, match="no ordinary file"):
        await read(storage, KEY)


@pytest.mark.parametrize("key", ["../outside/x", "/etc/passwd", "a/../../outside/x", "..", "", ".", "a/.."])
async def test_a_key_that_leaves_the_folder_is_refused(storage: FolderStorage, key: str) -> None:
    with pytest.raises(StorageError):
        await read(storage, key)
    with pytest.raises(StorageError):
        await storage.write(key, blocks())


async def test_the_folder_itself_may_lie_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "files").symlink_to(tmp_path / "disk")
    storage = FolderStorage("default", tmp_path / "files")

    await storage.write(KEY, blocks())

    assert await read(storage, KEY) == b"ours"


async def test_nobody_else_on_the_machine_may_read(storage: FolderStorage, folder: Path) -> None:
    await storage.write(KEY, blocks())

    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "2026").stat().st_mode) & 0o077 == 0
