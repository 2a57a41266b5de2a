"""The files of a form come out as they went in, however the network cuts the body into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from toolkit.api.form_files import read_files

TYPE = "multipart/form-data; boundary=xYz"
TRICKY = [b"", b"\r", b"\r\n", b"\r\n--xY", b"--xYz", b"\r\n--xYz"[:-1] * 40, b"\x00" * 3000, bytes(range(256))]


def part(content: bytes, disposition: str, *, content_type: str = "") -> bytes:
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f'--xYz\r\nContent-Disposition: form-data; name="f"{disposition}\r\n{kind}\r\n'.encode() + content + b"\r\n"


def form_of(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xYz--\r\n"


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, *, size: int = 65536, content_type: str = TYPE) -> list[tuple[str, str | None, bytes]]:
    found = []
    async for upload in read_files(content_type, pieces(body, size)):
        assert isinstance(upload.content, AsyncIterator)
        found.append((upload.filename, upload.content_type, b"".join([chunk async for chunk in upload.content])))
    return found


@given(contents=st.lists(st.sampled_from(TRICKY) | st.binary(max_size=300), max_size=4), size=st.integers(1, 400))
def test_contents_survive_any_cut(contents: list[bytes], size: int) -> None:
    body = form_of(*[part(content, f'; filename="{at}.bin"') for at, content in enumerate(contents)])

    found = asyncio.run(read(body, size=size))

    assert found == [(f"{at}.bin", None, content) for at, content in enumerate(contents)]


async def test_a_field_and_an_input_without_a_file_are_passed_over() -> None:
    body = form_of(
        part(b"text", ""),
        part(b"", '; filename=""', content_type="application/octet-stream"),
        part(b"data", '; filename=""', content_type="text/plain"),
        part(b"", '; filename="empty.txt"', content_type="text/plain"),
    )

    assert await read(body, size=7) == [("", "text/plain", b"data"), ("empty.txt", "text/plain", b"")]


async def test_a_content_that_nobody_reads_does_not_run_into_the_next() -> None:
    body = form_of(part(b"a" * 10_000, '; filename="a"'), part(b"b", '; filename="b"'))

    names = [upload.filename async for upload in read_files(TYPE, pieces(body, 100))]

    assert names == ["a", "b"]


async def test_names_of_any_script_are_read() -> None:
    body = form_of(part(b"x", '; filename="Rechnung für 請求書.pdf"')) + b"an epilogue that means nothing"
    latin = form_of(part(b"x", '; filename="Stra\udcdfe.pdf"'.encode(errors="surrogateescape").decode("latin-1")))

    assert (await read(body))[0][0] == "Rechnung für 請求書.pdf"
    assert len(await read(latin)) == 1


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (form_of(part(b"x", '; filename="a"'))[:-6], TYPE, "cut off"),
        (part(b"x" * 500, '; filename="a"')[:300], TYPE, "cut off"),
        (b"", TYPE, "cut off"),
        (b"no form at all", TYPE, "cannot be read"),
        (b"--xYz\r\nBad Header\x00: x\r\n\r\n", TYPE, "cannot be read"),
        (b"--xYz\r\n" + b"a: b\r\n" * 50 + b"\r\n", TYPE, "cannot be read"),
        (b"--xYz\r\na: " + b"b" * 10_000 + b"\r\n\r\n", TYPE, "cannot be read"),
        (form_of(*[part(b"x", "") for _ in range(300)]), TYPE, "too many"),
        (form_of(), "multipart/form-data", "boundary"),
        (form_of(), f"multipart/form-data; boundary={'x' * 300}", "boundary"),
    ],
)
async def test_what_is_no_form_is_refused(body: bytes, content_type: str, says: str) -> None:
    with pytest.raises(HTTPException, match=says) as refused:
        await read(body, content_type=content_type, size=64)

    assert refused.value.status_code == 400
