"""Column types for what both dialects must give back as they got it: decimals to the last digit, and small models."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Dialect, Numeric, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from toolkit.serialization import codec_for


class ExactDecimal(TypeDecorator[Decimal]):
    """A ``Decimal`` of ``precision`` digits, ``scale`` of them after the point: ``Field(sa_type=ExactDecimal)``.

    NUMERIC on PostgreSQL. SQLite has no decimals and would make binary floats of them, so there it is text.
    """

    impl = Numeric
    cache_ok = True

    def __init__(self, precision: int = 20, scale: int = 2) -> None:
        super().__init__(precision, scale)
        self.precision, self.scale = precision, scale

    def __repr__(self) -> str:
        return f"ExactDecimal(precision={self.precision}, scale={self.scale})"

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(Text() if is_sqlite else Numeric(self.precision, self.scale))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        kept = self._fit(Decimal(value))
        return f"{kept:f}" if dialect.name == "sqlite" else kept

    def _fit(self, value: Decimal) -> Decimal:
        # Looked at first: to round 1E+999999 would take a number of a million digits.
        if value.is_finite() and value.adjusted() < self.precision - self.scale:
            try:
                kept = value.quantize(Decimal(1).scaleb(-self.scale), context=self._context)
            except InvalidOperation:  # it would take another digit once it is rounded, so it is not what it was
                kept = None
            if kept is not None and kept == value:
                return kept if kept else abs(kept)  # no minus before a zero: what is equal is one text on SQLite
        raise ValueError(f"{value} does not fit {self.precision} digits with {self.scale} after the point")

    @property
    def _context(self) -> Context:
        """The context of a thread has 28 digits, and refuses to quantize what has more."""
        return Context(prec=self.precision, traps=[InvalidOperation])

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class JsonOf(TypeDecorator[Any]):
    """A value of ``type`` as JSON text, such as a file: ``Field(sa_type=JsonOf(File))``."""

    impl = Text
    cache_ok = True

    def __init__(self, type: Any) -> None:
        super().__init__()
        self.type = type

    def __repr__(self) -> str:
        return "Text()"  # what a migration needs to know of it

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else codec_for(self.type).encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else codec_for(self.type).decode(value)

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        return Text()  # a filter looks at the text
