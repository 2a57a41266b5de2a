"""The sweep deletes old bytes without a row, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from toolkit.files import FileStorages, FileStore, sweep_orphans
from toolkit.storage import Database

ORPHAN = "01900000-0000-7000-8000-000000000001"


def plant(path: Path, *, age: timedelta) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left behind")
    moment = time.time() - age.total_seconds()
    os.utime(path, (moment, moment))
    return path


async def test_what_a_killed_upload_left_is_deleted_after_a_day(store: FileStore, folder: Path) -> None:
    old = plant(folder / "2026/01/31" / ORPHAN, age=timedelta(hours=25))
    part = plant(folder / "2026/01/31" / f"{ORPHAN}.part", age=timedelta(days=300))
    young = plant(folder / "2026/02/01" / ORPHAN, age=timedelta(hours=23))

    assert await sweep_orphans(store) == 2
    assert [path.exists() for path in (old, part, young)] == [False, False, True]
    assert await sweep_orphans(store) == 0


async def test_what_goes_while_its_folder_is_read_does_not_end_the_sweep(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = plant(folder / "2026/01/31" / ORPHAN, age=timedelta(days=300))
    part = plant(folder / "2026/01/31" / f"{ORPHAN}.part", age=timedelta(days=300))
    scandir = os.scandir

    @contextmanager
    def complete_an_upload_meanwhile(path: Any) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(path) as entries:
            found = list(entries)
            if any(entry.name == part.name for entry in found):
                part.unlink()
            yield iter(found)

    monkeypatch.setattr(os, "scandir", complete_an_upload_meanwhile)

    assert await sweep_orphans(store) == 1
    assert not old.exists()


async def test_a_stored_file_stays_however_old(store: FileStore, folder: Path) -> None:
    file = await store.upload(b"kept", filename="x")
    metadata = await store.metadata(file)
    os.utime(folder / f"{metadata.created_at:%Y/%m/%d}" / file.id, (0, 0))

    assert await sweep_orphans(store) == 0
    assert await store.read(file) == b"kept"


@pytest.mark.parametrize(
    "path",
    [
        "readme.txt",
        f"{ORPHAN}",
        f"2026/01/{ORPHAN}",
        f"other/01/31/{ORPHAN}",
        "2026/01/31/readme.txt",
        f"2026/01/31/x/{ORPHAN}",
    ],
)
async def test_what_we_cannot_have_written_is_left_alone(store: FileStore, folder: Path, path: str) -> None:
    planted = plant(folder / path, age=timedelta(days=300))

    assert await sweep_orphans(store) == 0
    assert planted.exists()


async def test_orphans_are_found_in_every_kind_of_storage(database: Database, storages: FileStorages) -> None:
    async def content() -> object:
        yield b"left behind"

    store = FileStore(database, storages)
    kept = await store.upload(b"kept", filename="x")
    await storages.get().write(f"2026/01/31/{ORPHAN}", content())  # type: ignore[arg-type]

    assert await sweep_orphans(store) == 0
    assert await sweep_orphans(store, older_than=timedelta(minutes=-1)) == 1
    assert await store.read(kept) == b"kept"
