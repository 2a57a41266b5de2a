"""What a rule takes and gives: its two models, as the engine needs them and as an editor shows them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema, to_jsonable_python

from toolkit.errors import InvalidInput, RuleOutputInvalid
from toolkit.rules.numbers import fitted, may_need_fitting
from toolkit.serialization import field_errors

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)

_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}


class _NumberSchema(GenerateJsonSchema):
    """Money is a number to a rule: Pydantic would offer text, which no comparison in a table ever matches."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        number: JsonSchemaValue = {"type": "number"}
        for bound, keyword in _BOUNDS.items():
            if (limit := schema.get(bound)) is not None:
                number[keyword] = float(str(limit))
        return number


class _FloatSchema(GenerateJsonSchema):
    """Where every ``number`` may be NaN or infinite: a decimal refuses both unless it is told to take them."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        return {"type": "number" if schema.get("allow_inf_nan") else "string"}


class Contract(Generic[In, Out]):
    """The input and output models of one rule, with everything derived from them, each made once."""

    def __init__(self, rule: str, input_type: type[In], output_type: type[Out]) -> None:
        self.rule, self.input_type, self.output_type = rule, input_type, output_type

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of what a graph sees: serialization names, decimals as numbers."""
        return self.input_type.model_json_schema(schema_generator=_NumberSchema, mode="serialization")

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of what a graph must produce."""
        return self.output_type.model_json_schema(schema_generator=_NumberSchema, mode="validation")

    @cached_property
    def sha256(self) -> str:
        """Names this pair of models: a graph checked against another pair must be checked again."""
        text = json.dumps([self.input_schema, self.output_schema], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def tells_null_from_missing(self) -> bool:
        """Whether an output without some field is another output than one where the field is null."""
        properties = self.output_schema.get("properties", {})
        return any(properties[name].get("default", "none") is not None for name in self._nullable if name in properties)

    def without_loose_nulls(self, result: dict[str, Any]) -> dict[str, Any]:
        """An output in which nulls were kept, without those of fields that cannot be null: there it means missing."""
        if None not in result.values():
            return result
        return {name: value for name, value in result.items() if value is not None or name in self._nullable}

    @cached_property
    def _nullable(self) -> frozenset[str]:
        """The fields of the output that may be null, by all their names."""
        definitions = self.output_schema.get("$defs", {})
        aliases = {
            name for name, part in self.output_schema.get("properties", {}).items() if _may_be_null(part, definitions)
        }
        fields = self.output_type.model_fields.items()
        return frozenset(aliases | {name for name, field in fields if (field.validation_alias or name) in aliases})

    @cached_property
    def engine_schema(self) -> dict[str, Any]:
        """The input schema that a compiled graph carries: shapes and formats only, no reference to follow.

        Pydantic has validated the input already. The engine needs the formats, which turn text into dates that
        compare; a reference would be fetched at evaluation time, over HTTP or from the disk.
        """
        return _shape(self.input_schema, self.input_schema.get("$defs", {}))

    @cached_property
    def _encoder(self) -> Any:
        import msgspec

        return msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)

    @cached_property
    def _may_hold_special_floats(self) -> bool:
        plain = self.input_type.model_json_schema(schema_generator=_FloatSchema, mode="serialization")
        return any(_is_loose(schema) for schema in _subschemas(plain))

    def encode(self, value: In) -> str:
        """``value`` as the JSON text that the engine gets. Decimals are numbers, and keep 28 digits.

        Raises:
            InvalidInput: a value has no JSON form, or is a number that is not finite, or too large for the engine.
        """
        try:
            dumped = value.model_dump(by_alias=True)
            text: bytes = self._encoder.encode(dumped)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"the input of rule {self.rule!r} has no JSON form: {error}") from error
        if self._may_hold_special_floats:
            _refuse_special_floats(self.rule, dumped, at="")
        return self._fitted(text, dumped).decode()

    def _fitted(self, text: bytes, dumped: Any) -> bytes:
        """``text``, or that of ``dumped`` anew if a number in it is longer than the engine takes."""
        return self._encoder.encode(fitted(dumped, rule=self.rule)) if may_need_fitting(text) else text

    def encode_all(self, values: Sequence[In]) -> str:
        """``values`` as one loop-mode input, in one go: a third of the time that it takes one by one.

        Raises:
            InvalidInput: one of them has no JSON form, or a number that is too large for the engine.
        """
        if self._may_hold_special_floats or any(type(value) is not self.input_type for value in values):
            return self.encode_many([self.encode(value) for value in values])
        try:
            dumped = {"items": self._inputs.dump_python(list(values), by_alias=True)}
            text: bytes = self._encoder.encode(dumped)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidInput(f"an input of rule {self.rule!r} has no JSON form: {error}") from error
        return self._fitted(text, dumped).decode()

    def read_all(self, results: list[Any]) -> list[Out] | None:
        """The results as output models, or ``None`` where one of them does not fit: :meth:`read` says which."""
        try:
            return self._outputs.validate_python(results, by_alias=True, by_name=True)
        except ValidationError:
            return None

    @cached_property
    def _inputs(self) -> TypeAdapter[list[In]]:
        return TypeAdapter(list[self.input_type])  # type: ignore[name-defined]

    @cached_property
    def _outputs(self) -> TypeAdapter[list[Out]]:
        return TypeAdapter(list[self.output_type])  # type: ignore[name-defined]

    def encode_many(self, values: Iterable[str]) -> str:
        """Encoded inputs as one loop-mode input."""
        return '{"items":[' + ",".join(values) + "]}"

    def read(self, result: Any) -> Out:
        """What the engine gave, as the output model.

        Raises:
            RuleOutputInvalid: it does not fit; names each field.
        """
        try:
            return self.output_type.model_validate(result, by_alias=True, by_name=True)
        except ValidationError as error:
            found = field_errors(error)
            reason = f"its output does not fit {self.output_type.__qualname__}: " + "; ".join(
                f"{one['loc'] or 'output'}: {one['msg']}" for one in found[:5]
            )
            raise RuleOutputInvalid(self.rule, reason, errors=found) from error


def _plain(value: Any) -> Any:
    """What a graph sees of a value that JSON has no form for; a secret is what it is, or no table could compare it."""
    return value.get_secret_value() if isinstance(value, (SecretStr, SecretBytes)) else to_jsonable_python(value)


def _shape(schema: dict[str, Any], definitions: dict[str, Any], inside: frozenset[str] = frozenset()) -> dict[str, Any]:
    """``schema`` without references, patterns, limits and required fields; a model within itself is left open."""
    if reference := schema.get("$ref"):
        if reference in inside:
            return {}
        inside |= {reference}
    schema = resolve(schema, definitions)
    shape: dict[str, Any] = {}
    if isinstance(schema.get("type"), str):
        shape["type"] = schema["type"]
    if schema.get("format") in {"date", "date-time"}:
        shape["format"] = schema["format"]
    if "properties" in schema:
        shape["properties"] = {name: _shape(part, definitions, inside) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        shape["items"] = _shape(schema["items"], definitions, inside)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            shape["anyOf"] = [_shape(part, definitions, inside) for part in schema[union]]
    return shape


def resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``schema`` with its own reference, if it is one, followed."""
    for _ in range(len(definitions) + 1):
        reference = schema.get("$ref")
        if reference is None:
            return schema
        schema = {**definitions[reference.removeprefix("#/$defs/")], **_without(schema, "$ref")}
    return _without(schema, "$ref")  # a definition that is nothing but itself


