"""Files on their way to a model: checked by size and type, read, and turned into the parts of a message.

The name of a file goes along as text, because the providers' clients send every file under a name of their own.
JSON, XML, CSV and other text becomes text, because the APIs refuse some of these types and read none of them better.
"""

from __future__ import annotations

import asyncio
import codecs
import mimetypes
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.errors import InvalidInput, LimitExceeded
from toolkit.files import File

if TYPE_CHECKING:
    from pydantic_ai.messages import UserContent

TOTAL_BYTES = 35 * 1024 * 1024
"""All files of one call together. Base64 adds a third, and OpenAI documents less than 50 MB a request."""

_OFFICE = "application/vnd.openxmlformats-officedocument."
BINARY_TYPES = frozenset(
    {
        "application/pdf",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        f"{_OFFICE}wordprocessingml.document",
        f"{_OFFICE}spreadsheetml.sheet",
        f"{_OFFICE}presentationml.presentation",
    }
)
"""What both APIs of OpenAI take as bytes."""

_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/x-yaml", "application/yaml"})
_XML_ENCODING = re.compile(rb"""\s*+<\?xml[^>]*?\bencoding\s*+=\s*+["']([A-Za-z0-9._:-]+)["']""")
_DECLARATION_BYTES = 200
_IN_A_THREAD = 1024 * 1024
"""From this size on text is decoded in a thread; less takes a few milliseconds."""

_MARKS = (  # the longer first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FIRST_CHARACTERS = (  # how "<" and "<?" of a declaration look without a mark; XML 1.0, appendix F.1
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)
# What Python knows by a name is more than encodings of documents: some take time that grows with the square of the
# length, some fail in ways of their own, some decode what is no text. What is declared is believed only among these.
_DOCUMENT_ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (
        "utf-8",
        "us-ascii",
        *(f"iso-8859-{part}" for part in range(1, 17) if part != 12),  # there is no part 12
        *(f"cp{page}" for page in (874, 932, 949, *range(1250, 1259))),  # as Windows has them
        "koi8-r",
        "koi8-u",
        "macintosh",
        "shift_jis",
        "euc-jp",
        "iso-2022-jp",
        "euc-kr",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
    )
)
_WIDE = re.compile(r"(?:utf|ucs|iso-10646-ucs)[-_]?(?:16|32|2|4)(?:[-_]?[lb]e)?", re.IGNORECASE)
"""Encodings in which no declaration could be read as ASCII: .NET's StringWriter declares utf-16 whatever it becomes."""


def files_of(input: Any, files: Iterable[File]) -> tuple[File, ...]:
    """Every file of a call, each once: the input itself, files in a list as input, then ``files``."""
    listed = input if isinstance(input, list | tuple) else [input]
    found = [item for item in (*listed, *files) if isinstance(item, File)]
    return tuple({file.id: file for file in found}.values())


def check_files(files: Sequence[File]) -> None:
    """Refuse what no model can be sent, before anything is read or paid.

    Raises:
        LimitExceeded: together they are larger than 35 MiB.
        InvalidInput: a file has a type that models do not read.
    """
    found = sum(file.size for file in files)
    if found > TOTAL_BYTES:
        raise LimitExceeded(
            f"{len(files)} file(s) of {found:,} bytes are more than the {TOTAL_BYTES:,} bytes that one agent call may "
            "send; send fewer files, or pages instead of the whole document",
            limit=TOTAL_BYTES,
            found=found,
        )
    for file in files:
        type_ = _media_type(file)
        if not _is_text(type_) and type_ not in BINARY_TYPES:
            raise InvalidInput(
                f"file {file.filename!r} is {type_!r}, which models do not read; "
                "send PDF, PNG, JPEG, WebP, GIF, an Office document or text",
                errors=[{"loc": "files", "msg": f"{type_} is not supported", "type": "media_type"}],
            )


async def read_message(prompt: str, files: Sequence[File]) -> str | list[UserContent]:
    """The user's message: the prompt, then each file with its name. ``File.read`` checks every SHA-256.

    Raises:
        InvalidInput: a text declares an encoding that is none of documents, and is not UTF-8.
    """
    from pydantic_ai.messages import BinaryContent

    if not files:
        return prompt
    parts: list[UserContent] = [prompt] if prompt else []
    for file in files:
        content = await file.read()
        type_ = _media_type(file)
        if _is_text(type_):
            parts.append(f"File {file.filename!r} ({type_}):\n{await _text(file, content)}")
        else:
            parts += [f"File {file.filename!r} ({type_}):", BinaryContent(data=content, media_type=type_)]
    return parts


def _media_type(file: File) -> str:
    declared = file.content_type.partition(";")[0].strip().lower()
    if declared in ("", "application/octet-stream", "binary/octet-stream"):
        return mimetypes.guess_type(file.filename)[0] or "application/octet-stream"
    return declared


def _is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith(("+json", "+xml"))


async def _text(file: File, content: bytes) -> str:
    try:
        return _decode(content) if len(content) < _IN_A_THREAD else await asyncio.to_thread(_decode, content)
    except UnicodeError as error:
        raise InvalidInput(
            f"file {file.filename!r} cannot be read as text: {error}; send it in UTF-8",
            errors=[{"loc": "files", "msg": "the encoding of the text is unknown", "type": "encoding"}],
        ) from error


def _decode(content: bytes) -> str:
    """Text in the encoding that its first bytes show or declare, else UTF-8, else the western European one.

    Raises:
        UnicodeError: it declares an encoding that is not known here, and is not UTF-8.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    for beginning, encoding in _FIRST_CHARACTERS:
        if content.startswith(beginning):
            return content.decode(encoding, errors="replace")
    declared = _XML_ENCODING.match(content[:_DECLARATION_BYTES])
    name = declared.group(1).decode() if declared is not None else "utf-8"
    known = _known(name)
    for encoding in filter(None, (known, "utf-8-sig")):
        try:
            return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        except UnicodeError:
            continue
    if known is None and not _WIDE.fullmatch(name):
        raise UnicodeError(f"it declares the encoding {name!r}, which is not known, and is not UTF-8")
    return content.decode("latin-1")  # which takes every byte


def _known(name: str) -> str | None:
    """The codec of an encoding that documents have, by any of its names."""
    try:
        found = codecs.lookup(name).name
    except LookupError:
        return None
    return found if found in _DOCUMENT_ENCODINGS else None
