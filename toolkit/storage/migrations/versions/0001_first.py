"""The tables of the first release."""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    folder = files("toolkit.storage.migrations").joinpath("first_schema")
    text = folder.joinpath(f"{connection.dialect.name}.sql").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    for statement in "\n".join(lines).split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)
