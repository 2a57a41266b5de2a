"""Two hundred hostile names go in as files: none escapes, each comes out as a label."""

from __future__ import annotations

import re
from email.message import Message
from pathlib import Path
from random import Random
from urllib.parse import quote, unquote

import pytest

from tests.api.installation import Caller, Installation
from tests.files.test_filenames_are_labels import HOSTILE, assert_is_a_label
from toolkit.files import clean_filename
from toolkit.files.folders import FolderStorage

FILES = "/toolkit/v1/files"
KEY = re.compile(r"\d{4}/\d\d/\d\d/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Half of a surrogate pair cannot be sent.
NAMES = Random(7).sample([name for name in HOSTILE if "\ud800" not in name], 200)


def form_of(names: list[str]) -> bytes:
    """A form whose names stand in it byte for byte, as no well-behaved client would write them."""
    body = b""
    for name in names:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode()
        body += b'--x\r\nContent-Disposition: form-data; name="f"; filename="' + quoted + b'"\r\n\r\nhello\r\n'
    return body + b"--x--\r\n"


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite alone: a label is a text like any other."""
    return f"sqlite:///{tmp_path / 'toolkit.db'}"


@pytest.fixture
def folder(installation: Installation) -> Path:
    storage = installation.services.files.storages.get()
    assert isinstance(storage, FolderStorage)
    return storage.root


def keys_in(folder: Path) -> list[str]:
    """The objects of the storage, beside which nothing has come to be."""
    around = {path for path in folder.parent.iterdir() if not path.name.startswith("toolkit.db")}
    assert around == {folder}
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


async def assert_nothing_escaped(call: Caller, folder: Path, *, count: int) -> None:
    kept = keys_in(folder)
    assert len(kept) == count
    assert all(KEY.fullmatch(key) for key in kept)
    listed = (await call("GET", f"{FILES}?limit=200")).json()["items"]
    assert len(listed) == count
    for file in listed:
        assert_is_a_label(file["filename"])
    for file in listed[::10]:
        header = (await call("GET", f"{FILES}/{file['id']}/content")).headers["content-disposition"]
        message = Message()
        message["Content-Disposition"] = header
        assert re.fullmatch(r"[ -~]+", header)
        assert message.get_content_disposition() in {"inline", "attachment"}
        assert unquote(header.rpartition("UTF-8''")[2]) == file["filename"]


async def test_names_of_a_form_become_labels(call: Caller, folder: Path) -> None:
    names = [name for name in NAMES if not set(name) & set("\r\n")]  # those would end the header
    for start in range(0, len(names), 100):
        headers = {"content-type": "multipart/form-data; boundary=x"}
        response = await call("POST", FILES, content=form_of(names[start : start + 100]), headers=headers)
        assert response.status_code == 201, response.text

    await assert_nothing_escaped(call, folder, count=len(names))


async def test_names_in_an_address_become_labels(call: Caller, folder: Path) -> None:
    names = [name for name in NAMES if "\x00" not in name]  # no address may hold one
    for name in names:
        address = f"{FILES}?filename={quote(name, safe='')}"
        response = await call("POST", address, content=b"hello", headers={"content-type": "text/plain"})
        assert response.status_code == 201, response.text
        assert response.json()["items"][0]["filename"] == clean_filename(name)

    await assert_nothing_escaped(call, folder, count=len(names))


@pytest.mark.parametrize(
    "key",
    ["../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "....//", "/etc/passwd", "%00", "file:%2f%2f%2fetc"],
)
async def test_an_id_is_no_path(call: Caller, key: str) -> None:
    for address in (f"{FILES}/{key}", f"{FILES}/{key}/content"):
        response = await call("GET", address)
        assert response.status_code in {307, 400, 404, 405, 422}  # 307: without the slash at its end
        assert "root:" not in response.text
