"""What a log line looks like."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

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


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("format", ["json", "text"])
def test_a_value_without_words_is_told_by_its_kind(format: Literal["json", "text"]) -> None:
    stream = io.StringIO()
    configure_logging(format=format, stream=stream)

    logging.getLogger("x").warning("Odd", extra={"value": Mute(), "size": 3})

    assert "<Mute>" in stream.getvalue()


def test_no_record_is_lost_for_an_odd_value() -> None:
    stream = io.StringIO()
    configure_logging(format="json", stream=stream)
    circle: dict[str, object] = {"name": "circle"}
    circle["self"] = circle

    logging.getLogger("x").warning(
        "Odd \udc80", extra={"pairs": {(1, 2): 3}, "circle": circle, "ratio": float("nan"), "size": 3, "text": "\ud800"}
    )

    def refuse_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    stream.getvalue().encode()
    line = json.loads(stream.getvalue(), parse_constant=refuse_constant)
    assert (line["pairs"], line["ratio"], line["size"]) == ("{(1, 2): 3}", "nan", 3)
    assert line["circle"].startswith("{'name': 'circle'")
    assert line["message"].startswith("Odd ")


def test_a_stack_is_kept_where_one_was_asked_for() -> None:
    stream = io.StringIO()
    configure_logging(format="json", stream=stream)

    logging.getLogger("x").warning("Here", stack_info=True)

    assert "test_a_stack_is_kept" in json.loads(stream.getvalue())["stack"]


def test_the_message_of_an_error_cannot_forge_a_line_of_text() -> None:
    stream = io.StringIO()
    configure_logging(format="text", stream=stream)

    error = ValueError("no\n12:00:00 INFO    toolkit.files  forged\r12:00:01 INFO\u2028again \ud800")
    logging.getLogger("x").error("It failed\x85here", exc_info=error, stack_info=True)

    first, *others = stream.getvalue().splitlines()
    assert first.endswith("ERROR   x  It failed\\x85here")
    assert any("forged" in line for line in others)
    assert all(line.startswith("    ") for line in others)
    stream.getvalue().encode()


def test_a_logger_may_have_a_level_of_its_own() -> None:
    stream = io.StringIO()
    configure_logging(level="WARNING", loggers={"toolkit.noisy": "DEBUG"}, format="text", stream=stream)

    logging.getLogger("toolkit.noisy.part").debug("seen")
    logging.getLogger("toolkit.other").info("unseen")
    logging.getLogger("toolkit.noisy").setLevel(logging.NOTSET)

    assert "seen" in stream.getvalue()
    assert "unseen" not in stream.getvalue()
