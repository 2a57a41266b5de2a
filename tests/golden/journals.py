"""The rows of a database as JSON, and back into a database of either kind."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from sqlalchemy import MetaData, Table
from sqlalchemy import types as sql_types

from tests.crashes.plays import make_ledger
from tests.crashes.references import (
    REFERENCES,
    WORKFLOWS,
    CrashEntry,
    Reference,
    do_what_people_do,
    employ_people,
)
from toolkit.storage import Database, UtcDateTime
from toolkit.storage import Table as OurTable
from toolkit.testing import Process, VirtualClock, running_process, temporary_url

FOLDER = Path(__file__).parent
KEY = "golden"
_LEFT_OUT = {"toolkit_schema", "toolkit_worker", "toolkit_audit"}


def kept() -> list[Path]:
    """Every journal of every release."""
    return sorted(FOLDER.glob("*/*.json"))


def reference_of(path: Path) -> Reference:
    """The workflow that ``path`` is a journal of."""
    return REFERENCES[path.name.split(".", 1)[0]]


async def write(version: str) -> list[Path]:
    """Play each reference workflow and write what is on record whenever it waits, and at its end."""
    folder = FOLDER / version
    folder.mkdir(exist_ok=True)
    return [path for name in REFERENCES async for path in _write_one(name, folder)]


async def _write_one(name: str, folder: Path) -> Any:
    reference, written = REFERENCES[name], list[Path]()
    async with temporary_url() as url:
        await make_ledger(url)
        async with running_process(url, *WORKFLOWS, clock=VirtualClock(), prepare=employ_people) as process:

            async def keep_and_act(process: Process) -> bool:
                path = folder / f"{name}.{len(written) + 1}.json"
                path.write_text(await _dumped(process, run.id))
                written.append(path)
                return await do_what_people_do(process)

            process.people = keep_and_act
            run = await process.start(reference.workflow, reference.argument(KEY))
            assert await process.result(run) == reference.result(KEY)
            path = folder / f"{name}.finished.json"
            path.write_text(await _dumped(process, run.id))
    for each in [*written, path]:
        yield each


async def _dumped(process: Process, run_id: str) -> str:
    tables: dict[str, list[dict[str, Any]]] = {}
    async with process.engine.database.session() as session:
        connection = await session.connection()
        for table in _tables():
            rows = (await connection.execute(table.select())).mappings()
            if found := [{key: value for key, value in row.items() if value is not None} for row in rows]:
                tables[table.name] = found
    content = {"run_id": run_id, "moment": process.clock.now(), "tables": tables}
    return json.dumps(json.loads(to_json(content)), indent=1, ensure_ascii=False) + "\n"


async def load(url: str, path: Path) -> tuple[str, datetime]:
    """Put the rows of a journal into an empty database; returns the id of its run and the moment of the journal."""
    content = _read(path)
    await make_ledger(url)
    database = Database(url)
    await database.open()
    async with database.session() as session:
        connection = await session.connection()
        for table in _tables():
            for row in content["tables"].get(table.name, ()):
                await connection.execute(table.insert().values(dict(_values(table, row))))
    await database.close()
    return content["run_id"], datetime.fromisoformat(content["moment"])


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _tables() -> list[Table]:
    for room in ("access", "files", "workflows", "rules", "human", "agents", "entities"):
        importlib.import_module(f"toolkit.{room}.tables")  # tables are declared when they are imported
    metadata: MetaData = OurTable.metadata
    ours = [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]
    return [*ours, CrashEntry.metadata.tables["crash_entry"]]


def _values(table: Table, row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if (table.name, name) == ("crash_entry", "id"):
            continue  # a sequence of PostgreSQL's does not hear of ids that it has not given
        type_ = table.columns[name].type
        is_moment = isinstance(type_, UtcDateTime | sql_types.DateTime)
        yield name, datetime.fromisoformat(value) if is_moment else value
