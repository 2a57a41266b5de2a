"""Amounts in the database: exact to the cent in both dialects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Dialect, Numeric, String
from sqlalchemy.types import TypeDecorator, TypeEngine

from examples.invoice.arithmetic import to_cent


class Money(TypeDecorator[Decimal]):
    """NUMERIC(20, 2) on PostgreSQL. SQLite knows no decimals and would make floats of them, so there it is text."""

    impl = Numeric(20, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(String(24) if is_sqlite else Numeric(20, 2))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        cents = to_cent(value)
        return f"{cents:f}" if dialect.name == "sqlite" else cents

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)
