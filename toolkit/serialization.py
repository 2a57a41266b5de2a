"""Values to JSON text and back, through Pydantic, equal on return.

Payloads are JSON text, never pickle. What a type cannot carry is an error at the first encode, not a surprise
at replay.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Generic, TypeVar

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from typing_extensions import get_type_hints, is_typeddict

from toolkit.errors import InvalidInput, SerializationError
from toolkit.round_trips import Certainty, difference

T = TypeVar("T")

# Bytes and special floats have no JSON form of their own; base64 and strings come back equal.
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings")

_DECLARE = "declare the type that is really there, as a Pydantic type, or give what is declared"
_DECLARE_ALL = (
    "declare the type that is really there (in the annotation, or by return_type=); for infinities and nan in a model "
    "give it ser_json_inf_nan='strings'"
)


class Codec(Generic[T]):
    """Encodes values of one type to JSON text and decodes them again. Made by :func:`codec_for`."""

    def __init__(self, type_: Any) -> None:
        self.type = type_
        try:
            self.adapter: TypeAdapter[T] = TypeAdapter(type_, config=_CONFIG)
        except PydanticUserError:  # models and dataclasses bring a configuration of their own
            self.adapter = TypeAdapter(type_)

        self._certainty = Certainty(self.adapter.core_schema)

    def encode(self, value: T, *, advice: str = "") -> str:
        """``value`` as JSON text from which it comes back equal.

        ``advice`` says what can be done about a value that does not, where no declaration can be changed.

        Raises:
            SerializationError: the value does not fit the type, holds something that has no JSON form, or would come
                back as something else (a subclass of what is declared, a ``Decimal`` where ``Any`` is).
        """
        text = self.encode_to_compare(value, advice=advice)
        if not self._certainty.is_certain:
            self._check(text, value, advice)
        return text

    @property
    def holds_sets(self) -> bool:
        """Whether the JSON text of equal values may differ: a set has another order in each process."""
        return self._certainty.holds_sets

    def encode_to_compare(self, value: T, *, advice: str = "") -> str:
        """``value`` as JSON text that is compared and shown, and need not come back equal.

        Raises:
            SerializationError: as for :meth:`encode`, but for the last.
        """
        try:
            text = self.adapter.serializer.to_json(value, round_trip=True, warnings="error").decode()
        except (PydanticSerializationError, UnicodeDecodeError, ValueError, RecursionError) as error:
            found, wanted = self._misfit(value) or (f"a value of type {type(value).__qualname__!r}", self.type)
            raise SerializationError(
                f"{found} cannot be stored as {describe(wanted)}: {_first_line(error)}; {advice or _DECLARE}"
            ) from error
        return text

    def _misfit(self, value: Any) -> tuple[str, Any] | None:
        """Of arguments or another mapping with fields, the field that cannot be stored, and what is declared for it."""
        if not (is_typeddict(self.type) and isinstance(value, dict)):
            return None
        hints = get_type_hints(self.type)
        for name in (each for each in hints if each in value):
            try:
                codec_for(hints[name]).encode_to_compare(value[name])
            except SerializationError:
                return f"{name!r}, a value of type {type(value[name]).__qualname__!r},", hints[name]
        return None

    def _check(self, text: str, value: T, advice: str) -> None:
        try:
            # A Sequence takes a tuple and gives a list.
            place = difference(value, self.decode(text), are_lists_alike=self.type is not Any)
        except SerializationError as error:
            place = str(error).rpartition(" any more: ")[2]
        if place is not None:
            raise SerializationError(
                f"a value of type {type(value).__qualname__!r} would not come back equal from JSON as "
                f"{describe(self.type)}: {place}; {advice or _DECLARE_ALL}"
            )

    def decode(self, text: str | bytes) -> T:
        """The value of JSON ``text`` that :meth:`encode` made.

        Raises:
            SerializationError: the text does not fit the type (as it stands today).
        """
        try:
            value: T = self.adapter.validator.validate_json(text, by_alias=True, by_name=True)
        except ValidationError as error:
            raise SerializationError(
                f"stored JSON does not fit {describe(self.type)} any more: {_first_line(error)}"
            ) from error
        return value

    def parse(self, value: Any) -> T:
        """``value``, as parsed from a caller's JSON, validated in the way JSON is (``"12.50"`` is a Decimal).

        Raises:
            InvalidInput: with one entry a field.
        """
        from pydantic_core import to_json

        return self.parse_json(to_json(value))

    def parse_json(self, text: str | bytes) -> T:
        """Like :meth:`parse`, from JSON text; numbers keep all their digits."""
        try:
            return self.adapter.validate_json(text, by_alias=True, by_name=True)
        except ValidationError as error:
            raise InvalidInput(
                f"the input does not fit {describe(self.type)}: {error.error_count()} field(s) are wrong",
                errors=field_errors(error),
            ) from error

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of what :meth:`parse` accepts."""
        return self.adapter.json_schema()


def field_errors(error: ValidationError) -> list[dict[str, Any]]:
    """Pydantic's findings as ``{"loc": "lines.0.total", "msg": ..., "type": ...}``, without the values found."""
    return [
        {"loc": ".".join(str(part) for part in found["loc"]), "msg": found["msg"], "type": found["type"]}
        for found in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def storable(text: str) -> str:
    """``text`` without what no database keeps: NUL characters and halves of surrogate pairs, as scanners leave them."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def check_keys(**keys: str | None) -> None:
    """Refuse keys that not every database keeps as they are: nothing would be found by them. ``None`` is no key.

    Raises:
        InvalidInput: one holds a NUL character or half of a surrogate pair.
    """
    for name, key in keys.items():
        if key is not None and storable(key) != key:
            message = "expected no NUL character and no half of a surrogate pair, which databases do not keep"
            raise InvalidInput(
                f"{name} is {key!r}; {message}", errors=[{"loc": name, "msg": message, "type": "characters"}]
            )


def describe(type_: Any) -> str:
    """A type's name as an author would write it."""
    return getattr(type_, "__qualname__", None) or str(type_).replace("typing.", "")


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = field_errors(error)[0]
        return f"{found['loc'] or 'value'}: {found['msg']}"
    line = str(error).strip().split("\n", 1)[0]
    # What follows this heading quotes the value, which belongs into no message.
    return "it is of another type" if line == "Pydantic serializer warnings:" else line


@lru_cache(maxsize=4096)
def _cached(type_: Any) -> Codec[Any]:
    return Codec(type_)


def codec_for(type_: Any) -> Codec[Any]:
    """The codec of ``type_``, built once; an unhashable annotation gets one of its own each time."""
    try:
        return _cached(type_)
    except TypeError:
        return Codec(type_)
