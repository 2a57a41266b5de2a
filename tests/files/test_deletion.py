"""A file goes when nobody alive needs it: its row first, then its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from toolkit.access import Principal, acting_as, list_audit
from toolkit.clock import SystemClock
from toolkit.config import Settings
from toolkit.errors import ConfigurationError, FileInUse, NotFound, StorageError
from toolkit.files import (
    File,
    FileStorages,
    FileStore,
    FileSweeper,
    RetentionRule,
    expire_files,
    migrate_files,
    verify_files,
)
from toolkit.storage import Database


def bytes_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_deleted_file_leaves_neither_row_nor_bytes(store: FileStore, folder: Path, database: Database) -> None:
    file = await store.upload(b"hello", filename="a.txt")

    await store.delete(file.id)

    with pytest.raises(NotFound):
        await store.metadata(file.id)
    with pytest.raises(NotFound):
        await store.delete(file.id)
    assert bytes_in(folder) == []
    (entry, _) = await list_audit(database, object_kind="file", object_id=file.id)
    assert entry.action == "file.deleted"


async def test_a_file_that_something_refers_to_stays(store: FileStore) -> None:
    needed = await store.upload(b"hello", filename="a.txt")
    other = await store.upload(b"bye", filename="b.txt")

    async def references(file: File, session: Any) -> Sequence[str]:
        return ["run 01a1", "task 01a2"] if file.id == needed.id else []

    store.references = references

    with pytest.raises(FileInUse, match="run 01a1, task 01a2") as refused:
        await store.delete(needed.id)
    await store.delete(other.id)

    assert refused.value.details["references"] == ["run 01a1", "task 01a2"]
    assert await store.read(needed) == b"hello"


class Ahead(SystemClock):
    """A clock that can be turned."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> Any:
        return super().now() + self.ahead


@pytest.fixture
def clock(database: Database) -> Ahead:
    database.clock = clock = Ahead()
    return clock


RULES = [
    RetentionRule(keep=None, created_by="ada"),
    RetentionRule(keep=timedelta(days=30), content_type="image/*"),
    RetentionRule(keep=timedelta(days=90)),
]
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32


async def test_a_file_is_kept_as_long_as_the_first_rule_that_fits_says(
    database: Database, store: FileStore, clock: Ahead, folder: Path
) -> None:
    picture = await store.upload(PNG, filename="a.png")
    text = await store.upload(b"hello", filename="a.txt")
    with acting_as(Principal(id="ada", kind="person")):
        hers = await store.upload(PNG, filename="b.png")
    sweeper = FileSweeper(database, store, retention=RULES, orphans_after=timedelta(days=365))

    async def kept(days: int) -> set[str]:
        clock.ahead = timedelta(days=days)
        await sweeper.turn()
        return {file.id for file in await store.list_files()}

    assert await kept(29) == {picture.id, text.id, hers.id}
    assert await kept(31) == {text.id, hers.id}
    assert await kept(91) == {hers.id}
    assert await kept(3000) == {hers.id}
    assert len(bytes_in(folder)) == 1


async def test_what_something_alive_refers_to_outlives_its_rule(
    database: Database, store: FileStore, clock: Ahead
) -> None:
    await store.upload(b"hello", filename="a.txt")
    needed = ["run 01a1"]

    async def references(file: File, session: Any) -> Sequence[str]:
        return needed

    store.references = references
    clock.ahead = timedelta(days=100)

    assert await expire_files(store, RULES) == 0
    needed.clear()
    assert await expire_files(store, RULES) == 1


@pytest.mark.parametrize("rest", [[], [RetentionRule(keep=timedelta(days=30))]])
async def test_a_rule_that_keeps_longer_than_calendars_reach_ends_no_other(
    store: FileStore, clock: Ahead, rest: list[RetentionRule]
) -> None:
    await store.upload(b"hello", filename="a.txt")
    with acting_as(Principal(id="ada", kind="person")):
        hers = await store.upload(b"hello", filename="b.txt")
    clock.ahead = timedelta(days=31)

    assert await expire_files(store, [RetentionRule(keep=timedelta.max, created_by="ada"), *rest]) == len(rest)
    assert hers.id in {file.id for file in await store.list_files()}


