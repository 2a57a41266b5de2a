"""Storages of every kind that a test may ask for: a folder, memory, and S3 spoken over HTTP on this machine."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from toolkit.files import FileStorages, FileStore, Storage
from toolkit.ids import new_id
from toolkit.storage import Database


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server of this test run's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_options(s3_endpoint: str) -> dict[str, Any]:
    return {"key": "test", "secret": "test", "endpoint_url": s3_endpoint, "client_kwargs": {"region_name": "us-east-1"}}


@pytest.fixture
def s3_entry(s3_options: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a storage in a new, empty bucket."""
    bucket = f"b{new_id()}"
    urlopen(Request(f"{s3_options['endpoint_url']}/{bucket}", method="PUT")).close()
    return {"url": f"s3://{bucket}/files", "options": s3_options}


@pytest.fixture(params=["folder", "memory", "s3"])
def storages(request: pytest.FixtureRequest, tmp_path: Path) -> FileStorages:
    """Storages with one new, empty place, once of each kind."""
    urls = {"folder": "file://./files", "memory": f"memory://{new_id()}"}
    entry = urls.get(request.param) or request.getfixturevalue("s3_entry")
    return FileStorages.from_configuration({"default": entry}, base_folder=tmp_path)


@pytest.fixture
def storage(storages: FileStorages) -> Storage:
    return storages.get()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def store(database: Database, tmp_path: Path) -> FileStore:
    """A store over a folder, on each kind of database."""
    return FileStore(database, FileStorages.from_configuration({"default": "file://./files"}, base_folder=tmp_path))


@pytest.fixture
def invoices() -> Path:
    """Real invoices, where this machine has them."""
    folder = Path(os.environ.get("INVOICES_DIR", "../shared/invoices"))
    if not folder.is_dir():
        # They are other people's documents, so they are not part of the project.
        pytest.skip(f"{folder} is not there; INVOICES_DIR names another folder")
    return folder
