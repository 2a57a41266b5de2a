"""What a log line looks like."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from toolkit.telemetry import configure_logging


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The root logger is the process's; each test leaves it as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_keep_the_fields() -> None:
    stream = io.StringIO()
    configure_logging(format="json", stream=stream)

    logging.getLogger("toolkit.files").info(
        "The file was stored", extra={"event": "file.stored", "size": 120, "level": "x"}
    )

    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "toolkit.files",
        "message": "The file was stored",
        "event": "file.stored",
        "size": 120,
        "level_": "x",
    }


def test_json_lines_hold_an_error_on_one_line() -> None:
    stream = io.StringIO()
    configure_logging(format="json", stream=stream)

    try:
        int("no\nvalue")
    except ValueError:
        logging.getLogger("x").exception("It failed")

    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["error"]


def test_text_lines_show_the_fields_and_cannot_be_forged() -> None:
    stream = io.StringIO()
    configure_logging(format="text", stream=stream)

    logging.getLogger("toolkit.files").warning("Odd\n12:00 INFO forged", extra={"event": "a\nb"})

    (line,) = stream.getvalue().splitlines()
    assert line.endswith("WARNING toolkit.files  Odd\\n12:00 INFO forged (event=a\\nb)")


def test_a_logger_may_have_a_level_of_its_own() -> None:
    stream = io.StringIO()
    configure_logging(level="WARNING", loggers={"toolkit.noisy": "DEBUG"}, format="text", stream=stream)

    logging.getLogger("toolkit.noisy.part").debug("seen")
    logging.getLogger("toolkit.other").info("unseen")
    logging.getLogger("toolkit.noisy").setLevel(logging.NOTSET)

    assert "seen" in stream.getvalue()
    assert "unseen" not in stream.getvalue()
