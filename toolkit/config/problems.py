"""From what Pydantic found to what an operator can act on: the key, what stood there, what belongs there."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from toolkit.errors import ConfigurationError

_NEVER_SHOWN = {"url", "api_key", "hash", "options", "settings"}


def refuse(error: ValidationError, model: type[BaseModel], *, place: str, hidden: set[str]) -> ConfigurationError:
    """One error that names every wrong key; a value is quoted unless its key is in ``hidden`` or holds secrets."""
    found = error.errors(include_url=False, include_context=False)
    message = "; ".join(_sentence(one, model, hidden) for one in found)
    return ConfigurationError(f"{place}: {message}", key=dotted(found[0]["loc"]))


def dotted(loc: Sequence[int | str]) -> str:
    """``("server", "port")`` as ``server.port``."""
    return ".".join(str(part) for part in loc)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown ``name``: the closest known one, or all of them."""
    names = sorted(known)
    if close := difflib.get_close_matches(name, names, n=1):
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(names)}"


def _sentence(found: ErrorDetails, model: type[BaseModel], hidden: set[str]) -> str:
    loc = found["loc"]
    key = dotted(loc)
    if found["type"] == "extra_forbidden":
        section = _section_at(model, loc[:-1])
        known = section.model_fields if section else ()
        return f"{key!r} is not a known key; {did_you_mean(str(loc[-1]), known)}"
    expected = found["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if found["type"] == "missing":
        return f"{key!r} is missing; it has no default"
    if any(key == one or key.startswith(f"{one}.") for one in hidden) or _NEVER_SHOWN.intersection(
        str(part) for part in loc
    ):
        return f"{key!r}: found a value that is not shown here, expected {expected}"
    return f"{key!r}: found {_shortened(found['input'])}, expected {expected}"


def _section_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The section that a path of keys leads to, through mappings of named sections too."""
    here: Any = model
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            if field is None:
                return None
            here = _without_none(field.annotation)
        elif get_origin(here) is dict:
            here = _without_none(get_args(here)[1])
        else:
            return None
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        kept = [one for one in get_args(annotation) if one is not type(None)]
        return kept[0] if len(kept) == 1 else annotation
    return annotation


def _shortened(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
