"""An upload to S3 that fails half-way is ended there too, and a server that goes away is an error for the operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import StorageError
from toolkit.files import FileStorages
from toolkit.files.buckets import BucketStorage
from toolkit.files.storages import BLOCK_BYTES

KEY = "2026/01/31/01900000-0000-7000-8000-000000000001"


async def many_blocks(count: int, then: Exception | None = None) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * BLOCK_BYTES
    if then is not None:
        raise then


async def test_the_parts_of_a_failed_upload_are_given_back(
    s3_entry: dict[str, Any], s3_options: dict[str, Any], tmp_path: Path
) -> None:
    import s3fs

    storage = FileStorages.from_configuration({"s3": s3_entry}, base_folder=tmp_path).get()
    bucket = s3_entry["url"].split("/")[2]

    with pytest.raises(ConnectionResetError):
        await storage.write(KEY, many_blocks(20, then=ConnectionResetError()))

    listed = await asyncio.to_thread(s3fs.S3FileSystem(**s3_options).call_s3, "list_multipart_uploads", Bucket=bucket)
    assert listed.get("Uploads", []) == []


async def test_a_bucket_that_is_not_there_is_a_storage_error_without_credentials(
    s3_options: dict[str, Any], tmp_path: Path
) -> None:
    entry = {"url": "s3://missing/files", "options": {**s3_options, "secret": "hush-hush"}}
    storage = FileStorages.from_configuration({"archive": entry}, base_folder=tmp_path).get()

    with pytest.raises(StorageError, match="'archive'") as raised:
        await storage.write(KEY, many_blocks(1))

    assert "hush-hush" not in str(raised.value)
    assert await storage.list_folder("") == []


async def test_a_server_that_is_not_there_is_a_storage_error(s3_options: dict[str, Any], tmp_path: Path) -> None:
    # Nothing listens on the discard port.
    entry = {
        "url": "s3://bucket/files",
        "options": {
            **s3_options,
            "endpoint_url": "http://127.0.0.1:9",
            "config_kwargs": {"retries": {"max_attempts": 0}},
        },
    }
    storage = FileStorages.from_configuration({"archive": entry}, base_folder=tmp_path).get()

    with pytest.raises(StorageError, match="could not read"):
        await anext(storage.read(KEY, start=0, end=1))


class Listing:
    """A file system of S3 that lists two pages of unfinished uploads; the server of the tests knows no times."""

    protocol = ("s3", "s3a")

    def __init__(self, *ages: timedelta) -> None:
        now = datetime.now(UTC)
        self.pages = [[{"Key": "k", "UploadId": str(at), "Initiated": now - age}] for at, age in enumerate(ages)]
        self.ended: list[str] = []

    def call_s3(self, verb: str, **where: Any) -> dict[str, Any]:
        if verb == "abort_multipart_upload":
            self.ended.append(where["UploadId"])
            return {}
        assert (where["Bucket"], where["Prefix"]) == ("bucket", "files/")
        at = int(where.get("UploadIdMarker", 0))
        is_last = at + 1 == len(self.pages)
        return {
            "Uploads": self.pages[at],
            "IsTruncated": not is_last,
            "NextKeyMarker": "k",
            "NextUploadIdMarker": at + 1,
        }


async def test_only_uploads_that_are_old_enough_are_ended() -> None:
    listing = Listing(timedelta(hours=23), timedelta(hours=25), timedelta(0), timedelta(days=9))
    storage = BucketStorage("default", listing, "bucket/files")

    assert await storage.end_unfinished(before=datetime.now(UTC) - timedelta(days=1)) == 2
    assert listing.ended == ["1", "3"]
