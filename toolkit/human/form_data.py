"""Forms as a browser or a terminal fills them in, text by text, read back into the JSON that a task's answer is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from toolkit.files import File
from toolkit.human.forms import Form, FormField

_MISSING = object()
_INTEGER = re.compile(r"-?\d{1,4000}")  # Python reads no more than 4,300 digits; whether so many fit, the type says
_A_LINE_EACH = {"text", "decimal", "money", "number", "date"}


def read_form(form: Form, sent: Mapping[str, Sequence[str]], *, files: Iterable[File] = ()) -> Any:
    """The answer in ``sent``, by the names that :func:`name_of` gives. What was left empty is left out.

    Texts stay texts: whether ``12.50`` is a number is for the answer's own type to say.
    """
    reader = _Reader(sent, {file.id: file.model_dump(mode="json", include=set(File.model_fields)) for file in files})
    if form.is_object:
        return reader.fields(form.fields, "")
    value = reader.value(form.fields[0], "")
    return None if value is _MISSING else value


def name_of(field: FormField, prefix: str = "") -> str:
    """The name of the input for ``field``; ``prefix`` is that of the choice that it belongs to."""
    return f"{prefix}{field.path or 'answer'}"


def prefix_of(field: FormField, value: Any, prefix: str = "") -> str:
    """What the names of a choice's fields begin with, so that two choices may ask for fields of one name."""
    return f"{name_of(field, prefix)}={value}:"


class _Reader:
    def __init__(self, sent: Mapping[str, Sequence[str]], files: Mapping[str, dict[str, Any]]) -> None:
        self._sent, self._files = sent, files

    def fields(self, fields: Sequence[FormField], prefix: str) -> dict[str, Any]:
        found = {field.name: self.value(field, prefix) for field in fields}
        return {name: value for name, value in found.items() if value is not _MISSING}

    def value(self, field: FormField, prefix: str) -> Any:
        texts = [text.replace("\r\n", "\n") for text in self._sent.get(name_of(field, prefix), ())]
        text = texts[0] if texts else ""
        match field.widget:
            case "object":
                inside = self.fields(field.fields, prefix)
                return inside if inside or field.is_required else _MISSING
            case "union":
                return self._union(field, prefix, text)
            case "multi_select":
                return [_typed(field, one) for one in texts if one] or ([] if field.is_required else _MISSING)
            case "text" | "multi_line":
                return text if text or (field.is_required and texts) else _MISSING
        if not text.strip():
            return _MISSING
        match field.widget:
            case "boolean":
                return {"true": True, "false": False}.get(text, text)
            case "integer":
                return int(text) if _INTEGER.fullmatch(text.strip()) else text
            case "select":
                return _typed(field, text)
            case "file":
                return self._files.get(text, {"id": text})
            case "list" if field.item is not None and field.item.widget in _A_LINE_EACH:
                return [line for line in text.split("\n") if line.strip()]
            case "list" | "json":
                return _json(text)
        return text.strip()

    def _union(self, field: FormField, prefix: str, chosen: str) -> Any:
        for variant in field.variants:
            if str(variant.value) == chosen:
                inside = self.fields(variant.fields, prefix_of(field, variant.value, prefix))
                return {field.discriminator: variant.value, **inside}
        return _MISSING


def _typed(field: FormField, text: str) -> Any:
    """The choice that ``text`` stands for, with its own type."""
    return next((option.value for option in field.options if str(option.value) == text), text)


def _json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return text
