"""Files over REST: what went in comes out, and nothing more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from tests.api.installation import Caller, Installation
from toolkit.api.contents import respond_with
from toolkit.errors import StorageError
from toolkit.files import File, FileLimits, FileStore

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
FILES = "/toolkit/v1/files"


async def upload(call: Caller, content: bytes = PDF, filename: str = "invoice.pdf") -> dict[str, object]:
    response = await call("POST", FILES, files={"file": (filename, content, "application/pdf")})
    assert response.status_code == 201, response.text
    (file,) = response.json()["items"]
    return dict(file)


async def test_a_file_of_a_form_is_stored_and_found_again(call: Caller) -> None:
    file = await upload(call)

    listed = (await call("GET", FILES)).json()["items"]
    metadata = (await call("GET", f"{FILES}/{file['id']}")).json()
    content = await call("GET", f"{FILES}/{file['id']}/content")

    assert [entry["id"] for entry in listed] == [file["id"]]
    assert metadata["filename"] == "invoice.pdf"
    assert metadata["created_by"] == "ada"
    assert content.content == PDF
    assert content.headers["x-content-type-options"] == "nosniff"


async def test_several_files_of_one_form_come_back_in_order(call: Caller) -> None:
    parts = [("files", (f"{n}.pdf", PDF, "application/pdf")) for n in range(3)]

    response = await call("POST", FILES, files=parts)

    assert [file["filename"] for file in response.json()["items"]] == ["0.pdf", "1.pdf", "2.pdf"]


async def test_a_raw_body_is_one_file(call: Caller) -> None:
    response = await call("POST", f"{FILES}?filename=a.pdf", content=PDF, headers={"content-type": "application/pdf"})

    assert response.status_code == 201
    assert response.json()["items"][0]["size"] == len(PDF)


async def test_a_raw_body_needs_a_name(call: Caller) -> None:
    response = await call("POST", FILES, content=PDF, headers={"content-type": "application/pdf"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == "query.filename"


async def test_a_form_without_a_file_is_refused(call: Caller) -> None:
    response = await call("POST", FILES, files=[("note", (None, b"text"))])

    assert response.status_code == 422


async def test_a_form_that_cannot_be_read_is_refused(call: Caller) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}

    assert (await call("POST", FILES, content=b"--x\r\nbroken", headers=headers)).status_code in {400, 422}


async def test_a_form_above_the_limit_is_refused(call: Caller) -> None:
    parts = [("files", (f"{n}.bin", b"\x00" * 1_500_000, "application/octet-stream")) for n in range(3)]

    response = await call("POST", FILES, files=parts)

    assert response.status_code == 413
    assert response.json()["type"].endswith(":too-large")


async def test_a_range_is_answered_with_that_range(call: Caller) -> None:
    file = await upload(call)

    response = await call("GET", f"{FILES}/{file['id']}/content", headers={"range": "bytes=1-3"})

    assert response.status_code == 206
    assert response.content == b"PDF"
    assert response.headers["content-range"] == f"bytes 1-3/{len(PDF)}"


async def test_bytes_that_the_caller_has_are_not_sent_again(call: Caller) -> None:
    file = await upload(call)
    first = await call("GET", f"{FILES}/{file['id']}/content")

    again = await call("GET", f"{FILES}/{file['id']}/content", headers={"if-none-match": first.headers["etag"]})

    assert again.status_code == 304
    assert again.content == b""


async def test_what_could_run_script_is_only_downloaded(call: Caller) -> None:
    file = await upload(call, b"<html><script>alert(1)</script></html>", "page.pdf")

    response = await call("GET", f"{FILES}/{file['id']}/content?disposition=inline")

    assert response.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in response.headers["content-security-policy"]


async def test_an_unknown_file_is_not_found(call: Caller) -> None:
    unknown = "01900000-0000-7000-8000-00000000dead"

    assert (await call("GET", f"{FILES}/{unknown}")).status_code == 404
    assert (await call("GET", f"{FILES}/{unknown}/content")).status_code == 404
    assert (await call("GET", f"{FILES}/not-an-id")).status_code == 404


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=1-3"}])
async def test_a_file_whose_bytes_are_gone_is_an_error_before_the_answer_begins(
    call: Caller, store: FileStore, headers: dict[str, str]
) -> None:
    file = await upload(call)
    (key,) = await _objects(store)
    await store.storages.get().delete(key)

    response = await call("GET", f"{FILES}/{file['id']}/content", headers=headers)

    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"


async def test_an_empty_file_is_given_out(call: Caller) -> None:
    file = await upload(call, b"", "empty.txt")

    response = await call("GET", f"{FILES}/{file['id']}/content")

    assert (response.status_code, response.content) == (200, b"")


async def test_a_download_that_is_broken_off_leaves_nothing_open(call: Caller, store: FileStore) -> None:
    file = await upload(call, PDF + bytes(1_500_000))
    place, ended = store.storages.get(), list[str]()
    read = place.read

    async def read_and_tell(key: str, *, start: int, end: int) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in read(key, start=start, end=end):
                yield chunk
        finally:
            ended.append(key)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise OSError("the caller has gone")

    metadata = await store.metadata(str(file["id"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, "read", read_and_tell)
        response = await respond_with(store, metadata, {}, inline=True)
        scope = {"type": "http", "asgi": {"spec_version": "2.4"}, "method": "GET", "path": "/", "headers": []}
        with pytest.raises((ClientDisconnect, OSError)):
            await response(scope, receive, send)

    assert len(ended) == 1


async def test_files_are_listed_page_by_page(call: Caller) -> None:
    ids = [(await upload(call, PDF + str(n).encode()))["id"] for n in range(3)]

    first = (await call("GET", f"{FILES}?limit=2")).json()
    second = (await call("GET", f"{FILES}?limit=2&after={first['next']}")).json()

    assert [file["id"] for file in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None


TEXTS = [("files", ("first.txt", b"hello", "text/plain")), ("files", ("second.txt", b"a virus", "text/plain"))]


@pytest.fixture
def store(installation: Installation) -> FileStore:
    return installation.services.files


async def find_virus(file: File, chunks: AsyncIterator[bytes]) -> str | None:
    return "EICAR" if b"virus" in b"".join([chunk async for chunk in chunks]) else None


async def test_of_a_form_with_a_file_that_is_refused_nothing_is_kept(call: Caller, store: FileStore) -> None:
    too_large = [TEXTS[0], ("files", ("large.bin", b"\x00" * 2_000_001, "application/octet-stream"))]

    refused = await call("POST", FILES, files=too_large)

    assert refused.status_code == 413
    assert "'large.bin'" in refused.json()["detail"]
    assert await store.list_files() == []
    assert await _objects(store) == []


async def test_the_files_of_a_form_together_are_no_larger_than_one_may_be(call: Caller, store: FileStore) -> None:
    def parts(*sizes: int) -> list[Any]:
        return [("files", (f"{n}.bin", bytes(size), "application/octet-stream")) for n, size in enumerate(sizes)]

    refused = await call("POST", FILES, files=parts(999_999, 999_999, 3))

    assert refused.status_code == 413
    assert refused.json()["type"].endswith(":too-large")
    assert "'2.bin'" in refused.json()["detail"]
    assert await store.list_files() == []
    assert await _objects(store) == []
    assert (await call("POST", FILES, files=parts(999_999, 999_999, 2))).status_code == 201


async def test_a_file_of_a_type_that_is_not_taken_is_refused_by_its_name(call: Caller, store: FileStore) -> None:
    store.limits = FileLimits(content_types=["image/*", "text/plain"])
    page = ("files", ("harmless.txt", b"<html><script>alert(1)</script>", "text/plain"))

    refused = await call("POST", FILES, files=[TEXTS[0], page])
    taken = await call("POST", FILES, files=TEXTS)

    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"loc": "harmless.txt", "msg": "found text/html, expected image/*, text/plain", "type": "content_type"}
    ]
    assert taken.status_code == 201
    assert len(await store.list_files()) == len(await _objects(store)) == 2


async def test_more_files_than_are_taken_at_once_are_refused(call: Caller, store: FileStore) -> None:
    store.limits = FileLimits(max_files=2)

    refused = await call("POST", FILES, files=[*TEXTS, TEXTS[0]])

    assert refused.status_code == 413
    assert "more than 2 files" in refused.json()["detail"]
    assert await store.list_files() == []
    assert (await call("POST", FILES, files=TEXTS)).status_code == 201


async def test_a_file_that_the_storage_does_not_take_is_named_and_nothing_is_kept(
    call: Caller, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, place = store.storages.get().write, store.storages.get()

    async def fail_at_the_second(key: str, blocks: Any) -> None:
        monkeypatch.setattr(place, "write", refuse)
        await write(key, blocks)

    async def refuse(key: str, blocks: Any) -> None:
        raise StorageError("the disk /mnt/secret is full")

    monkeypatch.setattr(place, "write", fail_at_the_second)
    refused = await call("POST", FILES, files=TEXTS)

    assert refused.status_code == 503
    assert refused.json()["details"] == {"filename": "second.txt"}
    assert "secret" not in refused.text
    assert await store.list_files() == []
    assert await _objects(store) == []


async def test_a_form_that_is_cut_off_leaves_nothing(call: Caller, store: FileStore) -> None:
    body = b'--x\r\ncontent-disposition: form-data; name="f"; filename="a"\r\n\r\n' + b"x" * 100_000

    refused = await call("POST", FILES, content=body, headers={"content-type": "multipart/form-data; boundary=x"})

    assert refused.status_code == 400
    assert await store.list_files() == []
    assert await _objects(store) == []


async def test_a_file_in_quarantine_is_given_out_when_somebody_releases_it(call: Caller, store: FileStore) -> None:
    store.scan = find_virus
    refused = await call("POST", FILES, files=TEXTS)
    (kept,) = (await call("GET", f"{FILES}?state=quarantined")).json()["items"]
    content = f"{FILES}/{kept['id']}/content"

    assert refused.status_code == 409
    assert (kept["filename"], kept["quarantine_reason"]) == ("second.txt", "EICAR")
    assert [file.filename for file in await store.list_files()] == ["second.txt"]  # the other one went with its form
    assert (await call("GET", content)).status_code == 409

    assert (await call("POST", f"{FILES}/{kept['id']}/release", json={})).status_code == 422
    released = await call("POST", f"{FILES}/{kept['id']}/release", json={"reason": "a false alarm"})
    assert (released.status_code, released.json()["state"]) == (200, "stored")
    assert (await call("GET", content)).content == b"a virus"
    unknown = "01900000-0000-7000-8000-00000000dead"
    assert (await call("POST", f"{FILES}/{unknown}/release", json={"reason": "x"})).status_code == 404


async def test_of_a_form_whose_scan_fails_nothing_is_kept(call: Caller, store: FileStore) -> None:
    async def fail_at_the_second(file: File, chunks: AsyncIterator[bytes]) -> str | None:
        if file.filename == "second.txt":
            raise ConnectionError("the scanner is away")
        return None

    store.scan = fail_at_the_second
    refused = await call("POST", FILES, files=TEXTS)

    assert refused.status_code == 503
    assert await store.list_files() == []
    assert await _objects(store) == []


async def test_a_storage_that_signs_is_where_a_download_is_sent(
    call: Caller, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await upload(call, b"<html>", "page.html")
    asked: dict[str, Any] = {}

    async def sign(key: str, **how: Any) -> str:
        asked.update(how)
        return "https://bucket.example.com/object?signature=s"

    monkeypatch.setattr(store.storages.get(), "sign", sign)
    response = await call("GET", f"{FILES}/{file['id']}/content?disposition=inline")

    assert response.status_code == 307
    assert response.headers["location"] == "https://bucket.example.com/object?signature=s"
    assert (response.headers["cache-control"], response.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert asked["disposition"].startswith("attachment;")
    assert asked["seconds"] == 300


async def _objects(store: FileStore) -> list[str]:
    found, folders = list[str](), [""]
    while folders:
        for item in await store.storages.get().list_folder(folders.pop()):
            (folders if item.is_folder else found).append(item.key)
    return found
