from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic_ai.messages import BinaryContent, ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.agents.runs import Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, using_model
from toolkit.agents.attachments import TOTAL_BYTES
from toolkit.errors import InvalidInput, LimitExceeded, StorageError
from toolkit.files import File, FileStore

READER = Agent("read", model="m")


class Seen:
    """A model that says ok and keeps what it was sent."""

    def __init__(self) -> None:
        self.contents: list[object] = []
        self.model = FunctionModel(self._answer)

    def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        content = messages[0].parts[-1].content  # type: ignore[union-attr]
        self.contents = list(content) if isinstance(content, list | tuple) else [content]
        return ModelResponse(parts=[TextPart("ok")])


@pytest.fixture
def seen() -> Seen:
    return Seen()


def _file(size: int, content_type: str = "application/pdf", number: int = 0) -> File:
    return File(
        id=f"00000000-0000-7000-8000-{number:012d}",
        filename="r.pdf",
        content_type=content_type,
        size=size,
        sha256="0" * 64,
    )


async def test_files_together_above_the_limit_are_refused_before_anything_is_read(seen: Seen) -> None:
    files = [_file(TOTAL_BYTES // 2 + 1, number=number) for number in range(2)]

    with using_model(seen.model), pytest.raises(LimitExceeded) as caught:
        await READER("Read.", files=files)

    assert caught.value.limit == TOTAL_BYTES
    assert seen.contents == []


async def test_a_type_that_models_do_not_read_is_refused_by_name(seen: Seen) -> None:
    with using_model(seen.model), pytest.raises(InvalidInput, match=r"'r.pdf' is 'video/mp4'"):
        await READER(_file(10, "video/mp4"))


async def test_a_list_of_text_and_files_sends_each_file_once(seen: Seen, store: FileStore) -> None:
    page = await store.upload(b"%PDF-1.7 page", filename="page.pdf")
    note = await store.upload(b"a note", filename="note.txt")

    with using_model(seen.model):
        await READER(["Compare:", page, note], files=[page])

    assert seen.contents == [
        "Compare:\npage.pdf\nnote.txt",
        "File 'page.pdf' (application/pdf):",
        BinaryContent(data=b"%PDF-1.7 page", media_type="application/pdf"),
        "File 'note.txt' (text/plain):\na note",
    ]


async def test_bytes_that_are_not_the_ones_stored_are_never_sent(seen: Seen, store: FileStore, tmp_path: Path) -> None:
    page = await store.upload(b"%PDF-1.7 page", filename="page.pdf")
    for path in (tmp_path / "files").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"%PDF-1.7 evil")

    with using_model(seen.model), pytest.raises(StorageError):
        await READER(page)

    assert seen.contents == []


async def test_rows_stay_small_whatever_the_size_of_a_file(seen: Seen, store: FileStore, runs: Runs) -> None:
    page = await store.upload(_pages(), filename="page.pdf")
    runs.registry.register_model_factory("m", lambda settings: seen.model)

    await runs.call(READER, page)

    assert page.size == 10 * 1024 * 1024 + 8
    assert max(len(step.result or "") for step in (await runs.steps()).values()) < 4_000


async def test_a_large_file_read_in_three_requests_leaves_small_rows(store: FileStore, runs: Runs) -> None:
    script = ScriptedModel([call("look", id="a", letter="a")], [call("look", id="b", letter="b")], "read")
    runs.registry.register_model_factory("m", lambda settings: script.model)
    page = await store.upload(_pages(), filename="page.pdf")

    await runs.call(Agent("reader", model="m", tools=[look]), page)

    assert script.requests == 3
    rows = [f"{step.arguments}{step.result}{step.details}" for step in (await runs.steps()).values()]
    assert max(map(len, rows)) < 16 * 1024
    assert not any("eHh4eHh4" in row for row in rows)  # the bytes as base64


def look(letter: str) -> str:
    """Look something up."""
    return letter


async def _pages() -> AsyncIterator[bytes]:
    yield b"%PDF-1.7"
    for _ in range(10):
        yield b"x" * 1024 * 1024


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode(), "<a>é</a>"),  # as .NET's StringWriter says
        ('<?xml version="1.0" encoding="UTF-32LE"?><a>é</a>'.encode("latin-1"), "<a>é</a>"),
        ('<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode("utf-16"), "<a>é</a>"),
        ('<?xml version="1.0" encoding="utf-32"?><a>é</a>'.encode("utf-32"), "<a>é</a>"),
        ('<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode("utf-16-be"), "<a>é</a>"),
        ('<?xml version="1.0" encoding="utf-32"?><a>é</a>'.encode("utf-32-le"), "<a>é</a>"),
        ('<?xml version="1.0" encoding="iso-8859-15"?><a>€</a>'.encode("iso-8859-15"), "<a>€</a>"),
        ('<?xml version="1.0" encoding = "windows-1252"?><a>€</a>'.encode("cp1252"), "<a>€</a>"),
        ('<?xml version="1.0" encoding="Shift_JIS"?><a>円</a>'.encode("shift_jis"), "<a>円</a>"),
        ('<?xml version="1.0" encoding="us-ascii"?><a>é</a>'.encode(), "<a>é</a>"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><a>é</a>'.encode("utf-8-sig"), "<a>é</a>"),
        ('<?xml version="1.0" encoding="undefined"?><a>é</a>'.encode(), "<a>é</a>"),
        ("é".encode("latin-1"), "é"),
    ],
)
async def test_text_is_read_in_the_encoding_that_it_is_in(
    seen: Seen, store: FileStore, content: bytes, text: str
) -> None:
    file = await store.upload(content, filename="invoice.xml")

    with using_model(seen.model):
        await READER(file)

    assert str(seen.contents[-1]).endswith(text)


@pytest.mark.parametrize("encoding", ["punycode", "idna", "undefined", "utf-7", "raw_unicode_escape", "rot13", "zlib"])
async def test_what_is_no_encoding_of_documents_is_never_decoded(seen: Seen, store: FileStore, encoding: str) -> None:
    content = f'<?xml version="1.0" encoding="{encoding}"?><a>x-x</a>'
    file = await store.upload(content.encode(), filename="invoice.xml")

    with using_model(seen.model):
        await READER(file)

    assert str(seen.contents[-1]).endswith(content)


@pytest.mark.parametrize("size", [100, 1024 * 1024])
async def test_text_in_an_unknown_encoding_is_refused_before_anything_is_paid(
    seen: Seen, store: FileStore, size: int
) -> None:
    content = b'<?xml version="1.0" encoding="ebcdic-unheard-of"?><a>\xe9' + b"x" * size + b"</a>"
    file = await store.upload(content, filename="invoice.xml")

    with using_model(seen.model), pytest.raises(InvalidInput, match=r"'invoice.xml' cannot be read as text.*UTF-8"):
        await READER(file)

    assert seen.contents == []
