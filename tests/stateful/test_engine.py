"""The engine does what a plain model of it says; ``python -m tests.stateful`` plays many more examples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import DIALECTS
from tests.stateful.databases import new_postgresql, new_sqlite
from tests.stateful.machines import machine_at


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new, empty database for all examples."""
    is_sqlite = request.param == "sqlite"
    with new_sqlite() if is_sqlite else new_postgresql(str(request.getfixturevalue("postgresql_server"))) as there:
        yield there


def test_the_engine_does_what_its_model_says(url: str) -> None:
    run_state_machine_as_test(
        machine_at(url),
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
