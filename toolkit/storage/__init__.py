"""Storage keeps rows: connections, sessions, the schema and the differences between dialects; it knows no workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.storage.commits import Deferred, GroupCommit
from toolkit.storage.connections import Connection, DataRejected, OutcomeUnknown, StorageUnavailable
from toolkit.storage.database import Database
from toolkit.storage.payloads import (
    MARK,
    CompressedPayloads,
    PayloadCodec,
    PayloadNotDecoded,
    PayloadNotEncoded,
    Payloads,
    Unencoded,
    is_encoded,
    readable,
    readable_bytes,
)
from toolkit.storage.statements import (
    PAYLOAD,
    Query,
    Request,
    Row,
    Rows,
    Script,
    Statement,
    Together,
    adapt,
    both,
    for_rows,
    insert,
    read_moment,
    update,
)

if TYPE_CHECKING:
    from toolkit.storage.sessions import is_passing, uninterrupted
    from toolkit.storage.tables import Payload, Table, UtcDateTime, payloads_of

__all__ = [
    "MARK",
    "PAYLOAD",
    "CompressedPayloads",
    "Connection",
    "DataRejected",
    "Database",
    "Deferred",
    "GroupCommit",
    "OutcomeUnknown",
    "Payload",
    "PayloadCodec",
    "PayloadNotDecoded",
    "PayloadNotEncoded",
    "Payloads",
    "Query",
    "Request",
    "Row",
    "Rows",
    "Script",
    "Statement",
    "StorageUnavailable",
    "Table",
    "Together",
    "Unencoded",
    "UtcDateTime",
    "adapt",
    "both",
    "for_rows",
    "insert",
    "is_encoded",
    "is_passing",
    "payloads_of",
    "read_moment",
    "readable",
    "readable_bytes",
    "uninterrupted",
    "update",
]


def __getattr__(name: str) -> Any:
    """Tables need SQLAlchemy, which the engine's path does without: load them when they are asked for."""
    if name in {"Payload", "Table", "UtcDateTime", "payloads_of"}:
        from toolkit.storage import tables

        return getattr(tables, name)
    if name in {"is_passing", "uninterrupted"}:
        from toolkit.storage import sessions

        return getattr(sessions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
