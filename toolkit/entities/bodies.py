"""Bodies: what a caller says of an entity, as values that fit its fields, or as a refusal that names each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from toolkit.entities.descriptions import EntityDescription
from toolkit.entities.queries import fit
from toolkit.errors import InvalidInput
from toolkit.serialization import field_errors

LONGEST_KEY = 200
"""Characters of a key as text."""


def read_body(description: EntityDescription, body: str | bytes, *, model: type[BaseModel]) -> dict[str, Any]:
    """The fields that a JSON object sets, by name.

    Raises:
        InvalidInput: a field is unknown, read-only, missing or does not fit; one entry a field.
    """
    try:
        given = from_json(body)
    except ValueError as error:
        raise InvalidInput(
            f"the body is no JSON: {error}", errors=[{"loc": "body", "msg": str(error), "type": "json_invalid"}]
        ) from error
    if not isinstance(given, dict):
        raise InvalidInput("the body is no JSON object", errors=[{"loc": "body", "msg": "expected an object"}])
    _refuse_fields(description, given, taken=list(model.model_fields))
    try:
        parsed = model.model_validate_json(body)
    except ValidationError as error:
        raise _unfit(field_errors(error)) from error
    values, errors = {}, []
    for name in parsed.model_fields_set:
        try:
            values[name] = fit(description.fields[name], getattr(parsed, name))
        except ValueError as error:
            errors.append({"loc": name, "msg": str(error), "type": "value"})
    key = description.key.name
    if key in values and (expected := _expected_of_key(str(values[key]))):
        message = f"a key stands in addresses; expected {expected}"
        errors.append({"loc": key, "msg": message, "type": "value"})
    if errors:
        raise _unfit(errors)
    return values


def validate_row(description: EntityDescription, values: Mapping[str, Any]) -> Any:
    """A row of ``values`` that an author's own validators have seen.

    Raises:
        InvalidInput: one of them refuses it.
    """
    try:
        return description.entity.model_validate(values)
    except ValidationError as error:
        raise _unfit(field_errors(error)) from error


def _expected_of_key(key: str) -> str | None:
    """What ``key`` lacks to be found by a route, if anything."""
    if len(key) > LONGEST_KEY:
        return f"at most {LONGEST_KEY} characters"
    if not key:
        return "at least one character"
    if "/" in key:
        return "no slash in it, which parts one piece of an address from the next"
    return "more than dots, which clients take out of an address" if key in {".", ".."} else None


def _unfit(errors: list[dict[str, Any]]) -> InvalidInput:
    return InvalidInput(f"{len(errors)} field(s) do not fit", errors=errors)


def _refuse_fields(description: EntityDescription, given: Mapping[str, Any], *, taken: Sequence[str]) -> None:
    """Say of every field that is not taken whether it is unknown or read-only."""
    errors = []
    for name in given:
        if name in taken:
            continue
        is_known = name in description.fields
        msg = "is read-only" if is_known else f"is no field of {description.name}"
        errors.append({"loc": name, "msg": msg, "type": "read_only" if is_known else "extra_forbidden"})
    if errors:
        named = ", ".join(f"{error['loc']!r} {error['msg']}" for error in errors[:10])
        raise InvalidInput(f"{named}; writable: {', '.join(taken) or 'nothing'}", errors=errors)
