"""A waiting run is a row: ten thousand of them cost a process next to nothing, and each is still answered at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_MEGABYTES = 50


@pytest.mark.timeout(300)
async def test_ten_thousand_runs_that_wait_for_a_person_cost_less_than_fifty_megabytes(
    database_url: str, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.scale.waiting",
        database_url,
        str(tmp_path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()

    measured = json.loads(output.splitlines()[-1])
    print(measured)
    assert process.returncode == 0
    assert measured["grown_mb"] < MOST_MEGABYTES
    assert measured["answer_seconds"] < 5  # well under a second on an idle machine; see docs/reliability.md
