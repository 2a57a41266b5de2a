"""The files of a form, one after the other as they come in: none waits on a disk for the ones behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header
from starlette.exceptions import HTTPException

from toolkit.errors import LimitExceeded
from toolkit.files import Upload, clean_filename

_LONGEST_BOUNDARY = 200


async def read_files(
    content_type: str, body: AsyncIterator[bytes], *, most_fields: int = 200, most_bytes: int | None = None
) -> AsyncGenerator[Upload, None]:
    """The files of a ``multipart/form-data`` body, in fields of any name; other fields are passed over.

    Each content is read while its file is the current one. What a browser sends for an input without a file, an empty
    content without a name, is no file.

    Raises:
        HTTPException: 400, the body is no form, is cut off, or has more than ``most_fields``.
        LimitExceeded: the files have more than ``most_bytes`` together; raised by the content that is one too many.
    """
    tally = _Tally(most_bytes)
    form = _Form(content_type, body, most_fields=most_fields)
    while (part := await form.next_part()) is not None:
        async with aclosing(form.content()) as content:
            if part.filename is None:
                continue
            first = await anext(content, b"")
            if first or part.filename:
                chunks = _named(part.filename, first, content, tally)
                yield Upload(content=chunks, filename=part.filename, content_type=part.content_type or None)


class _Tally:
    """The bytes of all files of a form together."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._found = 0

    def count(self, chunk: bytes) -> bytes:
        """``chunk``, if it is not too much."""
        self._found += len(chunk)
        if self._most is not None and self._found > self._most:
            raise LimitExceeded(
                f"the files have {self._found} bytes or more together, at most {self._most} are taken",
                limit=self._most,
                found=self._found,
            )
        return chunk


async def _named(filename: str, first: bytes, rest: AsyncIterator[bytes], tally: _Tally) -> AsyncGenerator[bytes, None]:
    """All chunks of a file. A body that grows too large is too large by this file."""
    try:
        yield tally.count(first)
        async for chunk in rest:
            yield tally.count(chunk)
    except LimitExceeded as error:
        name = clean_filename(filename)
        raise LimitExceeded(
            f"with the file {name!r} {error}; none of the form is kept", limit=error.limit, found=error.found
        ) from error


class _Part:
    """What the headers of a part say."""

    def __init__(self) -> None:
        self.filename: str | None = None
        self.content_type = ""
        self._name = self._value = b""

    def add_name(self, piece: bytes) -> None:
        self._name += piece

    def add_value(self, piece: bytes) -> None:
        self._value += piece

    def end_header(self) -> None:
        name, value, self._name, self._value = self._name.lower(), self._value, b"", b""
        if name == b"content-type":
            self.content_type = _text(value)
        elif name == b"content-disposition":
            _, options = parse_options_header(value)
            if b"filename" in options:
                self.filename = _text(options[b"filename"])


class _Form:
    """The parser's view of a body: parts, and pieces of the content of the current one."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes], *, most_fields: int) -> None:
        self._body = body
        self._events: deque[_Part | bytes | None] = deque()  # a part begins; a piece of its content; it ends
        self._part = _Part()
        self._left = most_fields
        self._parser = MultipartParser(
            _boundary_of(content_type),
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._part.add_name(data[start:end]),
                "on_header_value": lambda data, start, end: self._part.add_value(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": lambda: self._events.append(self._part),
                "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                "on_part_end": lambda: self._events.append(None),
            },
        )

    async def next_part(self) -> _Part | None:
        """The next part, whatever is left of the one before; ``None`` at the end of the form."""
        while True:
            while self._events:
                if isinstance(event := self._events.popleft(), _Part):
                    return event
            if not await self._feed():
                return None

    async def content(self) -> AsyncGenerator[bytes, None]:
        """The content of the part that began last."""
        while True:
            while self._events:
                event = self._events.popleft()
                if event is None:
                    return
                assert isinstance(event, bytes), "a part ends before the next begins"
                yield event
            if not await self._feed():
                return

    async def _feed(self) -> bool:
        """Parse some more of the body; false at its end."""
        chunk = await anext(self._body, b"")
        if not chunk:
            if self._parser.state != MultipartState.END:
                raise HTTPException(400, "the form is cut off: its last boundary is missing")
            return False
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise HTTPException(400, f"the form cannot be read: {error}") from error
        return True

    def _end_header(self) -> None:
        self._part.end_header()

    def _begin(self) -> None:
        self._part = _Part()
        if not self._left:
            raise HTTPException(400, "the form has too many fields")
        self._left -= 1


def _boundary_of(content_type: str) -> bytes:
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise HTTPException(400, "the form cannot be read: its Content-Type names no boundary")
    return boundary


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
