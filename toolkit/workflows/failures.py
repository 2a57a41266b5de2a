"""Errors, kept as JSON and raised again on replay as what they were.

An author's ``except ValueError`` must take the same branch on the first run and on every replay, so a recorded error
comes back as its own class, and the first run raises what came back too: attributes are plain values in both. The class
is looked up among the exception classes that are loaded; nothing is imported, and no constructor of an author's is
called, because of what stands in a row.

An error may be anybody's code: whatever its text or its attributes do when they are asked for, it is recorded.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from toolkit.errors import RecordedError
from toolkit.serialization import storable
from toolkit.storage import PayloadNotDecoded

_LONGEST_MESSAGE = 4_000
_LONGEST_TRACE = 20_000
_LONGEST_CHAIN = 10
_LONGEST_SUMMARY = 300
_MOST_MEMBERS, _MOST_FINDINGS, _DEEPEST = 20, 50, 8
_LARGEST_INTEGER = 10**1000  # Python writes and reads no more than some thousand digits
_MESSAGE = "__toolkit_message__"  # where a revived error keeps its text, which may need what its attributes were
_STEP = "__toolkit_step__"  # where an error keeps which step it tells of
_OF_OS_ERRORS = ("errno", "strerror", "filename", "filename2")


E = TypeVar("E", bound=Exception)


class Link(NamedTuple):
    """An error as those that were made of it know it; ``step`` is the step that it tells of, if any."""

    type: str
    module: str
    message: str
    step: Sequence[str] = ()  # its run, and its path there


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


def tells_of(error: E, *, run_id: str, path: str) -> E:
    """``error``, known as made of what the step at ``path`` has brought, which is no failure by itself.

    A retry of a run that fails with it begins with that step.
    """
    error.__dict__[_STEP] = (run_id, path)
    return error


def record_error(error: BaseException, *, cause: str | None = None, errors: list[str] | None = None) -> str:
    """``error`` as JSON text: type, message, plain arguments and attributes, members of a group, trace.

    ``cause`` is another recorded error; ``errors`` are those of earlier attempts, each in a line.
    """
    kept = _kept(error)
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
    return _revived(json.loads(text))


def message_of(error: BaseException) -> str:
    """The text of ``error``, whatever asking for it does."""
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - an author's __str__ may raise anything
        text = vars(error).get(_MESSAGE) or f"(its text cannot be made: {type(failure).__name__})"
    return _text(text)[:_LONGEST_MESSAGE]


def summary_of(text: str) -> str:
    """A recorded error in one line."""
    kept = json.loads(text)
    return storable(f"{kept['type']}: {kept['message']}".splitlines()[0])[:_LONGEST_SUMMARY]


def error_chain(text: str) -> list[Link]:
    """A recorded error, then each error that it was made of."""
    kept = json.loads(text)
    own = Link(kept["type"], kept["module"], kept["message"], kept.get("step", ()))
    return [own, *(Link(*link) for link in kept.get("because", ()))]


def _causes(error: BaseException) -> list[Link]:
    """The errors that were being handled when this one was raised, the nearest first."""
    chain: list[Link] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(chain) < _LONGEST_CHAIN:
        step = vars(cause).get(_STEP, ())
        chain.append(Link(type(cause).__qualname__, type(cause).__module__, message_of(cause), step))
        cause = cause.__cause__ or cause.__context__
    return chain


def _kept(error: BaseException, *, depth: int = 0) -> dict[str, Any]:
    attributes = {name: value for name, value in vars(error).items() if not name.startswith("__")}
    kept = {
        "type": type(error).__qualname__,
        "module": type(error).__module__,
        "message": message_of(error),
        "args": _plain(error.args),
        "attributes": _plain(attributes),
    }
    if (step := vars(error).get(_STEP)) is not None:
        kept["step"] = step
    if isinstance(error, OSError):
        found = {name: _plain(getattr(error, name)) for name in _OF_OS_ERRORS}
        kept["os"] = {name: value for name, value in found.items() if value is not None}
    elif isinstance(error, ValidationError):
        findings = error.errors(include_url=False, include_context=False)[:_MOST_FINDINGS]
        kept["findings"] = {"title": error.title, "errors": _plain(findings)}
    elif isinstance(error, BaseExceptionGroup) and depth < _DEEPEST:
        kept["members"] = [_kept(member, depth=depth + 1) for member in error.exceptions[:_MOST_MEMBERS]]
    return kept


def _revived(kept: dict[str, Any]) -> Exception:
    for candidate in _subclasses(Exception):
        if candidate.__qualname__ == kept["type"] and candidate.__module__ == kept["module"]:
            try:
                error = _made(candidate, kept)
            except (TypeError, ValueError):  # a class with a layout of its own
                break
            return error
    return RecordedError(kept["type"], kept["message"])


def _made(class_: type[Exception], kept: dict[str, Any]) -> Exception:
    """An error of ``class_``.

    Raises:
        TypeError, ValueError: it has a layout of its own.
    """
    if "findings" in kept:
        return cast("Exception", _validation_error(**kept["findings"]))
    if "members" in kept:
        members = [_revived(member) for member in kept["members"]]
        error = class_.__new__(class_, str(kept["args"][0]), members)
    else:
        error = class_.__new__(class_)
        error.args = tuple(kept.get("args", ()))
    for name, value in kept.get("os", {}).items():
        setattr(error, name, value)
    error.__dict__.update({**kept.get("attributes", {}), _MESSAGE: kept["message"]})
    if "step" in kept:
        run_id, path = kept["step"]
        tells_of(error, run_id=run_id, path=path)
    return error


def _validation_error(*, title: str, errors: list[dict[str, Any]]) -> ValidationError:
    """Pydantic's findings once more, each with its type, place and message."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError(found["type"], found["msg"].replace("{", "{{").replace("}", "}}")),
                loc=tuple(found["loc"]),
                input=found["input"],
            )
            for found in errors
        ],
    )


def _plain(value: Any, *, depth: int = 0) -> Any:
    """``value`` as JSON can have it; what it has no form for as text."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_INTEGER:
        return int(value)
    if isinstance(value, str):
        return _text(str(value))[:_LONGEST_MESSAGE]
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_plain(item, depth=depth + 1) for item in value[:100]]
    if isinstance(value, dict) and depth < _DEEPEST:
        return {_told(key): _plain(item, depth=depth + 1) for key, item in list(value.items())[:100]}
    return _told(value)


def _told(value: object) -> str:
    try:
        return _text(str(value))[:_LONGEST_MESSAGE]
    except Exception:  # noqa: BLE001 - anybody's __str__; RecursionError and too many digits are among what it raises
        return f"<{type(value).__qualname__}>"


def _text(text: str) -> str:
    """Without lone surrogates, which no database takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _subclasses(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from _subclasses(child)