def _may_be_null(schema: dict[str, Any], definitions: dict[str, Any]) -> bool:
    schema = resolve(schema, definitions)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return any(_may_be_null(option, definitions) for option in options)
    if "enum" in schema or "const" in schema:
        return None in schema.get("enum", [schema.get("const")])
    return bool(schema.get("type", "null") == "null")


def _without(schema: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _subschemas(schema: Any) -> Iterable[dict[str, Any]]:
    """``schema`` and every schema inside it."""
    if isinstance(schema, list):
        for part in schema:
            yield from _subschemas(part)
    elif isinstance(schema, dict):
        yield schema
        for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            yield from _subschemas(schema.get(keyword, []))
        for keyword in ("items", "additionalProperties"):
            yield from _subschemas(schema.get(keyword, []))
        for keyword in ("properties", "$defs"):
            yield from _subschemas(list(schema.get(keyword, {}).values()))


def _is_loose(schema: dict[str, Any]) -> bool:
    kinds = {"type", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"}
    return (
        schema.get("type") == "number" or schema.get("additionalProperties") is True or kinds.isdisjoint(schema.keys())
    )


def _refuse_special_floats(rule: str, value: Any, *, at: str) -> None:
    if isinstance(value, dict):
        for name, part in value.items():
            _refuse_special_floats(rule, part, at=f"{at}.{name}" if at else str(name))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, part in enumerate(value):
            _refuse_special_floats(rule, part, at=f"{at}.{index}" if at else str(index))
    elif isinstance(value, (float, Decimal)) and not math.isfinite(value):
        message = f"rule {rule!r} takes finite numbers only, found {value} in {at!r}"
        raise InvalidInput(message, errors=[{"loc": at, "msg": "must be a finite number", "type": "finite_number"}])