@pytest.mark.parametrize("days", [0, 365_001])
def test_days_that_no_calendar_has_are_refused(days: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"files\.retention\.0\.days.*equal to (1|365000)"):
        Settings.of({"files": {"retention": [{"days": days}]}}, folder=tmp_path)


async def test_of_many_sweepers_one_does_a_chore_once_an_interval(
    database: Database, store: FileStore, clock: Ahead, folder: Path
) -> None:
    sweepers = [FileSweeper(database, store, every=timedelta(hours=1)) for _ in range(4)]
    place = await store.upload(b"hello", filename="a.txt")
    (path,) = bytes_in(folder)
    path.with_name("01900000-0000-7000-8000-00000000dead").write_bytes(b"left behind")

    turns = await asyncio.gather(*(sweeper.turn() for sweeper in sweepers))
    clock.ahead = timedelta(minutes=59)
    early = await sweepers[0].turn()
    clock.ahead = timedelta(days=2)
    late = await sweepers[1].turn()

    assert sorted(name for turn in turns for name in turn) == ["orphans", "rescan", "retention"]
    assert early == {}
    assert late == {"rescan": 0, "retention": 0, "orphans": 1}
    assert await store.read(place) == b"hello"


async def test_files_move_between_storages_and_are_read_all_the_while(database: Database, tmp_path: Path) -> None:
    storages = FileStorages.from_configuration({"default": "file://./old", "new": "file://./new"}, base_folder=tmp_path)
    store = FileStore(database, storages)
    files = [await store.upload(b"x" * n, filename=f"{n}.txt") for n in range(3)]

    assert await migrate_files(store, source="default", target="new") == 3
    assert await migrate_files(store, source="default", target="new") == 0

    assert [len(await store.read(file)) for file in files] == [0, 1, 2]
    assert bytes_in(tmp_path / "old") == []
    assert {file.storage for file in await store.list_files()} == {"new"}


async def test_a_file_that_is_deleted_on_its_way_does_not_end_a_move(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages = FileStorages.from_configuration({"default": "file://./old", "new": "file://./new"}, base_folder=tmp_path)
    store = FileStore(database, storages)
    files = [await store.upload(b"x" * n, filename=f"{n}.txt") for n in range(1, 4)]
    place = storages.get("new")
    write = place.write

    async def delete_the_second_meanwhile(key: str, blocks: Any) -> None:
        if len(bytes_in(tmp_path / "new")) == 1 and len(bytes_in(tmp_path / "old")) == 2:
            await store.delete(files[1].id)
        await write(key, blocks)

    monkeypatch.setattr(place, "write", delete_the_second_meanwhile)

    assert await migrate_files(store, source="default", target="new") == 2
    assert {file.id: file.storage for file in await store.list_files()} == {files[0].id: "new", files[2].id: "new"}
    assert bytes_in(tmp_path / "old") == []
    assert len(bytes_in(tmp_path / "new")) == 2


async def test_a_damaged_file_is_found_and_not_moved(database: Database, tmp_path: Path) -> None:
    storages = FileStorages.from_configuration({"default": "file://./old", "new": "file://./new"}, base_folder=tmp_path)
    store = FileStore(database, storages)
    whole = await store.upload(b"whole", filename="a.txt")
    changed = await store.upload(b"right", filename="b.txt")
    gone = await store.upload(b"there", filename="c.txt")
    for path in bytes_in(tmp_path / "old"):
        if path.read_bytes() == b"right":
            path.write_bytes(b"wrong")
        elif path.read_bytes() == b"there":
            path.unlink()

    found = [damage.file.id async for damage in verify_files(store)]
    with pytest.raises(StorageError, match="damaged"):
        await migrate_files(store, source="default", target="new")

    assert found == [changed.id, gone.id]
    assert await store.read(whole) == b"whole"
    assert (await store.metadata(changed)).storage == "default"
    assert [path.read_bytes() for path in bytes_in(tmp_path / "new")] == [b"whole"]
