"""A stored file has its row and its bytes; a failed upload has neither."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from toolkit.access import ANONYMOUS, Principal, acting_as, list_audit
from toolkit.errors import InvalidInput, LimitExceeded, NotFound, StorageError
from toolkit.files import File, FileLimits, FileStorages, FileStore
from toolkit.files import rows as rows_module
from toolkit.storage import Database, StorageUnavailable

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 10


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def objects_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def assert_nothing_is_kept(database: Database, store: FileStore, folder: Path) -> None:
    assert await store.list_files() == []
    assert await list_audit(database) == []
    assert objects_in(folder) == []


async def test_an_upload_is_measured_and_told_by_its_content(store: FileStore, folder: Path) -> None:
    with acting_as(Principal(id="ada", kind="person")):
        file = await store.upload(chunks(PDF[:3], PDF[3:1000], b"", PDF[1000:]), filename="../x/Cafe\u0301.pdf")

    assert (file.filename, file.content_type, file.size) == ("Café.pdf", "application/pdf", len(PDF))
    assert file.sha256 == hashlib.sha256(PDF).hexdigest()
    metadata = await store.metadata(file)
    assert (metadata.reference(), metadata.storage, metadata.created_by) == (file, "default", "ada")
    assert abs(datetime.now(UTC) - metadata.created_at) < timedelta(minutes=1)
    (path,) = objects_in(folder)
    assert path.relative_to(folder).as_posix() == f"{metadata.created_at:%Y/%m/%d}/{file.id}"
    assert path.read_bytes() == PDF


async def test_bytes_a_path_and_chunks_give_the_same_file(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "on disk").write_bytes(PDF)

    files = [
        await store.upload(content, filename="invoice.pdf")
        for content in (PDF, tmp_path / "on disk", chunks(PDF), bytearray(PDF))
    ]

    assert len({file.id for file in files}) == 4
    assert len({file.model_copy(update={"id": ""}) for file in files}) == 1
    assert [await store.read(file) for file in files] == [PDF] * 4


@pytest.mark.parametrize("content", ["a text", Path, 3, None, [b"x"]])
async def test_anything_else_is_no_content(database: Database, store: FileStore, folder: Path, content: Any) -> None:
    with pytest.raises(InvalidInput, match="expected bytes"):
        await store.upload(content, filename="x")

    await assert_nothing_is_kept(database, store, folder)


async def test_a_chunk_of_text_is_no_content_either(database: Database, store: FileStore, folder: Path) -> None:
    async def texts() -> AsyncIterator[Any]:
        yield b"bytes"
        yield "text"

    with pytest.raises(InvalidInput, match="'str'"):
        await store.upload(texts(), filename="x")

    await assert_nothing_is_kept(database, store, folder)


async def test_an_upload_over_every_kind_of_storage_is_read_back(database: Database, storages: FileStorages) -> None:
    store = FileStore(database, storages)
    file = await store.upload(chunks(*[PDF] * 500), filename="big.pdf")

    assert await store.read(file.id) == PDF * 500
    async with store.open(file, start=5, end=1_200_000) as parts:
        assert b"".join([part async for part in parts]) == (PDF * 500)[5:1_200_000]


async def test_an_empty_file_is_a_file(store: FileStore) -> None:
    file = await store.upload(b"", filename="empty")

    assert (file.size, file.content_type) == (0, "application/octet-stream")
    assert await store.read(file) == b""


async def test_a_stream_is_cut_off_at_the_limit(database: Database, storages: FileStorages) -> None:
    store = FileStore(database, storages, limits=FileLimits(max_bytes=3_000_000))
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100_000
            yield bytes(100_000)

    with pytest.raises(LimitExceeded) as raised:
        await store.upload(endless(), filename="bomb")

    assert raised.value.limit == 3_000_000
    assert sent < 5_000_000
    assert await store.list_files() == []
    assert await _objects(storages) == []
    assert (await store.upload(bytes(3_000_000), filename="fits")).size == 3_000_000


async def _objects(storages: FileStorages) -> list[str]:
    storage, found, folders = storages.get(), list[str](), [""]
    while folders:
        for item in await storage.list_folder(folders.pop()):
            (folders if item.is_folder else found).append(item.key)
    return found


async def test_a_client_that_goes_away_leaves_nothing(database: Database, store: FileStore, folder: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2_000_000)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.upload(broken(), filename="x")

    await assert_nothing_is_kept(database, store, folder)


async def test_an_upload_that_is_cancelled_leaves_nothing(database: Database, store: FileStore, folder: Path) -> None:
    reached = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield bytes(2_000_000)
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.upload(stuck(), filename="x"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await assert_nothing_is_kept(database, store, folder)


async def test_bytes_whose_row_is_refused_are_deleted(
    database: Database, store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr(rows_module, "record_audit", refuse)
    with pytest.raises(OperationalError):
        await store.upload(PDF, filename="x")

    await assert_nothing_is_kept(database, store, folder)


async def test_bytes_whose_row_was_kept_after_all_stay(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = store.rows.insert

    async def insert_and_lose_the_answer(row: Any, **options: Any) -> None:
        await insert(row, **options)
        raise ConnectionResetError("the answer to the commit was lost")

    monkeypatch.setattr(store.rows, "insert", insert_and_lose_the_answer)
    with pytest.raises(ConnectionResetError):
        await store.upload(PDF, filename="x")

    (metadata,) = await store.list_files()
    assert await store.read(metadata.id) == PDF
    assert len(objects_in(folder)) == 1


async def test_bytes_stay_for_the_sweep_when_the_database_cannot_say(
    store: FileStore, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("the database is away")

    monkeypatch.setattr(store.rows, "insert", gone)
    monkeypatch.setattr(store.rows, "find", gone)
    with pytest.raises(StorageUnavailable):
        await store.upload(PDF, filename="x")

    assert len(objects_in(folder)) == 1
    assert "file.leftover" in [getattr(record, "event", None) for record in caplog.records]


async def test_an_upload_is_in_the_audit_trail_without_its_name(database: Database, store: FileStore) -> None:
    file = await store.upload(PDF, filename="Dr. Ada's diagnosis.pdf")

    (entry,) = await list_audit(database)
    assert (entry.action, entry.object_kind, entry.object_id, entry.actor) == (
        "file.uploaded",
        "file",
        file.id,
        ANONYMOUS.id,
    )
    assert "diagnosis" not in str(entry.details)


@pytest.mark.parametrize(
    "change",
    [{"content_type": "text/html"}, {"filename": "x.exe"}, {"size": 1}, {"sha256": "0" * 64}],
)
async def test_a_reference_that_was_changed_is_refused(store: FileStore, change: dict[str, Any]) -> None:
    file = (await store.upload(PDF, filename="x.pdf")).model_copy(update=change)

    with pytest.raises(InvalidInput, match=next(iter(change))):
        await store.read(file)
    with pytest.raises(InvalidInput):
        await store.metadata(file)
    with pytest.raises(InvalidInput):
        async with store.open(file):
            pass


async def test_what_nobody_uploaded_is_not_found(store: FileStore) -> None:
    with pytest.raises(NotFound, match="file 'nothing'"):
        await store.get("nothing")
    with pytest.raises(NotFound):
        await store.read("../../etc/passwd")


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4), (0, 10_000), (10_000, None)])
async def test_a_range_outside_of_the_file_is_refused(store: FileStore, start: int, end: int | None) -> None:
    file = await store.upload(PDF, filename="x")

    with pytest.raises(InvalidInput):
        async with store.open(file, start=start, end=end):
            pass


@pytest.mark.parametrize("damaged", [b"", PDF[:-1], PDF[:-1] + b"x"])
async def test_bytes_that_are_not_what_was_stored_are_not_handed_out(
    store: FileStore, folder: Path, damaged: bytes
) -> None:
    file = await store.upload(PDF, filename="x")
    objects_in(folder)[0].write_bytes(damaged)

    with pytest.raises(StorageError, match="backup"):
        await store.read(file)


async def test_a_file_in_a_storage_that_is_no_longer_named_says_which(
    database: Database, store: FileStore, tmp_path: Path
) -> None:
    file = await store.upload(PDF, filename="x")
    other = FileStore(database, FileStorages.from_configuration({"new": "file://./new"}, base_folder=tmp_path))

    with pytest.raises(StorageError, match="'default'"):
        await other.read(file)


async def test_files_are_listed_newest_first_filtered_and_page_by_page(store: FileStore) -> None:
    for number in range(5):
        with acting_as(Principal(id="ada" if number % 2 else "grace", kind="person")):
            await store.upload(PDF if number < 2 else b"text", filename=str(number))

    first = await store.list_files(limit=2)
    second = await store.list_files(limit=2, after=first[-1].id)

    assert [file.filename for file in first + second] == ["4", "3", "2", "1"]
    assert [file.filename for file in await store.list_files(created_by="ada")] == ["3", "1"]
    assert [file.filename for file in await store.list_files(content_type="application/pdf")] == ["1", "0"]
    with pytest.raises(InvalidInput):
        await store.list_files(limit=0)


async def test_an_upload_may_name_its_storage(database: Database, tmp_path: Path) -> None:
    storages = FileStorages.from_configuration(
        {"default": "file://./files", "archive": "file://./archive"}, base_folder=tmp_path
    )
    store = FileStore(database, storages)

    file = await store.upload(PDF, filename="x", storage="archive")

    assert (await store.metadata(file)).storage == "archive"
    assert len(objects_in(tmp_path / "archive")) == 1
    with pytest.raises(NotFound, match="archive, default"):
        await store.upload(PDF, filename="x", storage="elsewhere")


async def test_many_uploads_at_once_all_arrive(store: FileStore) -> None:
    contents = [bytes([number]) * 300_000 for number in range(20)]

    files = await asyncio.gather(*[store.upload(content, filename="x") for content in contents])

    assert await asyncio.gather(*[store.read(file) for file in files]) == contents


def test_a_reference_is_small_and_survives_json() -> None:
    file = File(id="01900000-0000-7000-8000-000000000001", filename="x", content_type="a/b", size=1, sha256="a" * 64)

    assert File.model_validate_json(file.model_dump_json()) == file
    assert set(File.model_fields) == {"id", "filename", "content_type", "size", "sha256"}
