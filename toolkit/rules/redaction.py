"""Secret fields of a rule's models stay out of what people read about decisions.

A field is secret where its JSON Schema is ``writeOnly``: a ``SecretStr``, or a field annotated with :data:`Secret`. Its
value is replaced wherever it turns up, also under another name and within a text, because a graph may copy it around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, Field

from toolkit.rules.contract import Contract, resolve

Told = TypeVar("Told", bound=BaseModel)

Secret = Field(json_schema_extra={"writeOnly": True})
"""Marks a field whose value nobody reads in an explanation: ``iban: Annotated[str, Secret]``."""

HIDDEN = "(secret)"
_LONG = 4  # characters from which a secret is looked for within words

_Path = tuple[str, ...]  # "*" is each item of a list, or each value of an object


class Redaction:
    """Hides the secrets of one rule."""

    def __init__(self, contract: Contract[Any, Any]) -> None:
        self._input = frozenset(_secret_paths(contract.input_schema))
        self._output = frozenset(_secret_paths(contract.output_schema))

    @property
    def is_needed(self) -> bool:
        """Whether the models have secret fields at all."""
        return bool(self._input or self._output)

    def hide(
        self, told: Told, *, input: Any, outputs: tuple[Any, ...] = (), keep: frozenset[str] = frozenset()
    ) -> Told:
        """``told`` without the secrets of ``input`` and ``outputs``, JSON values all; fields in ``keep`` stay."""
        if not self.is_needed:
            return told
        scrub = _Scrub(
            [*_values_at(input, self._input), *(v for one in outputs for v in _values_at(one, self._output))]
        )
        fields = {name: getattr(told, name) for name in type(told).model_fields if name not in keep}
        return told.model_copy(update={name: self._cleaned(name, value, scrub) for name, value in fields.items()})

    def _cleaned(self, name: str, value: Any, scrub: _Scrub) -> Any:
        if name == "input":
            value = _without(value, self._input)
        elif name in {"output", "before", "after"}:
            value = _without(value, self._output)
        return scrub(value)


class _Scrub:
    """Replaces values wherever they stand."""

    def __init__(self, values: list[Any]) -> None:
        self._numbers = {Decimal(str(one)) for one in values if _is_number(one)}
        texts = {one for one in values if isinstance(one, str) and one}
        texts |= {text for number in self._numbers for text in (str(number), f"{number:,}")}
        patterns = [
            re.escape(text) if len(text) >= _LONG else rf"(?<!\w){re.escape(text)}(?!\w)"
            for text in sorted(texts, key=len, reverse=True)
        ]
        self._texts = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value.model_copy(update={name: self(getattr(value, name)) for name in type(value).model_fields})
        if isinstance(value, dict):
            return {name: self(part) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(part) for part in value]
        if _is_number(value):
            return HIDDEN if Decimal(str(value)) in self._numbers else value
        if isinstance(value, str) and self._texts is not None:
            return self._texts.sub(HIDDEN, value)
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _secret_paths(schema: dict[str, Any]) -> Iterator[_Path]:
    definitions = schema.get("$defs", {})

    def walk(part: dict[str, Any], path: _Path, inside: frozenset[str]) -> Iterator[_Path]:
        reference = part.get("$ref")
        if reference in inside:
            return  # a model within itself
        inside |= {reference} if reference else set()
        part = resolve(part, definitions)
        if part.get("writeOnly"):
            yield path
            return
        for option in (*part.get("anyOf", ()), *part.get("oneOf", ())):
            yield from walk(option, path, inside)
        for name, inner in part.get("properties", {}).items():
            yield from walk(inner, (*path, name), inside)
        for keyword in ("items", "additionalProperties"):
            if isinstance(part.get(keyword), dict):
                yield from walk(part[keyword], (*path, "*"), inside)

    yield from walk(schema, (), frozenset())


def _values_at(value: Any, paths: frozenset[_Path]) -> Iterator[Any]:
    """Every plain value at or below ``paths``."""
    if () in paths:
        yield from _leaves(value)
    elif isinstance(value, (dict, list)):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _values_at(part, _below(paths, name))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    elif value is not None:
        yield value


def _without(value: Any, paths: frozenset[_Path]) -> Any:
    if () in paths:
        return value if value is None else HIDDEN
    if isinstance(value, dict):
        return {name: _without(part, _below(paths, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [_without(part, _below(paths, number)) for number, part in enumerate(value)]
    return value


def _below(paths: frozenset[_Path], name: str | int) -> frozenset[_Path]:
    return frozenset(path[1:] for path in paths if path and path[0] in {name, "*"})
