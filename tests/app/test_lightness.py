"""An author's module is imported quickly: what is heavy loads when an installation starts."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {
    "alembic",
    "fastapi",
    "fsspec",
    "jinja2",
    "openai",
    "pydantic_ai",
    "sqlalchemy",
    "sqlmodel",
    "uvicorn",
    "yaml",
    "zen",
}


def test_the_doors_that_authors_import_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "import toolkit.app, toolkit.workflows, toolkit.agents, toolkit.rules, toolkit.human, toolkit.files\n"
        "toolkit.app.Toolkit('Light')\n"
        f"print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert finished.stdout.strip() == "[]"
