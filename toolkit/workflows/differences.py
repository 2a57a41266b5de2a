"""Where two JSON payloads differ, in lines that a person can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from toolkit.workflows.operations import StepRecord, WaitRecord

_MOST_LINES, _LONGEST_VALUE = 12, 120
_NOTHING = object()


def describe_mismatch(recorded: StepRecord | WaitRecord, *, kind: str, name: str, arguments: str | None) -> str:
    """What the journal holds, what the code asks for instead, and what can be done."""
    lines = [
        "the code no longer matches the journal of this run",
        f"  at:       {recorded.path}",
        f"  recorded: {recorded.kind} {recorded.name!r}",
        f"  now:      {kind} {name!r}",
    ]
    if recorded.kind == kind and recorded.name == name:
        lines += [
            "  arguments that differ:",
            *(f"    {line}" for line in find_differences(recorded.arguments, arguments)),
        ]
    lines.append(
        'guard the change with patched("...") or a new version= of the workflow, restore the code that the run began '
        "with, or cancel the run and start another"
    )
    return "\n".join(lines)


def find_differences(recorded: str | None, now: str | None) -> list[str]:
    """Each place at which two JSON texts differ, with both values; at most a dozen, and the number of the rest."""
    found = list(_compare("", _parse(recorded), _parse(now)))
    shown = [f"{place or 'all'}: recorded {_shown(old)}, now {_shown(new)}" for place, old, new in found[:_MOST_LINES]]
    if len(found) > _MOST_LINES:
        shown.append(f"and {len(found) - _MOST_LINES} more")
    return shown


def _compare(place: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _compare(f"{place}.{key}" if place else str(key), old.get(key, _NOTHING), new.get(key, _NOTHING))
    elif isinstance(old, list) and isinstance(new, list):
        for at in range(max(len(old), len(new))):
            yield from _compare(
                f"{place}[{at}]", old[at] if at < len(old) else _NOTHING, new[at] if at < len(new) else _NOTHING
            )
    elif type(old) is not type(new) or old != new:
        yield place, old, new


def _parse(text: str | None) -> Any:
    return _NOTHING if text is None else json.loads(text)


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
