"""``python -m tests.human.rivals --tasks 1000``: the long form, with its figures on standard output."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.human.rivals.scenario import run_contest
from tests.kills.__main__ import database_in


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.human.rivals", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rivals", type=int, default=50)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", default="sqlite", choices=("sqlite", "postgresql"))
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="rivals-") as name,
        database_in(Path(name), arguments.database) as url,
    ):
        began = time.monotonic()
        report = asyncio.run(
            run_contest(url, tasks=arguments.tasks, rivals=arguments.rivals, kills=arguments.kills, seed=arguments.seed)
        )
    print(
        f"{report.tasks} tasks, {report.attempts} answers by {arguments.rivals} rivals, {report.conflicts} refused with "
        f"the winner's name, {report.kills} kills, {time.monotonic() - began:.0f} s, {len(report.faults)} fault(s)"
    )
    for fault in report.faults:
        print(f"FAULT {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
