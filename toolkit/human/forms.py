"""Forms: what a JSON Schema says, put in the order and the words in which a person is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.errors import InvalidInput

Widget = Literal[
    "text", "multi_line", "number", "integer", "decimal", "money", "boolean", "date", "datetime", "time", "select",
    "multi_select", "file", "object", "list", "union", "json",
]  # fmt: skip

MultiLine = Annotated[str, Field(json_schema_extra={"widget": "multi_line"})]
"""Text of several lines."""

Money = Annotated[Decimal, Field(json_schema_extra={"widget": "money"})]
"""An amount, exact; say its currency with ``json_schema_extra={"widget": "money", "currency": "EUR"}``."""

_FORMATS: dict[str, Widget] = {"date": "date", "date-time": "datetime", "time": "time", "binary": "text"}
_FILE_FIELDS = {"id", "filename", "content_type", "size", "sha256"}
_DEEPEST = 8


class Option(BaseModel):
    """One choice."""

    model_config = ConfigDict(frozen=True)

    value: Any
    label: str


class FormField(BaseModel):
    """One thing to fill in. ``path`` is its place in the answer, such as ``invoice.total``."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: str
    label: str
    help: str = ""
    widget: Widget
    is_required: bool = False
    is_read_only: bool = False
    default: Any = None
    options: list[Option] = []
    currency: str | None = None
    minimum: Any = None
    maximum: Any = None
    max_length: int | None = None
    pattern: str | None = None
    confidence: float | None = Field(default=None, description="How sure the suggested value is, from 0 to 1.")
    fields: list[FormField] = Field(default=[], description="Of an object, in order.")
    item: FormField | None = Field(default=None, description="What each entry of a list is.")
    discriminator: str | None = Field(default=None, description="The field whose value chooses among the variants.")
    variants: list[Variant] = Field(default=[], description="Of a union: what is asked for each choice.")


class Variant(BaseModel):
    """What is asked once a choice is made."""

    model_config = ConfigDict(frozen=True)

    value: Any
    label: str
    fields: list[FormField]


class Form(BaseModel):
    """What to ask, from the top. An answer that is no object has one field without a name."""

    model_config = ConfigDict(frozen=True)

    fields: list[FormField]
    is_object: bool


def build_form(schema: dict[str, Any]) -> Form:
    """The form of a JSON Schema as Pydantic writes it."""
    reader = _Reader(schema.get("$defs", {}))
    root = reader.field(schema, name="", path="", is_required=True)
    if root.widget == "object":
        return Form(fields=root.fields, is_object=True)
    return Form(fields=[root], is_object=False)


def with_confidence(form: Form, confidence: Mapping[str, float]) -> Form:
    """``form`` with how sure the suggestion of each field is, where that is known by the field's path."""
    if not confidence:
        return form
    return form.model_copy(update={"fields": [_with_confidence(field, confidence) for field in form.fields]})


def _with_confidence(field: FormField, confidence: Mapping[str, float]) -> FormField:
    inner = [_with_confidence(each, confidence) for each in field.fields]
    return field.model_copy(update={"fields": inner, "confidence": confidence.get(field.path)})


def check_read_only(schema: dict[str, Any], output: Any, suggested: Any) -> None:
    """Refuse an answer that changes what was shown as fixed.

    Raises:
        InvalidInput: with one entry a field.
    """
    if not isinstance(output, dict):
        return
    given = suggested if isinstance(suggested, dict) else {}
    errors = [
        {"loc": field.path, "msg": "this is shown for information and cannot be changed", "type": "read_only"}
        for field in build_form(schema).fields
        if field.is_read_only and field.name in output and _differs(output[field.name], given, field)
    ]
    if errors:
        raise InvalidInput(f"{len(errors)} field(s) cannot be changed", errors=errors)


def _differs(value: Any, suggested: dict[str, Any], field: FormField) -> bool:
    expected = suggested.get(field.name, field.default)
    if value == expected:
        return False
    if field.widget in {"decimal", "money", "number", "integer"} and expected is not None and value is not None:
        try:
            return Decimal(str(value)) != Decimal(str(expected))
        except (ArithmeticError, ValueError):  # what was suggested need not be a number
            return True
    return True


