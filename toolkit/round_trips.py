"""Whether values come back equal from JSON: for which types that is certain, and where two values differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr

# What Pydantic's core schemas call the types whose every value comes back equal, and what only holds other schemas.
_CERTAIN_KEYS = {"str", "int", "date", "time", "datetime", "timedelta", "uuid", "enum", "literal"}
_CERTAIN = _CERTAIN_KEYS | {"bool", "none", "bytes", "url", "multi-host-url", "definition-ref"}
_HOLDERS = {
    *("list", "tuple", "set", "frozenset", "dict", "nullable", "default", "definitions", "chain"),
    *("lax-or-strict", "json-or-python", "function-after", "function-before", "function-wrap"),
    *("model", "model-fields", "model-field", "typed-dict", "typed-dict-field"),
    *("dataclass", "dataclass-args", "dataclass-field"),
}
_PARTS = (
    *("schema", "fields", "definitions", "steps", "items_schema", "keys_schema", "values_schema"),
    *("lax_schema", "strict_schema", "json_schema", "python_schema"),
)


class Certainty:
    """What a core schema says about the values of its type."""

    def __init__(self, core_schema: Mapping[str, Any]) -> None:
        self._classes: dict[type, None] = {}
        self._is_certain = self._look(core_schema)
        kinds = set(_kinds_of(core_schema))
        self.holds_sets = not kinds.isdisjoint({"set", "frozenset"})

    @property
    def is_certain(self) -> bool:
        """Whether every value comes back equal.

        An instance of a subclass would come back as one of the class that is declared, without what it had besides.
        """
        return self._is_certain and not any(class_.__subclasses__() for class_ in self._classes)

    def _look(self, schema: Mapping[str, Any]) -> bool:
        kind = schema["type"]
        if kind in _CERTAIN:
            return "serialization" not in schema
        if kind not in _HOLDERS or schema.get("serialization_exclude") or "serialization" in schema:
            return False
        if kind in {"model", "dataclass"}:
            self._classes[schema["cls"]] = None
            if "allow" in {schema.get("config", {}).get("extra_fields_behavior"), schema.get("extra_behavior")}:
                return False
        if kind == "dict" and schema.get("keys_schema", {"type": "any"})["type"] not in _CERTAIN_KEYS:
            return False
        parts = list(_parts_of(schema))
        return bool(parts) and all(self._look(part) for part in parts)


def _parts_of(schema: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for name in _PARTS:
        part = schema.get(name)
        if isinstance(part, Mapping):
            yield from cast("Iterable[Mapping[str, Any]]", part.values()) if name == "fields" else (part,)
        elif part is not None:  # a dataclass names its fields as well
            yield from (each for each in part if isinstance(each, Mapping))


def _kinds_of(schema: Mapping[str, Any]) -> Iterator[str]:
    yield schema["type"]
    for part in _parts_of(schema):
        yield from _kinds_of(part)
    choices = schema.get("choices", ())
    for choice in choices.values() if isinstance(choices, Mapping) else choices:
        if isinstance(choice, tuple):
            yield from _kinds_of(choice[0])
        elif isinstance(choice, Mapping):
            yield from _kinds_of(choice)


def difference(one: Any, other: Any, *, path: str = "", are_lists_alike: bool = False) -> str | None:
    """Where two values first differ, and in what type: ``lines.0 (TaxLine) is now Line``; ``None`` if they are equal.

    Not a number is equal to itself here, and what a model keeps outside its fields does not count. If
    ``are_lists_alike`` a tuple may be a list. A secret of Pydantic's is kept as stars: that is what it is declared for.
    """
    if isinstance(one, SecretStr | SecretBytes) and type(one) is type(other):
        return None
    if one == other or (one != one and other != other):  # noqa: PLR0124 - that is how not a number is told
        return None
    if type(one) is type(other) or (are_lists_alike and {type(one), type(other)} == {list, tuple}):
        ones, others = _members(one), _members(other)
        if ones is None or others is None:
            return f"{path or 'it'} is another {type(one).__name__}"
        if ones.keys() != others.keys():
            return f"{path or 'it'} ({type(one).__name__}) has other keys"
        found = (
            difference(ones[at], others[at], path=f"{path}.{at}" if path else str(at), are_lists_alike=are_lists_alike)
            for at in ones
        )
        return next((place for place in found if place is not None), None)
    return f"{path or 'it'} ({type(one).__name__}) is now {type(other).__name__}"


def _members(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {at: it for at, it in value.__dict__.items() if at in fields} | (value.__pydantic_extra__ or {})
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, list | tuple) else None
