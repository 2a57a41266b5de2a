"""Writes the checked-in schema from the tables that the rooms declare: ``python -m scripts.schema [--check]``.

While there is only the first revision, nothing has been released and its SQL is the schema itself. With the second
revision the SQL of the first stays as it was.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from toolkit.storage import Table
from toolkit.storage.schema import HEAD

ROOMS = ("access", "files", "workflows", "rules", "human", "agents", "entities")
STORAGE = Path(__file__).parent.parent / "toolkit" / "storage"
FOLDERS = [STORAGE / "schema_sql", *([STORAGE / "migrations" / "first_schema"] if HEAD == "0001" else [])]
DIALECTS: dict[str, Dialect] = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}  # type: ignore[no-untyped-call]


def render(dialect: Dialect) -> str:
    """Every table and index of the toolkit as SQL of ``dialect``."""
    for room in ROOMS:
        if (Path(__file__).parent.parent / "toolkit" / room / "tables.py").exists():
            importlib.import_module(f"toolkit.{room}.tables")
    statements = []
    for table in Table.metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        statements += [
            str(CreateIndex(index).compile(dialect=dialect))
            for index in sorted(table.indexes, key=lambda i: str(i.name))
        ]
    lines = (line.rstrip().replace("\t", "    ") for s in statements for line in f"{s.strip()};\n".splitlines())
    return "-- Made by `python -m scripts.schema` from the rooms' tables.py; change those.\n" + "\n".join(lines) + "\n"


def main() -> int:
    is_check = "--check" in sys.argv
    stale = []
    for name, dialect in DIALECTS.items():
        text = render(dialect)
        for path in [folder / f"{name}.sql" for folder in FOLDERS]:
            if not is_check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
            elif not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.relative_to(STORAGE).as_posix())
    if stale:
        print(f"out of date: {', '.join(stale)}; run: python -m scripts.schema")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
