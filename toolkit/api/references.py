"""References to files inside a workflow's input: a caller gives ``{"id": "..."}``, the file store knows the rest.

What a caller says beyond the id is not believed. Where a reference may stand is read from the input's JSON Schema.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic_core import from_json, to_json

from toolkit.errors import InvalidInput, NotFound
from toolkit.files import File

Json = Any
Schema = dict[str, Any]


async def complete_references(input: str, schema: Schema, find: Callable[[str], Awaitable[File]]) -> str:
    """The JSON text ``input`` with every reference to a file replaced by what ``find`` knows of it.

    Raises:
        InvalidInput: a file is unknown (it names the field), or the input is nested too deeply to look through.
    """
    definitions = schema.get("$defs", {})
    if not any(_describes_file(definition) for definition in definitions.values()):
        return input
    try:
        value = from_json(input)
    except ValueError as error:  # the text is known to be JSON, but it may be nested too deeply
        raise InvalidInput(f"the input cannot be read: {error}") from error
    errors = []
    for place in list(_Reader(definitions).places(value, [schema])):
        try:
            file = await find(place.value["id"])
        except NotFound as error:
            errors.append({"loc": place.loc, "msg": str(error), "type": "file_unknown"})
        else:
            place.holder[place.key] = file.model_dump(mode="json", include=set(File.model_fields))
    if errors:
        raise InvalidInput(f"{len(errors)} file(s) of the input are unknown; upload them first", errors=errors)
    return to_json(value).decode()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a reference was found: ``holder[key]``; ``loc`` says it to the caller."""

    loc: str
    holder: Any
    key: Any

    @property
    def value(self) -> Json:
        return self.holder[self.key]


class _Reader:
    """Reads values beside the schemas that describe them.

    A value is read once, beside all the schemas that it may fit: read once a schema, a recursive union would cost two
    to the power of the depth.
    """

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions

    def places(self, value: Json, schemas: Iterable[Schema], *, loc: str = "") -> Iterator[_Place]:
        options = {id(option): option for schema in schemas for option in self._options(schema)}.values()
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            below = [found for option in options if (found := _below(option, key)) is not None]
            place = _Place(f"{loc}.{key}".lstrip("."), value, key)
            if self._is_file(place.value, below):
                yield place
            elif below:
                yield from self.places(place.value, below, loc=place.loc)

    def _options(self, schema: Schema) -> Iterator[Schema]:
        """The plain schemas that ``schema`` may stand for: itself, what it refers to, each of its alternatives."""
        if "$ref" in schema:
            yield from self._options(self._definitions.get(schema["$ref"].removeprefix("#/$defs/"), {}))
            return
        yield schema
        for keyword in ("anyOf", "oneOf", "allOf"):
            for option in schema.get(keyword, ()):
                yield from self._options(option)

    def _is_file(self, value: Json, schemas: Iterable[Schema]) -> bool:
        return (
            isinstance(value, dict)
            and isinstance(value.get("id"), str)
            and any(_describes_file(option) for schema in schemas for option in self._options(schema))
        )


def _below(schema: Schema, key: str | int) -> Schema | None:
    """The schema of what stands under ``key`` in a value that fits ``schema``."""
    if isinstance(key, str):
        found = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
    else:
        first = schema.get("prefixItems", [])
        found = first[key] if key < len(first) else schema.get("items")
    return found if isinstance(found, dict) else None


@cache
def _file_schema() -> Schema:
    return File.model_json_schema()


def _describes_file(schema: Schema) -> bool:
    return all(schema.get(word) == _file_schema()[word] for word in ("title", "properties"))
