"""Detection: what a content is, by what it shows and never by what its sender says.

The types that a browser displays are told by rules of our own, which are narrow: text in which anything looks like
markup is taken for markup. For the many others there is ``puremagic``, whose word never makes a file one of those.
"""

from __future__ import annotations

import json
import re
from typing import Final

from toolkit.files.names import suffix_of

HEAD_BYTES: Final = 64 * 1024
"""How much of the beginning of a content :func:`detect` wants to see."""

UNKNOWN: Final = "application/octet-stream"

DISPLAYED: Final = frozenset({"application/pdf", "image/png", "image/jpeg", "image/webp", "image/gif", "text/plain"})
"""What may be shown within our own pages."""

# Finer names that a filename or an author may give to what the content only shows roughly. None of them is displayed.
_FINER: Final = {
    "text/plain": {
        ".csv": "text/csv",
        ".tsv": "text/tab-separated-values",
        ".md": "text/markdown",
    },
    "application/zip": {
        ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        ".odt": "application/vnd.oasis.opendocument.text",
        ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    },
}

_SIGNATURES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBPVP", re.DOTALL), "image/webp"),
    (re.compile(rb"PK(\x03\x04|\x05\x06)"), "application/zip"),
    (re.compile(rb"\x1f\x8b"), "application/gzip"),
)
# Readers take a PDF whose mark stands a little below the beginning; browsers do too.
_PDF_MARK_WITHIN = 1024
_PDF_MARK = b"%PDF-"

# puremagic: a tenth for each byte of the signature that fits.
_PROOF = 0.3

_BYTE_ORDER_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# No text has these: what is below the space, without tab, line ends, form feed and the escape of terminals.
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
# Whoever uploads writes what these patterns search, so none may take long: what can be read in two ways is atomic.
# Anything in which a browser could find something to run, wherever in a text it stands.
_ACTIVE_MARKUP = re.compile(
    r"<(?:!doctype\s+html|html|head|body|script|iframe|object|embed|img|style|link|meta|base|form|a\s"
    r"|[\w:-]+\s[^<>]*\bon\w+\s*=)",
    re.IGNORECASE,
)
_SVG = re.compile(r"<(?:[\w-]+:)?svg[\s>/]|http://www\.w3\.org/2000/svg", re.IGNORECASE)
# What may stand before the root of an XML document, and then the root.
_XML = re.compile(
    r"(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*+(?:\[.*?\]\s*+)?>)*+<[A-Za-z_][\w.:-]*+[\s/>]", re.DOTALL
)
_XHTML = re.compile(r"http://www\.w3\.org/1999/xhtml", re.IGNORECASE)
_JSON_BEGINNING = re.compile(r'\s*+(?:\{\s*+"|\[\s*+["\[{\d-])')
_MAIL_FIELD = re.compile(r"^([!-9;-~]+):", re.MULTILINE)
# Every mail that was ever sent has one of these; a letter that begins with "From:" and "To:" does not.
_MAIL_FIELDS = frozenset({"received", "return-path", "message-id", "mime-version"})


def detect(head: bytes, *, filename: str = "", declared: str | None = None) -> str:
    """The content type of what begins with ``head`` (``HEAD_BYTES`` of it, or all if it is shorter).

    ``filename`` and ``declared`` choose among the finer names of what was found, such as CSV for plain text.
    """
    found = _detect_binary(head) or _detect_text(head) or _ask_puremagic(head)
    finer = _FINER.get(found, {})
    named = (declared or "").partition(";")[0].strip().lower()  # a sender may add a charset to it
    if named in finer.values():
        return named
    return finer.get(suffix_of(filename), found)


def _detect_binary(head: bytes) -> str | None:
    for signature, content_type in _SIGNATURES:
        if signature.match(head):
            return content_type
    mark = head.find(_PDF_MARK, 0, _PDF_MARK_WITHIN)
    # A mark below markup is an HTML page that wants to be let in as a PDF.
    if mark >= 0 and b"<" not in head[:mark]:
        return "application/pdf"
    return None


def _detect_text(head: bytes) -> str | None:
    text = _decode(head)
    if not text or _NOT_TEXT.search(text):
        return None
    if _is_mail(text):
        return "message/rfc822"
    if _is_json(text, is_whole=len(head) < HEAD_BYTES):
        return "application/json"
    if _SVG.search(text):
        return "image/svg+xml"
    if _XML.match(text) and (text.lstrip().startswith("<?xml") or not _ACTIVE_MARKUP.search(text)):
        return "application/xhtml+xml" if _XHTML.search(text) else "application/xml"
    return "text/html" if _ACTIVE_MARKUP.search(text) else "text/plain"


def _decode(head: bytes) -> str:
    """``head`` as text. Bytes that are not UTF-8 pass for Latin-1, which every byte is; what is no text shows there."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, errors="replace")
    for cut in range(4 if len(head) == HEAD_BYTES else 1):  # a head may end within a character
        try:
            return head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
    text = head.decode("latin-1")
    # Between 0x80 and 0x9f Latin-1 has control characters and Windows has quotes and dashes: a few are text.
    odd = sum("\x7f" <= character <= "\x9f" for character in text)
    return text if odd * 20 <= len(text) else "\x00"


def _is_mail(text: str) -> bool:
    """Whether a mail begins here: lines ``Name: value``, among them ``From`` and one that only mails have."""
    header = re.split(r"\r?\n\r?\n", text.lstrip("\r\n"), maxsplit=1)[0]
    names = {name.lower() for name in _MAIL_FIELD.findall(header)}
    return _MAIL_FIELD.match(header) is not None and "from" in names and not names.isdisjoint(_MAIL_FIELDS)


def _is_json(text: str, *, is_whole: bool) -> bool:
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    if not is_whole:
        return _JSON_BEGINNING.match(text) is not None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _ask_puremagic(head: bytes) -> str:
    import puremagic

    if not head:
        return UNKNOWN
    try:
        best = puremagic.magic_string(head)[0]
    except puremagic.PureError:
        return UNKNOWN
    found = str(best.mime_type)
    # What our own rules did not find to be text, or displayed, is neither; and two equal bytes are no proof.
    if best.confidence < _PROOF or found in DISPLAYED or found.startswith("text/") or "/" not in found:
        return UNKNOWN
    return found
