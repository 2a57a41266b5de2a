"""What an author may say of a human task, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic import BaseModel

from toolkit.errors import DefinitionError, WrongContext
from toolkit.human import Human, TaskExpired, Timeout, Value


class Verdict(BaseModel):
    approved: bool
    limit: Decimal = Decimal("0.10")


def test_a_timeout_is_said_as_a_duration_or_in_full() -> None:
    short = Human("a", title="A", output_type=Verdict, timeout=timedelta(hours=1))
    long = Human("b", title="B", output_type=Verdict, timeout=Timeout(timedelta(hours=1)))

    assert short.timeout == long.timeout


def test_a_definition_remembers_where_it_was_written() -> None:
    assert Human("a", title="A", output_type=bool).source.startswith(f"{__file__}:")
    assert Human[str, bool]("a", title="A", output_type=bool).source.startswith(f"{__file__}:")


def test_the_schema_of_the_answer_is_ready_for_a_form() -> None:
    schema = Human("a", title="A", output_type=Verdict).output_schema()

    assert schema["required"] == ["approved"]
    assert set(schema["properties"]) == {"approved", "limit"}


def test_the_digest_of_the_schema_changes_with_the_schema_alone() -> None:
    first = Human("a", title="A", output_type=Verdict)

    assert first.output_schema_digest == Human("b", title="B", output_type=Verdict).output_schema_digest
    assert first.output_schema_digest != Human("a", title="A", output_type=bool).output_schema_digest


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a" * 201])
def test_a_name_must_stand_in_a_path(name: str) -> None:
    with pytest.raises(DefinitionError, match="white space"):
        Human(name, title="A", output_type=bool)


def test_a_task_needs_a_title() -> None:
    with pytest.raises(DefinitionError, match="title"):
        Human("a", title=" ", output_type=bool)


@pytest.mark.parametrize("limit", [timedelta(0), timedelta(seconds=-1)])
def test_a_timeout_lasts_longer_than_nothing(limit: timedelta) -> None:
    with pytest.raises(DefinitionError, match="longer than nothing"):
        Timeout(limit)


def test_there_is_no_approval_by_default() -> None:
    with pytest.raises(DefinitionError, match="on_timeout"):
        Timeout(timedelta(1), on_timeout="approve")  # type: ignore[arg-type]


def test_the_value_of_a_timeout_must_fit_the_output() -> None:
    with pytest.raises(DefinitionError, match="timeout"):
        Human("a", title="A", output_type=Verdict, timeout=Timeout(timedelta(1), on_timeout=Value("no verdict")))


def test_a_type_without_a_schema_is_refused_at_once() -> None:
    class Opaque: ...

    with pytest.raises(DefinitionError, match="output_type"):
        Human("a", title="A", output_type=Opaque)


async def test_a_question_outside_a_run_is_an_error_that_says_so() -> None:
    with pytest.raises(WrongContext, match="'a'"):
        await Human("a", title="A", output_type=bool)()


def test_an_expired_task_is_a_timeout_like_any_other() -> None:
    error = TaskExpired("review", task_id="t1")

    assert isinstance(error, TimeoutError)
    assert (error.task, error.task_id) == ("review", "t1")
    assert str(error) == "nobody answered the task 'review' (t1) in time"


def test_importing_human_loads_no_database_library() -> None:
    code = (
        "import sys; from toolkit.human import Human; "
        "print([m for m in ('sqlalchemy', 'sqlmodel', 'zen', 'pydantic_ai', 'fsspec', 'fastapi') if m in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
