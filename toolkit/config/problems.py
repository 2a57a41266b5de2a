"""From what Pydantic found to what an operator can act on: the key, what stood there, what belongs there."""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from toolkit.errors import ConfigurationError

_Key = Sequence[int | str]


def refuse(
    error: ValidationError,
    model: type[BaseModel],
    *,
    place: str,
    hidden: set[str],
    not_keys: Collection[str] = (),
) -> ConfigurationError:
    """One error that names every wrong key, without ``not_keys`` among those that it offers.

    A value is quoted only where no secret can stand: not at keys in ``hidden``, nor where a secret, or a section with
    one in it, belongs.
    """
    found = [_Problem(one, model, hidden, not_keys) for one in error.errors(include_url=False, include_context=False)]
    return ConfigurationError(f"{place}: {'; '.join(one.sentence() for one in found)}", key=dotted(found[0].key))


def dotted(key: _Key) -> str:
    """``("server", "port")`` as ``server.port``."""
    return ".".join(str(part) for part in key)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown ``name``: the closest known one, or all of them."""
    names = sorted(known)
    if close := difflib.get_close_matches(name, names, n=1):
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(names)}"


class _Problem:
    def __init__(
        self, found: ErrorDetails, model: type[BaseModel], hidden: set[str], not_keys: Collection[str]
    ) -> None:
        self.found, self.hidden, self.not_keys = found, hidden, not_keys
        self.key, self.annotation = _find(model, found["loc"])
        self.section = _find(model, found["loc"][:-1])[1]

    def sentence(self) -> str:
        key, kind = dotted(self.key), self.found["type"]
        if kind == "extra_forbidden":
            known = self.section.model_fields.keys() if _is_section(self.section) else set[str]()
            return f"{key!r} is not a known key; {did_you_mean(str(self.key[-1]), known - set(self.not_keys))}"
        if kind == "missing":
            return f"{key!r} is missing; it has no default"
        if kind == "value_error":  # of a section as a whole
            return f"{key!r}: {self.found['msg'].removeprefix('Value error, ')}"
        if kind in {"union_tag_not_found", "union_tag_invalid"}:
            return self._about_type(f"{key}.type")
        return f"{key!r}: found {self._found(self.found['input'], key)}, expected {self._expected()}"

    def _about_type(self, key: str) -> str:
        wanted = " or ".join(repr(name) for name in _sections_by_type(self.annotation))
        given = self.found["input"]
        if not isinstance(given, dict) or "type" not in given:
            return f"{key!r} is missing; expected {wanted}"
        value = "a value that is not shown here" if self._is_hidden(key) else _quoted(given["type"])
        return f"{key!r}: found {value}, expected {wanted}"

    def _found(self, value: Any, key: str) -> str:
        if not (self._is_hidden(key) or _may_hold_secrets(self.annotation)):
            return _quoted(value)
        return _kind(value) if value is None or isinstance(value, dict) else f"{_kind(value)} that is not shown here"

    def _is_hidden(self, key: str) -> bool:
        return any(key == one or key.startswith(f"{one}.") for one in self.hidden)

    def _expected(self) -> str:
        expected = self.found["msg"].removeprefix("Input should be ")
        if expected.startswith("a valid dictionary"):
            return "a mapping"
        if self.annotation is SecretStr:
            # YAML has read digits as a number, and 0123 as another one, so they are not taken as they are.
            is_unquoted = isinstance(self.found["input"], bool | int | float | date)
            return "text: put quotes around it" if is_unquoted else "text"
        return expected


def _find(model: type[BaseModel], loc: _Key) -> tuple[_Key, Any]:
    """The key in the file that an error is about, and what belongs there; ``None`` where nothing does.

    Pydantic's own path has a part more where a section is one of several kinds: the kind that was chosen.
    """
    here: Any = model
    key: list[int | str] = []
    for part in loc:
        here = _without_none(here)
        if (kinds := _sections_by_type(here)) and part in kinds:
            here = kinds[str(part)]
            continue
        if part == "[key]":  # the name of what is in a mapping
            here = str
            continue
        key.append(part)
        if _is_section(here):
            field = here.model_fields.get(str(part))
            here = field.annotation if field else None
        elif get_origin(here) is dict:
            here = get_args(here)[1]
        elif get_origin(here) is tuple:
            here = get_args(here)[0]
        else:
            here = None
    return key, _without_none(here)


def _sections_by_type(annotation: Any) -> dict[str, type[BaseModel]]:
    """The sections among which ``type`` chooses, if it does."""
    if get_origin(annotation) not in {Union, types.UnionType}:
        return {}
    return {
        str(name): one
        for one in get_args(annotation)
        if _is_section(one) and "type" in one.model_fields
        for name in get_args(one.model_fields["type"].annotation)
    }


def _may_hold_secrets(annotation: Any) -> bool:
    """Whether a secret belongs at this key or below it. Of what nobody has described it is assumed."""
    if annotation is None or annotation is Any or annotation is SecretStr:
        return True
    if _is_section(annotation):
        return any(_may_hold_secrets(_without_none(one.annotation)) for one in annotation.model_fields.values())
    if get_origin(annotation) in {dict, tuple, Union, types.UnionType}:
        return any(_may_hold_secrets(_without_none(one)) for one in get_args(annotation) if one is not ...)
    return False


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        kept = [one for one in get_args(annotation) if one is not type(None)]
        return kept[0] if len(kept) == 1 else annotation
    return annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _quoted(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return _kind(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    """What sort of value it is, as somebody says who writes YAML."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case date():
            return "a date"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
