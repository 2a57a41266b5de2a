"""The short form of the storms; the long ones are commands in docs/reliability.md."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(("--kills", "12", "--database", "sqlite"), id="kills-sqlite"),
        pytest.param(
            ("--kills", "12", "--database", "postgresql"), id="kills-postgresql", marks=pytest.mark.postgresql
        ),
        pytest.param(("--stops", "2", "--database", "sqlite"), id="stops-sqlite"),
        pytest.param(("--stops", "2", "--database", "postgresql"), id="stops-postgresql", marks=pytest.mark.postgresql),
        pytest.param(("--restarts", "2", "--database", "postgresql"), id="restarts", marks=pytest.mark.postgresql),
    ],
)
def test_no_step_is_repeated_and_no_effect_is_lost_or_doubled(trouble: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tests.kills.storm", *trouble]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " 0 faults" in ran.stdout
