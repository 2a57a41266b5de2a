"""Payloads as a codec makes them: encrypted, compressed, whatever is not to stand in the database as it is.

What was encoded begins with a mark that no JSON text begins with, and is base64 behind it, because payloads are columns
of text. So encoded and plain payloads live side by side, and a process that cannot decode one says so instead of taking
it for something else.
"""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from toolkit.storage.connections import DataRejected, StorageUnavailable
from toolkit.storage.statements import Request, Row, Rows, Statement, Together

logger = logging.getLogger(__name__)

MARK = "\x1eencoded:"
_BYTES_MARK = MARK.encode()
# Begins what stands in the journal for a value that is kept elsewhere, and is encoded there.
_STUB = "@values:"
_LARGEST = 512 * 1024 * 1024


class PayloadCodec(Protocol):
    """Turns payloads into what is stored, and back.

    Both methods are pure and synchronous and may be called from any thread, several at a time. One that cannot do it
    for now, because a key service is away, raises :class:`~toolkit.storage.StorageUnavailable`: then it is tried again,
    as when the database is away. Any other error is for good.
    """

    def encode(self, data: bytes) -> bytes:
        """What is stored for ``data``."""
        ...

    def decode(self, data: bytes) -> bytes:
        """The data of what :meth:`encode` made, by this codec or by one that it follows."""
        ...


class PayloadNotEncoded(DataRejected):
    """The codec refused a payload, so nothing was kept; see ``codec`` and ``column``."""

    def __init__(self, codec: str, column: str, reason: str) -> None:
        super().__init__(f"the payload codec {codec} could not encode {column}: {reason}; nothing of it was stored")
        self.codec, self.column, self.reason = codec, column, reason


