"""A scaffolded application is complete: it has its rooms, its test passes, and it serves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli.scaffolding import write_application
from toolkit.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def test_it_has_a_package_with_a_room_for_each_kind(tmp_path: Path) -> None:
    folder = write_application("my-invoices", into=tmp_path)

    assert folder == tmp_path / "my-invoices"
    for room in ("workflows", "agents", "rules", "human", "files"):
        assert (folder / "my_invoices" / room / "__init__.py").is_file()
    assert {path.name for path in folder.iterdir()} >= {"main.py", "toolkit.yaml", "README.md", "tests", ".gitignore"}
    assert "%{" not in "".join(path.read_text("utf-8") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "name", ["My App", "../up", "1st", "json", "class", "toolkit", "uvicorn", "pydantic", "", "a_"]
)
def test_a_name_that_cannot_be_a_package_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        write_application(name, into=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write_application("invoices", into=tmp_path)

    with pytest.raises(ConfigurationError, match="exists already"):
        write_application("invoices", into=tmp_path)


def test_its_own_test_passes_offline(tmp_path: Path) -> None:
    folder = write_application("my-invoices", into=tmp_path)

    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "2 passed" in finished.stdout
