"""Errors, kept as JSON and raised again on replay as what they were.

An author's ``except ValueError`` must take the same branch on the first run and on every replay, so a recorded error
comes back as its own class. The class is looked up among the exception classes that are loaded; nothing is imported and
no constructor is called because of what stands in a row.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import Any

from toolkit.errors import RecordedError
from toolkit.storage import PayloadNotDecoded

_LONGEST_MESSAGE = 4_000
_LONGEST_TRACE = 20_000
_LONGEST_CHAIN = 10
_LONGEST_SUMMARY = 300


class RunCancelled(BaseException):
    """The run is being cancelled; raised at the next verb. Not an ``Exception``: ``except Exception`` lets it pass."""


class RunParked(BaseException):
    """The run cannot go on without an operator; raised through the author's code to the engine."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RunUndecoded(RunParked):
    """A run has a payload that this process cannot decode; it waits for a process that can."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{PayloadNotDecoded(what)}; then release the run")


def record_error(error: BaseException, *, cause: str | None = None, errors: list[str] | None = None) -> str:
    """``error`` as JSON text: type, message, plain arguments and attributes, trace.

    ``cause`` is another recorded error; ``errors`` are those of earlier attempts, each in a line.
    """
    kept: dict[str, Any] = {
        "type": type(error).__qualname__,
        "module": type(error).__module__,
        "message": _text(str(error))[:_LONGEST_MESSAGE],
        "args": [_plain(argument) for argument in error.args],
        "attributes": {name: _plain(value) for name, value in vars(error).items() if not name.startswith("__")},
    }
    if error.__traceback__ is not None:
        kept["trace"] = _text("".join(traceback.format_tb(error.__traceback__)))[-_LONGEST_TRACE:]
    if cause is not None:
        kept["cause"] = json.loads(cause)
    if because := _causes(error):
        kept["because"] = because
    if errors:
        kept["attempts"] = [_text(line)[:_LONGEST_MESSAGE] for line in errors]
    return json.dumps(kept)


def revive_error(text: str) -> Exception:
    """The error of JSON ``text``, as its own class if this process knows it, else as ``RecordedError``."""
    kept = json.loads(text)
    for candidate in _subclasses(Exception):
        if candidate.__qualname__ == kept["type"] and candidate.__module__ == kept["module"]:
            try:
                error = candidate.__new__(candidate)
                error.args = tuple(kept.get("args", ()))
                error.__dict__.update(kept.get("attributes", {}))
            except TypeError:  # a class with a layout of its own
                break
            return error
    return RecordedError(kept["type"], kept["message"])


def summary_of(text: str) -> str:
    """A recorded error in one line."""
    kept = json.loads(text)
    return f"{kept['type']}: {kept['message']}".splitlines()[0][:_LONGEST_SUMMARY]


def error_chain(text: str) -> list[tuple[str, str, str]]:
    """Type, module and message of a recorded error, then of each error that it was made of."""
    kept = json.loads(text)
    return [(kept["type"], kept["module"], kept["message"]), *(tuple(link) for link in kept.get("because", ()))]


def _causes(error: BaseException) -> list[tuple[str, str, str]]:
    """The errors that were being handled when this one was raised, the nearest first."""
    chain: list[tuple[str, str, str]] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(chain) < _LONGEST_CHAIN:
        chain.append((type(cause).__qualname__, type(cause).__module__, _text(str(cause))[:_LONGEST_MESSAGE]))
        cause = cause.__cause__ or cause.__context__
    return chain


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)[:_LONGEST_MESSAGE]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value[:100]]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in list(value.items())[:100]}
    return _text(str(value))[:_LONGEST_MESSAGE]


def _text(text: str) -> str:
    """Without lone surrogates, which no database takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _subclasses(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from _subclasses(child)
