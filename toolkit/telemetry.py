"""Logging as the configuration wants it: lines for a person or JSON objects for a machine, fields kept in both.

The toolkit logs through the standard library: a plain sentence, and ``extra={"event": "step.retry", ...}`` for what a
machine should find. Nothing a person uploaded or a model wrote is logged.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

# What every record has; whatever else is on it came through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


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

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        line = _on_one_line(super().formatMessage(record))
        fields = fields_of(record)
        if not fields:
            return line
        return f"{line} ({' '.join(f'{name}={_on_one_line(str(value))}' for name, value in fields.items())})"


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, the fields, ``error`` if any."""

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
        return json.dumps(line, default=str, ensure_ascii=False)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _on_one_line(text: str) -> str:
    """``text`` with line breaks escaped, so that no value can forge a line."""
    return text.replace("\r", "\\r").replace("\n", "\\n")