class _Reader:
    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions

    def field(self, schema: dict[str, Any], *, name: str, path: str, is_required: bool, depth: int = 0) -> FormField:
        outer = schema
        schema, is_optional = self._plain(schema)
        about = {**schema, **{key: value for key, value in outer.items() if key not in {"$ref", "anyOf", "allOf"}}}
        widget = self._widget(schema, about)
        common: dict[str, Any] = {
            "name": name,
            "path": path,
            "label": about.get("label") or outer.get("title") or _label(name) or schema.get("title", ""),
            "help": about.get("description", ""),
            "is_required": is_required and not is_optional,
            "is_read_only": bool(about.get("readOnly")),
            "default": about.get("default"),
            "currency": about.get("currency"),
            "minimum": about.get("minimum", about.get("exclusiveMinimum")),
            "maximum": about.get("maximum", about.get("exclusiveMaximum")),
            "max_length": about.get("maxLength"),
            "pattern": about.get("pattern"),
        }
        if depth >= _DEEPEST:  # a type that contains itself is written as JSON from here on
            return FormField(widget="json", **common)
        match widget:
            case "object":
                return FormField(widget=widget, fields=list(self._fields(schema, path, depth)), **common)
            case "union":
                return FormField(widget=widget, **common, **self._union(schema, path, depth))
            case "list":
                item = self.field(schema.get("items", {}), name="", path=path, is_required=True, depth=depth + 1)
                return FormField(widget=widget, item=item, **common)
            case "select":
                return FormField(widget=widget, options=_options(schema, about), **common)
            case "multi_select":
                items, _ = self._plain(schema["items"])
                return FormField(widget=widget, options=_options(items, {**items, **about}), **common)
        return FormField(widget=widget, **common)

    def _fields(self, schema: dict[str, Any], path: str, depth: int, *, without: str = "") -> Iterator[FormField]:
        required = schema.get("required", ())
        found = [
            (
                properties.get("order", at),
                self.field(
                    properties,
                    name=name,
                    path=f"{path}.{name}".lstrip("."),
                    is_required=name in required,
                    depth=depth + 1,
                ),
            )
            for at, (name, properties) in enumerate(schema.get("properties", {}).items())
            if name != without
        ]
        yield from (field for _, field in sorted(found, key=lambda pair: pair[0]))

    def _union(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        discriminator = schema["discriminator"]["propertyName"]
        variants = []
        for option in schema["oneOf"]:
            plain, _ = self._plain(option)
            chooser, _ = self._plain(plain.get("properties", {}).get(discriminator, {}))
            for value in chooser.get("enum", [chooser.get("const")]):
                fields = list(self._fields(plain, path, depth, without=discriminator))
                label = plain.get("label") or _label(str(value))
                variants.append(Variant(value=value, label=label, fields=fields))
        return {"discriminator": discriminator, "variants": variants}

    def _plain(self, schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """What ``schema`` refers to, and whether it may also be null."""
        is_optional = False
        while True:
            if "$ref" in schema:
                schema = self._definitions.get(schema["$ref"].removeprefix("#/$defs/"), {})
            elif len(schema.get("allOf", ())) == 1:
                schema = schema["allOf"][0]
            elif "anyOf" in schema:
                real = [option for option in schema["anyOf"] if option.get("type") != "null"]
                is_optional = is_optional or len(real) < len(schema["anyOf"])
                if len(real) != 1:
                    return {**schema, "anyOf": real}, is_optional
                schema = real[0]
            else:
                return schema, is_optional

    def _widget(self, schema: dict[str, Any], about: dict[str, Any]) -> Widget:
        if "widget" in about:
            return about["widget"]  # type: ignore[no-any-return]  # the author's word, checked by FormField
        if "enum" in schema or "const" in schema:
            return "select"
        if "oneOf" in schema and "discriminator" in schema:
            return "union"
        if _is_decimal(schema):
            return "decimal"
        match schema.get("type"):
            case "boolean":
                return "boolean"
            case "integer":
                return "integer"
            case "number":
                return "number"
            case "string":
                return _FORMATS.get(schema.get("format", ""), "text")
            case "object" if set(schema.get("properties", {})) >= _FILE_FIELDS:
                return "file"
            case "object" if schema.get("properties"):
                return "object"
            case "array":
                items, _ = self._plain(schema.get("items", {}))
                return "multi_select" if "enum" in items or "const" in items else "list"
        return "json"


def _is_decimal(schema: dict[str, Any]) -> bool:
    """Pydantic says of a Decimal: a number, or a string that reads like one."""
    return {option.get("type") for option in schema.get("anyOf", ())} == {"number", "string"}


def _options(schema: dict[str, Any], about: dict[str, Any]) -> list[Option]:
    labels: dict[str, str] = about.get("enum_labels", schema.get("enum_labels", {}))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [Option(value=value, label=labels.get(str(value)) or _label(str(value))) for value in values]


def _label(name: str) -> str:
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]
