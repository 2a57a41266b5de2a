"""A schedule that cannot work is refused where it is written or registered, with what was found and expected."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from toolkit.app import Toolkit
from toolkit.errors import DefinitionError
from toolkit.storage import Database
from toolkit.workflows import Engine, Schedule, step, workflow

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)


@workflow()
async def report(number: int, note: str = "") -> str:
    return f"{number} {note}"


@workflow()
async def plain() -> None: ...


@step()
async def fetch() -> None: ...


async def fetch_arguments(moment: datetime) -> Mapping[str, Any]:
    return {}


Register = Callable[[Schedule], Any]


@pytest.fixture(params=["application", "engine"])
def register(request: pytest.FixtureRequest, tmp_path: Path) -> Register:
    """Both places in which schedules are registered."""
    if request.param == "application":
        return Toolkit("Reports").register_schedule
    return Engine(Database(f"sqlite:///{tmp_path / 'toolkit.db'}")).register_schedule


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: Schedule("a schedule", plain, every=HOUR), "without white space"),
        (lambda: Schedule("", plain, every=HOUR), "1 to 200 characters"),
        (lambda: Schedule("x", plain), "neither of cron= and every="),
        (lambda: Schedule("x", plain, cron="0 6 * * *", every=HOUR), "both of cron= and every="),
        (lambda: Schedule("x", plain, cron="0 6 * *"), "schedule 'x' is '0 6 \\* \\*', with 4 field"),
        (lambda: Schedule("x", plain, cron="0 6 31 2,4 *"), "day-of-month cannot be read"),
        (lambda: Schedule("x", plain, every=timedelta(0)), "a second or more"),
        (lambda: Schedule("x", plain, every=3600), "expected a timedelta"),  # type: ignore[arg-type]
        (lambda: Schedule("x", plain, cron="0 6 * * *", timezone="Berlin"), "expected an IANA name"),
        (lambda: Schedule("x", plain, every=HOUR, timezone="Berlin"), "expected an IANA name"),
        (lambda: Schedule("x", plain, every=HOUR, catch_up="last"), "expected one of 'latest', 'all', 'none'"),  # type: ignore[arg-type]
        (lambda: Schedule("x", plain, every=HOUR, overlap="wait"), "expected one of 'start', 'skip'"),  # type: ignore[arg-type]
        (lambda: Schedule("x", plain, every=HOUR, catch_up="all", overlap="skip"), "leave out one of them"),
        (lambda: Schedule("x", fetch, every=HOUR), "expected a workflow"),  # type: ignore[arg-type]
        (lambda: Schedule("x", plain, every=HOUR, arguments=fetch_arguments), "async function"),  # type: ignore[arg-type]
        (lambda: Schedule("x", plain, every=HOUR, arguments=[1]), "arguments= of schedule 'x' is list"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(made: Callable[[], Schedule], told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        made()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (None, "number: .*it takes number, note"),
        ({"number": "many"}, "number: "),
        ({"number": 1, "nmae": "x"}, "nmae: "),
    ],
)
def test_fixed_arguments_that_do_not_fit_are_refused_when_they_are_registered(
    register: Register, arguments: Mapping[str, Any] | None, told: str
) -> None:
    schedule = Schedule("daily", report, every=HOUR, arguments=arguments)

    with pytest.raises(DefinitionError, match=f"schedule 'daily' do not fit workflow 'report': {told}"):
        register(schedule)


def test_two_schedules_of_one_name_are_refused_with_both_places(register: Register) -> None:
    first = Schedule("daily", plain, every=HOUR)
    second = Schedule("daily", plain, every=HOUR)
    register(first)
    register(first)

    with pytest.raises(
        DefinitionError, match=r"'daily'.*test_schedule_definitions.py:\d+.*test_schedule_definitions.py:\d+"
    ):
        register(second)


def test_what_is_no_schedule_is_refused(register: Register) -> None:
    with pytest.raises(DefinitionError, match="a schedule was expected"):
        register(plain)  # type: ignore[arg-type]


def test_a_schedule_brings_its_workflow_along(tmp_path: Path) -> None:
    app = Toolkit("Reports").register_schedule(Schedule("daily", plain, every=HOUR))
    engine = Engine(Database(f"sqlite:///{tmp_path / 'toolkit.db'}"))
    engine.register_schedule(Schedule("daily", plain, every=HOUR))

    assert list(app.definitions.workflows) == ["plain"]
    assert list(engine.workflows) == ["plain"]


def test_nothing_of_cron_is_loaded_before_a_schedule_is_made() -> None:
    code = "import sys\nimport toolkit.workflows, toolkit\ntoolkit.Toolkit('Light')\nprint('cronsim' in sys.modules)\n"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert finished.stdout.strip() == "False"
