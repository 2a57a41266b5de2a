"""Bodies of requests: read no further than their limit, and handed on with every digit they came with.

A body is read only after the caller is known. JSON that is meant for a room (a workflow's input, a task's output, a
rule's input) goes there as text: read through a float, 1000000000000000.01 would lose its cent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request

from toolkit.api.numbers import keep_digits
from toolkit.errors import InvalidInput, LimitExceeded
from toolkit.serialization import field_errors

Model = TypeVar("Model", bound="Body")


class _Verbatim:
    """Marks a field of a body that is kept as JSON text, with all its digits."""


class _AsSent:
    """Marks a field of a body that is kept as the very JSON text that was sent."""


VERBATIM = _Verbatim()
AS_SENT = _AsSent()

JsonText = Annotated[str, VERBATIM, WithJsonSchema({})]
"""Any JSON value, as its text."""

JsonObjectText = Annotated[str, VERBATIM, WithJsonSchema({"type": "object"})]
"""A JSON object, as its text."""

AsSentText = Annotated[str, AS_SENT, WithJsonSchema({"type": "object"})]
"""A JSON object for a reader of its own, which takes a long fraction for a number and not for a string."""


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL character cannot be stored")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
"""Text that a database can keep."""


class Body(BaseModel):
    """Parent of all bodies: what is not asked for is refused, so nobody can slip in a state or an actor."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def read_json(request: Request, model: type[Model], *, limit: int, is_optional: bool = False) -> Model:
    """The body of ``request`` as a ``model``; an empty one is ``{}`` where it ``is_optional``.

    Raises:
        InvalidInput: the body is no JSON object or does not fit the model.
        LimitExceeded: it is larger than ``limit`` bytes.
        HTTPException: 415, it does not say that it is JSON (no form of a foreign page can say so).
    """
    text = await read(request, limit=limit)
    if not text and is_optional:
        return _validate(model, {})
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(415, f"the body is of type {media_type!r}, expected 'application/json'")
    return _validate(model, _fields(text, model))


def _fields(text: bytes, model: type[Body]) -> dict[str, Any]:
    try:
        raw = _object.decode(text)
        return {name: _value(bytes(part), model.model_fields.get(name)) for name, part in raw.items()}
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"the body is not a JSON object that can be read: {error}",
            errors=[{"loc": "body", "msg": str(error), "type": "json_invalid"}],
        ) from error


def _value(text: bytes, field: FieldInfo | None) -> Any:
    metadata = [] if field is None else field.metadata
    if AS_SENT in metadata:
        return text.decode()
    return keep_digits(text).decode() if VERBATIM in metadata else from_json(text)


def _validate(model: type[Model], fields: Mapping[str, Any]) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        found = field_errors(error)
        raise InvalidInput(f"the body does not fit: {len(found)} field(s) are wrong", errors=found) from error


@contextmanager
def within(field: str) -> Iterator[None]:
    """What a room finds wrong with a value is said as the place in the body: ``total`` becomes ``input.total``."""
    try:
        yield
    except InvalidInput as error:
        errors = [found | {"loc": f"{field}.{found.get('loc', '')}".rstrip(".")} for found in error.errors]
        raise InvalidInput(str(error), errors=errors or [{"loc": field, "msg": str(error)}]) from error


async def read(request: Request, *, limit: int) -> bytes:
    """The whole body of ``request``.

    Raises:
        LimitExceeded: it is larger than ``limit`` bytes; the rest is not read.
    """
    return b"".join([chunk async for chunk in stream(request, limit=limit)])


async def stream(request: Request, *, limit: int) -> AsyncIterator[bytes]:
    """The body of ``request`` piece by piece; like :func:`read`, counted as it comes."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit, int(announced))
    found = 0
    async for chunk in request.stream():
        found += len(chunk)
        if found > limit:
            raise _too_large(limit, found)
        if chunk:
            yield chunk


def _too_large(limit: int, found: int) -> LimitExceeded:
    return LimitExceeded(f"the body has {found} bytes or more, at most {limit} are taken", limit=limit, found=found)


def documented(model: type[Body], *, is_required: bool = True) -> dict[str, Any]:
    """How the documentation shows a body of type ``model``; for ``openapi_extra`` of a route."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    content = {"application/json": {"schema": _spelled_out(schema, definitions)}}
    return {"requestBody": {"required": is_required, "content": content}}


def _spelled_out(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """``schema`` with each definition where it is referred to: a reference would point into the whole document."""
    if isinstance(schema, list):
        return [_spelled_out(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    referred = definitions.get(name, {})
    return {key: _spelled_out(each, definitions) for key, each in {**referred, **schema}.items() if key != "$ref"}
