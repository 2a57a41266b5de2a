"""Writes the checked-in schema from the tables that the rooms declare: ``python -m scripts.schema [--check]``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from toolkit.storage import Table

ROOMS = ("access", "files", "workflows", "rules", "human")
FOLDER = Path(__file__).parent.parent / "toolkit" / "storage" / "schema_sql"
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
        path, text = FOLDER / f"{name}.sql", render(dialect)
        if is_check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"out of date: {', '.join(stale)}; run: python -m scripts.schema")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
