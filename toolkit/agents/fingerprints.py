"""Fingerprints: what a model request or tool call was, small enough to keep, exact enough to notice another one.

A resumed agent must ask what it asked before. Left out is what may differ without changing the question: timestamps,
ids of runs and conversations, transport settings, and empty values (a library may add a field). File bytes count by
their hash. Kept in parts, so that a difference can be named without keeping any content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

TRANSPORT_SETTINGS = frozenset({"extra_headers", "first_event_timeout", "max_retries", "request_timeout", "timeout"})
"""Settings of a model request that say how it travels, not what it asks."""

_VOLATILE = frozenset({"timestamp", "run_id", "conversation_id"})  # of messages and their parts, not of user data


def fingerprint_of_request(
    messages: Sequence[Any], settings: Mapping[str, Any] | None, parameters: Any
) -> dict[str, Any]:
    """Of a model request: one digest each for settings, tools and output, and one for each new message."""
    asked = {key: value for key, value in (settings or {}).items() if key not in TRANSPORT_SETTINGS}
    parts = canonical(parameters)
    tools = parts.pop("function_tools", None)
    return {
        "settings": digest(asked),
        "tools": _digest_of(tools),
        "output": _digest_of(parts),
        "messages": [_of_message(message) for message in messages],
    }


def fingerprint_of_call(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Of a tool call."""
    return {"tool": tool, "arguments": digest(arguments)}


def differences(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs, both sides shown, one entry a part; empty when nothing does."""
    shown = []
    for part in sorted(recorded.keys() | found.keys()):
        before, after = recorded.get(part), found.get(part)
        if before == after:
            continue
        if isinstance(before, list) and isinstance(after, list):
            shown += _list_differences(part, before, after)
        else:
            shown.append(f"{part}: recorded {before}, now {after}")
    return shown


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that stand for ``value``, equal in every process."""
    return _digest_of(canonical(value))


def canonical(value: Any) -> Any:
    """``value`` as plain JSON data in one form: sets sorted, bytes by hash, empty and private fields left out."""
    kind = type(value)  # most are one of these, and telling so by abstract classes costs ten times as much
    if kind is str or kind is int or kind is float or kind is bool or value is None:
        return value
    if kind is dict:
        return {str(key): canonical(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [canonical(item) for item in value]
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, BaseModel):
        return canonical(dict(value))
    if is_dataclass(value) and not isinstance(value, type):
        named = {name: getattr(value, name) for name in _public_fields(kind)}  # type: ignore[arg-type]  # a class has a hash
        return {
            "": kind.__name__,
            **{name: canonical(kept) for name, kept in named.items() if not _is_empty(kept)},
        }
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return sorted((canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, Sequence):
        return [canonical(item) for item in value]
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return str(value)  # Decimal, dates, UUIDs, enums


# Made once: `json.dumps` makes one for each text.
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode


def _digest_of(data: Any) -> str:
    """The digest of what is canonical already."""
    return hashlib.sha256(_encode(data).encode()).hexdigest()[:16]


@cache
def _public_fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if not field.name.startswith("_"))


def _of_message(message: Any) -> str:
    kinds = "+".join(part.part_kind for part in message.parts)
    parts = [canonical(part) for part in message.parts]
    kept = [{key: item for key, item in part.items() if key not in _VOLATILE} for part in parts]
    return f"{kinds} {_digest_of([canonical(getattr(message, 'instructions', None)), kept])}"


def _list_differences(part: str, before: list[str], after: list[str]) -> list[str]:
    if len(before) != len(after):
        return [f"{part}: recorded {len(before)}, now {len(after)}"]
    pairs = enumerate(zip(before, after, strict=True), start=1)
    return [f"{part} {number}: recorded {old}, now {new}" for number, (old, new) in pairs if old != new]


def _is_empty(value: Any) -> bool:
    return value is None or value is False or (hasattr(value, "__len__") and len(value) == 0)
