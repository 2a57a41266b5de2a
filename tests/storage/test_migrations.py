"""Migrations: from nothing to exactly what the code declares, once, and never over a database that is not known."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlmodel import text

from scripts.schema import FOLDERS, ROOMS, main
from toolkit.errors import SchemaOutdated, StorageError
from toolkit.storage import Database, migrations
from toolkit.storage import Table as OurTable
from toolkit.storage.schema import HEAD

ROOT = Path(__file__).parents[2]
DESCENDING = ("ix_toolkit_run_due", "ix_toolkit_task_due", "ix_toolkit_task_inbox_actor")  # by priority


def test_the_checked_in_schema_is_what_the_rooms_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["schema", "--check"])

    assert main() == 0
    assert ROOMS
    assert all(folder.is_dir() for folder in FOLDERS)


def test_the_schema_is_stamped_with_the_last_revision() -> None:
    assert migrations.OUR_LINE.head == HEAD


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
async def test_migrating_from_nothing_ends_where_a_new_database_begins(database_url: str) -> None:
    line = migrations.Line(
        owner="the toolkit's",
        folder=migrations.OUR_LINE.folder,
        version_table="toolkit_schema",
        metadata=OurTable.metadata,
    )

    applied = await migrations.upgrade(database_url, migrations.OUR_LINE)
    again = await migrations.upgrade(database_url, migrations.OUR_LINE)
    database = Database(database_url)
    await database.open()
    await database.close()

    assert (applied[-1], again) == (HEAD, [])
    # Alembic cannot compare an index whose columns are expressions.
    found = await migrations.find_differences(database_url, line)
    assert [each for each in found if not any(index in each for index in DESCENDING)] == []


async def test_a_new_database_is_taken_for_a_migrated_one(database: Database) -> None:
    assert await migrations.find_revision(database.url, migrations.OUR_LINE) == HEAD
    assert await migrations.upgrade(database.url, migrations.OUR_LINE) == []


async def test_a_database_of_another_toolkit_is_not_opened(database: Database) -> None:
    async with database.session() as session:
        await session.exec(text("UPDATE toolkit_schema SET version_num = 'later'"))  # type: ignore[call-overload]

    other = Database(database.url)
    with pytest.raises(SchemaOutdated, match="later"):
        await other.open()
    await other.close()
    with pytest.raises(StorageError, match="later"):
        await migrations.upgrade(database.url, migrations.OUR_LINE)


async def test_a_migration_that_fails_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "0001_breaks.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        "revision, down_revision, branch_labels, depends_on = '0001', None, None, None\n"
        "def upgrade():\n"
        "    op.create_table('half_done', sa.Column('id', sa.Integer, primary_key=True))\n"
        "    op.execute('SELECT nothing FROM nowhere')\n",
        encoding="utf-8",
    )
    metadata = MetaData()
    Table("half_done", metadata, Column("id", Integer, primary_key=True), Column("note", Text))
    line = migrations.application_line(tmp_path, metadata)

    with pytest.raises(Exception, match="nowhere"):
        await migrations.upgrade(database_url, line)

    assert await migrations.find_revision(database_url, line) is None
    assert await migrations.find_differences(database_url, line) == ["the table 'half_done' is missing"]


async def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from toolkit.storage import migrations\n"
        "print(len(asyncio.run(migrations.upgrade(sys.argv[1], migrations.OUR_LINE))))\n"
    )

    def start() -> str:
        return subprocess.run(
            [sys.executable, "-c", code, database_url], cwd=ROOT, capture_output=True, text=True, check=True, timeout=90
        ).stdout.strip()

    counts = await asyncio.gather(*(asyncio.to_thread(start) for _ in range(3)))

    assert sorted(counts) == ["0", "0", "1"]
