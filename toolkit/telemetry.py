"""Logging as the configuration wants it: lines for a person or JSON objects for a machine, fields kept in both.

The toolkit logs through the standard library: a plain sentence, and ``extra={"event": "step.retry", ...}`` for what a
machine should find. Nothing a person uploaded or a model wrote is logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

# What every record has; whatever else is on it came through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_LINE_ENDS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def configure_logging(
    *,
    level: str = "INFO",
    loggers: Mapping[str, str] | None = None,
    format: Literal["text", "json"] = "text",
    stream: TextIO | None = None,
) -> None:
    """Send the records of this process to ``stream`` (standard error), in place of what was set up before.

    ``loggers`` gives single loggers, and with them those below, a level of their own.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, wanted in (loggers or {}).items():
        logging.getLogger(name).setLevel(wanted)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        # The web server brings handlers of its own; one installation speaks with one voice.
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


class TextLines(logging.Formatter):
    """``12:30:01 INFO toolkit.files  The file was stored (event=file.stored size=120)``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        # Errors and stacks have lines of their own, all of them indented: what begins at the margin is a record.
        return "\n    ".join(_encodable(super().format(record)).splitlines())

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        line = _on_one_line(super().formatMessage(record))
        fields = fields_of(record)
        if not fields:
            return line
        return f"{line} ({' '.join(f'{name}={_on_one_line(_said(value))}' for name, value in fields.items())})"


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, fields, ``error``, ``stack``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        # A field cannot pass itself off as one of ours.
        line |= {name if name not in line else f"{name}_": value for name, value in fields_of(record).items()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        elif record.exc_text:  # made by whoever sent the record here from another process
            line["error"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            text = json.dumps(line, default=_said, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # a key that is no text, nan, a value that holds itself
            text = json.dumps({name: _plain(value) for name, value in line.items()}, ensure_ascii=False)
        return _encodable(text)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _plain(value: Any) -> Any:
    """``value`` if JSON has it, else as Python writes it: a record that is odd is better than none."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return _said(value)
    return value


def _said(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - of an author's __str__, and of values that nest too deep
        return f"<{type(value).__qualname__}>"


def _encodable(text: str) -> str:
    """``text`` with halves of a surrogate pair escaped, which no stream could write."""
    return text.encode("utf-8", "backslashreplace").decode()


def _on_one_line(text: str) -> str:
    """``text`` with whatever ends a line escaped, so that no value can forge a line."""
    return _LINE_ENDS.sub(lambda found: repr(found[0])[1:-1], text)