class PayloadNotDecoded(DataRejected):
    """A stored payload is encoded, and this process cannot decode it; ``what`` says which it is."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is encoded, and this process cannot decode it: it has no payload codec, or one without the right "
            "key; give Toolkit(payload_codec=...) the codec with every key that was ever used"
        )
        self.what = what


class Unencoded(str):
    """JSON text without business data that any process must be able to read, whatever its codec."""

    __slots__ = ()


class Payloads:
    """The payloads of one installation, as its codec has them."""

    def __init__(self, codec: PayloadCodec) -> None:
        self.codec = codec
        self.name = type(codec).__qualname__

    # Single payloads -----------------------------------------------------------------------------------------------

    def encode(self, text: str, *, column: str) -> str:
        """What ``column`` is to hold for ``text``.

        Raises:
            PayloadNotEncoded: the codec refused it.
        """
        return MARK + base64.b64encode(self._encoded(text.encode(), column)).decode("ascii")

    def decode(self, text: str, *, what: str) -> str:
        """The payload that is stored as ``text``; a plain one is itself.

        Raises:
            PayloadNotDecoded: the codec cannot read it.
        """
        found: str = self._decoded_cell(text)
        if is_encoded(found):
            raise PayloadNotDecoded(what)
        return found

    def encode_bytes(self, data: bytes, *, what: str) -> bytes:
        """What a file is to hold for ``data``.

        Raises:
            PayloadNotEncoded: the codec refused it.
        """
        return _BYTES_MARK + self._encoded(data, what)

    def decode_bytes(self, data: bytes, *, what: str) -> bytes:
        """The data that a file holds as ``data``; plain data is itself.

        Raises:
            PayloadNotDecoded: the codec cannot read it.
        """
        if not data.startswith(_BYTES_MARK):
            return data
        try:
            return self.codec.decode(data[len(_BYTES_MARK) :])
        except StorageUnavailable:
            raise
        except Exception:  # noqa: BLE001 - the codec is the author's
            raise PayloadNotDecoded(what) from None

    def _encoded(self, data: bytes, column: str) -> bytes:
        try:
            return bytes(self.codec.encode(data))
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the codec is the author's
            found = type(error).__qualname__
        # Raised out here, without the codec's own error: what that says, or keeps, may be the payload.
        raise PayloadNotEncoded(self.name, column, f"it raised {found}")

    # Statements of the engine --------------------------------------------------------------------------------------

    def encoded(self, request: Request) -> Request:
        """``request`` with its payloads encoded; a statement that has none is passed on as it is."""
        if isinstance(request, Together):
            return Together([self._encoded_rows(rows) for rows in request.requests])
        if isinstance(request, Rows):
            return self._encoded_rows(request)
        if not request.statement.payloads:
            return request
        return replace(request, parameters=self.encoded_values(request.statement, request.parameters))

    def encoded_values(self, statement: Statement, values: Sequence[Any]) -> Sequence[Any]:
        """One row of parameters with its payloads encoded."""
        if not statement.payloads:
            return values
        changed = list(values)
        for at, column in statement.payloads:
            # What has the mark was read with it, and could not be decoded here; it is handed on for those who can.
            text = changed[at]
            if text is not None and not text.startswith((MARK, _STUB)) and type(text) is not Unencoded:
                changed[at] = self.encode(text, column=f"{column!r} of the statement {statement.name!r}")
        return changed

    def decoded(self, rows: list[Row]) -> list[Row]:
        """``rows`` with their payloads decoded.

        What cannot be decoded stays as it is. A row of a transaction that many share may not fail all of it, so whoever
        reads the payload finds out, with :func:`readable`.
        """
        found = [row if not _has_mark(row) else tuple(map(self._decoded_cell, row)) for row in rows]
        unread = sum(map(_has_mark, found))
        if unread:
            logger.error(
                "Payloads cannot be decoded; is a key missing?",
                extra={"event": "payload.not_decoded", "rows": unread, "codec": self.name},
            )
        return found

    def _encoded_rows(self, request: Rows) -> Rows:
        if not request.statement.payloads:
            return request
        rows = [self.encoded_values(request.statement, row) for row in request.rows]
        return Rows(request.statement, rows, is_alone=request.is_alone)

    def _decoded_cell(self, cell: Any) -> Any:
        if type(cell) is not str or not cell.startswith(MARK):
            return cell
        try:
            return self.codec.decode(base64.b64decode(cell[len(MARK) :], validate=True)).decode()
        except StorageUnavailable:
            raise
        except Exception:  # noqa: BLE001 - the codec is the author's
            return cell


def is_encoded(text: Any) -> bool:
    """Whether ``text`` is a stored payload that nobody has decoded."""
    return isinstance(text, str) and text.startswith(MARK)


def readable(text: str | None, *, what: str) -> str | None:
    """``text``, if it is not one that this process could not decode.

    Raises:
        PayloadNotDecoded: it is; ``what`` names it.
    """
    if text is not None and text.startswith(MARK):
        raise PayloadNotDecoded(what)
    return text


def readable_bytes(data: bytes, *, what: str) -> bytes:
    """The same for the bytes of a file, where there is no codec.

    Raises:
        PayloadNotDecoded: they are encoded.
    """
    if data.startswith(_BYTES_MARK):
        raise PayloadNotDecoded(what)
    return data


def _has_mark(row: Row) -> bool:
    return any(type(cell) is str and cell.startswith(MARK) for cell in row)


class CompressedPayloads:
    """A codec that compresses, with the standard library's zlib. It keeps no secret.

    What is smaller than ``above`` bytes is stored as it is, and so is what would not become smaller.
    """

    def __init__(self, *, above: int = 1024, level: int = 6, largest: int = _LARGEST) -> None:
        """``largest`` bounds what one payload may become: a few bytes of somebody's would else fill the memory."""
        self.above, self.level, self.largest = above, level, largest

    def encode(self, data: bytes) -> bytes:
        if len(data) >= self.above:
            packed = zlib.compress(data, self.level)
            if len(packed) < len(data):
                return b"z" + packed
        return b"=" + data

    def decode(self, data: bytes) -> bytes:
        kind, rest = data[:1], data[1:]
        if kind == b"=":
            return rest
        if kind != b"z":
            raise ValueError("these bytes were not made by CompressedPayloads")
        unpacker = zlib.decompressobj()
        unpacked = unpacker.decompress(rest, self.largest)
        if not unpacker.eof:
            raise ValueError(f"the payload is cut off, or larger than {self.largest:,} bytes")
        return unpacked
