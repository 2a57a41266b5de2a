"""Files on their way to a model: checked by size and type, read, and turned into the parts of a message.

The name of a file goes along as text, because the providers' clients send every file under a name of their own.
JSON, XML, CSV and other text becomes text, because the APIs refuse some of these types and read none of them better.
"""

from __future__ import annotations

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
_XML_ENCODING = re.compile(rb"""<\?xml[^>]*encoding=["']([A-Za-z0-9._-]+)["']""")


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
    """The user's message: the prompt, then each file with its name. ``File.read`` checks every SHA-256."""
    from pydantic_ai.messages import BinaryContent

    if not files:
        return prompt
    parts: list[UserContent] = [prompt] if prompt else []
    for file in files:
        content = await file.read()
        type_ = _media_type(file)
        if _is_text(type_):
            parts.append(f"File {file.filename!r} ({type_}):\n{_decode(content)}")
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


def _decode(content: bytes) -> str:
    """Text in the encoding that it declares, else UTF-8, else the western European one that never fails."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    declared = _XML_ENCODING.search(content[:200])
    for encoding in (declared.group(1).decode() if declared else "utf-8-sig", "utf-8-sig"):
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("latin-1")
