"""The parent of every table of the toolkit, and the column types of its own: moments and payloads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData, Text
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import SQLModel

from toolkit.errors import InvalidInput
from toolkit.storage.connections import StorageUnavailable
from toolkit.storage.payloads import MARK, PayloadNotEncoded, Payloads, is_encoded, readable

# A metadata of our own: an author's `SQLModel.metadata` holds the author's tables and nothing else.
_registry = registry(
    metadata=MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
)


class Table(SQLModel, registry=_registry):
    """Parent of the toolkit's own tables; ``Table.metadata`` holds them all once their rooms are imported."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC moment: ``timestamptz`` on PostgreSQL, fixed-width ISO text on SQLite.

    SQLite has no type for a moment; text of one width sorts as time does and stays readable in a shell.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        chosen: TypeEngine[Any] = Text() if dialect.name == "sqlite" else DateTime(timezone=True)
        return dialect.type_descriptor(chosen)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment must be aware, found the naive {value!r}")
        moment = value.astimezone(UTC)
        return moment.isoformat(timespec="microseconds") if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC)


class _NotEncoded(PayloadNotEncoded, DontWrapMixin):
    """As it is: SQLAlchemy would wrap it in an error that quotes the values of the statement."""


class _Unavailable(StorageUnavailable, DontWrapMixin):
    """The codec cannot do it for now."""


class _MarkRefused(InvalidInput, DontWrapMixin):
    """A person's text would be taken for an encoded one when it is read again."""


class Payload(TypeDecorator[str]):
    """Text with business data: what the codec of the installation whose session it is makes of it."""

    impl = Text
    cache_ok = True
    _column: Any = None

    def _set_parent(self, parent: Any, outer: bool = False, **more: Any) -> None:
        super()._set_parent(parent, outer=outer, **more)
        self._column = parent

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        payloads = payloads_of(dialect)
        if value is None:
            return None
        if payloads is None:
            if is_encoded(value):
                raise _MarkRefused(f"{self._place} cannot hold a text that begins with {MARK!r}")
            return value
        try:
            return payloads.encode(value, column=self._place)
        except PayloadNotEncoded as error:
            raise _NotEncoded(error.codec, error.column, error.reason) from None
        except StorageUnavailable as error:
            raise _Unavailable(str(error)) from error

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        payloads = payloads_of(dialect)
        if value is None or payloads is None:
            return readable(value, what=self._place)
        return payloads.decode(value, what=self._place)

    @property
    def _place(self) -> str:
        return "a payload" if self._column is None else f"the column {self._column}"


def payloads_of(dialect: Dialect) -> Payloads | None:
    """What encodes the payloads of the installation whose sessions have this dialect; each has one of its own."""
    found: Payloads | None = getattr(dialect, "payloads", None)
    return found
