"""An application's own tables follow its models by revisions, from the command line and at the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.storage import Database

ROOT = Path(__file__).parents[2]

MODEL = """
from decimal import Decimal
from toolkit import Toolkit
from toolkit.entities import Entity, ExactDecimal, StatusField
from toolkit.files import File
from toolkit.entities import JsonOf
from sqlmodel import Field

class Machine(Entity, table=True):
    __tablename__ = "migrated_machine"
    name: str = Field(max_length=20, unique=True)
    price: Decimal = Field(default=Decimal(0), sa_type=ExactDecimal)
    manual: File | None = Field(default=None, sa_type=JsonOf(File))
    status: str = StatusField(states=["new", "old"], transitions={{"new": ["old"]}})
{more}

app = Toolkit("Machines").register_entity(Machine)
"""
START = """
import asyncio, sys
import main
from toolkit.config import load_settings
settings = load_settings(env=sys.argv[1], config=None, app_folder=main.app.folder)
async def start():
    async with main.app.working(settings=settings):
        print("started")
asyncio.run(start())
"""


class Folder:
    """An application in a folder of its own, and what an operator does with it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        (folder / "toolkit.yaml").write_text(f"database:\n  url: {database_url}\n", encoding="utf-8")

    def write_model(self, more: str = "") -> None:
        (self.folder / "main.py").write_text(MODEL.format(more=more), encoding="utf-8")

    def db(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "toolkit.cli", "db", *arguments)

    def start(self, env: str) -> subprocess.CompletedProcess[str]:
        return self.run("-c", START, env)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}",
                "HOME": str(self.folder),
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def revisions(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "migrations").glob("*.py"))


@pytest.fixture
def folder(tmp_path: Path, database_url: str) -> Folder:
    place = tmp_path / "application"
    place.mkdir()
    return Folder(place, database_url)


async def test_models_and_tables_are_brought_together_by_revisions(folder: Folder, database_url: str) -> None:
    folder.write_model()
    written = folder.db("revision", "-m", "first machines")
    assert written.returncode == 0, written.stderr
    assert folder.revisions() == ["0001_first_machines.py"]
    text = (folder.folder / "migrations" / "0001_first_machines.py").read_text(encoding="utf-8")
    assert "toolkit.entities.ExactDecimal(precision=20, scale=2)" in text
    assert "drop_table" not in text

    upgraded = folder.db("upgrade")
    assert "applied 0001" in upgraded.stdout, upgraded.stderr
    agreed = folder.db("check")
    assert (agreed.returncode, agreed.stdout) == (0, "Models and database agree.\n"), agreed.stderr
    assert "say what the tables say" in folder.db("revision", "-m", "nothing").stdout

    folder.write_model(more="    note: str | None = None")
    differing = folder.db("check")
    assert (differing.returncode, differing.stdout) == (1, "the column 'migrated_machine.note' is missing\n")
    assert folder.db("revision", "-m", "Add a note").returncode == 0
    assert folder.revisions() == ["0001_first_machines.py", "0002_add_a_note.py"]

    refused = folder.start("prod")
    assert "toolkit db upgrade" in refused.stderr
    started = folder.start("dev")
    assert started.stdout == "started\n", started.stderr
    assert folder.start("prod").stdout == "started\n"
    assert folder.db("check").returncode == 0


async def test_tables_made_before_the_first_revision_are_taken_as_its_result(folder: Folder, database_url: str) -> None:
    folder.write_model()
    assert folder.start("dev").stdout == "started\n"
    database = Database(database_url)
    await database.open()
    async with database.session() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "INSERT INTO migrated_machine (id, version, created_at, created_by, updated_at, updated_by, name, price, status)"
            " VALUES ('a', 1, '2026-01-01T00:00:00+00:00', '', '2026-01-01T00:00:00+00:00', '', 'drill', '1.00', 'new')"
        )
    await database.close()

    folder.write_model(more="    note: str | None = None")
    told = folder.start("dev")
    assert "lacks the column(s) note" in told.stderr
    folder.write_model()
    assert folder.db("revision", "-m", "first").returncode == 0
    folder.write_model(more="    note: str | None = None")
    assert "run `toolkit db upgrade`" in folder.db("revision", "-m", "second").stderr
    assert folder.db("upgrade").returncode == 0
    assert folder.db("revision", "-m", "second").returncode == 0
    assert "applied 0002" in folder.db("upgrade").stdout

    await database.open()
    async with database.session() as session:
        connection = await session.connection()
        rows = (await connection.exec_driver_sql("SELECT name, note FROM migrated_machine")).all()
    await database.close()
    assert [tuple(row) for row in rows] == [("drill", None)]
