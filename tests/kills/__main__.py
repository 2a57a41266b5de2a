"""``python -m tests.kills --kills 50``: the long form, with its figures on standard output."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.kills.model_server import serving_model
from tests.kills.processes import install
from tests.kills.scenario import INVOICES, run_scenario


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", default="sqlite", help="sqlite, or the URL of an empty PostgreSQL database")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as name, serving_model() as model:
        folder = Path(name)
        url = f"sqlite:///{folder / 'toolkit.db'}" if arguments.database == "sqlite" else arguments.database
        installation = install(folder, database_url=url, model_url=model.url)
        began = time.monotonic()
        report = asyncio.run(run_scenario(installation, model, kills=arguments.kills, seed=arguments.seed))
    print(
        f"{report.kills} kills in {time.monotonic() - began:.0f} s: {INVOICES} invoices, {dict(report.states)}, "
        f"{report.payments} payments, {report.model_answers} model answers of which {report.model_answers_recorded} "
        f"were recorded"
    )
    for fault in report.faults:
        print(f"FAULT {fault}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
