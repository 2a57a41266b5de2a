"""Downloads: from what is stored of a file and what a request asks to the answer's status and headers. Pure.

A stored file is somebody else's text on our own address. Three locks keep a browser from running it: it must not guess
the type, it must treat the answer as a page without rights, and only what cannot run is displayed at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from toolkit.files.detection import DISPLAYED
from toolkit.files.file import File

_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # The content never changes; whether the reader may still see it does.
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
}

# Digits are limited so that no number grows long; the header is otherwise one fixed shape. More than one range is not
# served: an answer in parts costs the server far more than the asker.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_LONGEST_HEADER = 4096


@dataclass(frozen=True)
class Delivery:
    """The answer to a download: its status, its headers, and which bytes to send (none unless 200 or 206)."""

    status: Literal[200, 206, 304, 416]
    headers: dict[str, str]
    start: int = 0
    end: int = 0


def plan_download(file: File, request_headers: Mapping[str, str] | None = None, *, inline: bool = True) -> Delivery:
    """How to answer a request for ``file``, which must come from the store and not from the asker.

    Reads ``Range``, ``If-Range`` and ``If-None-Match``. With ``inline`` false everything is offered for saving.
    """
    asked = {name.lower(): value for name, value in (request_headers or {}).items()}
    tag = f'"{file.sha256}"'
    headers = {**_SAFE, "ETag": tag}
    if _names_tag(asked.get("if-none-match", ""), tag):
        return Delivery(304, headers)
    headers |= {
        "Content-Type": _content_type(file),
        "Content-Disposition": disposition_of(file.filename, inline=inline and file.content_type in DISPLAYED),
    }
    span = _parse_range(asked.get("range", ""), size=file.size) if asked.get("if-range", tag) == tag else None
    if span is None:
        return Delivery(200, headers | {"Content-Length": str(file.size)}, start=0, end=file.size)
    start, end = span
    if start >= end:
        return Delivery(416, {**_SAFE, "Content-Range": f"bytes */{file.size}", "Content-Length": "0"})
    headers |= {"Content-Range": f"bytes {start}-{end - 1}/{file.size}", "Content-Length": str(end - start)}
    return Delivery(206, headers, start=start, end=end)


def disposition_of(filename: str, *, inline: bool) -> str:
    """``Content-Disposition`` for a name in any script.

    Source: RFC 6266, section 5 and appendix D: a plain fallback first, then the name in UTF-8 by RFC 8187.
    """
    decomposed = unicodedata.normalize("NFKD", filename).encode("ascii", errors="replace").decode()
    # Some readers decode percent signs in the fallback, and take a quoted mark for the end.
    fallback = re.sub(r"[^ !#$&+\-.0-9A-Z^_`a-z{}~(),;=@\[\]\']", "_", decomposed) or "file"
    return (
        f"{'inline' if inline else 'attachment'}; filename=\"{fallback}\"; filename*=UTF-8''{quote(filename, safe='')}"
    )


def _content_type(file: File) -> str:
    """Text is sent as UTF-8 so that no browser guesses an encoding in which other characters are markup."""
    return f"{file.content_type}; charset=utf-8" if file.content_type.startswith("text/") else file.content_type


def _names_tag(header: str, tag: str) -> bool:
    if header.strip() == "*":
        return True
    return tag in _TAG.findall(header[:_LONGEST_HEADER])


def _parse_range(header: str, *, size: int) -> tuple[int, int] | None:
    """The one range as start and end (exclusive), empty where it cannot be met; ``None`` where none is to be served.

    Source: RFC 9110, section 14.2: a range in an unknown form is as good as none.
    """
    found = _RANGE.fullmatch(header.strip()[:64])
    if found is None:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:  # the last so many bytes
        return max(size - int(last), 0), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
