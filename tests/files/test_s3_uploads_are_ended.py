"""An upload to S3 that fails half-way is ended there too, and a server that goes away is an error for the operator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import StorageError
from toolkit.files import FileStorages
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
