"""The table of traps in docs/reliability.md: every trap is in it, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| `(tests/[\w/]+\.py)::(test_\w+)` \|$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize(("trap", "file", "test"), ROWS, ids=[row[0] for row in ROWS])
def test_the_test_of_a_trap_is_there(trap: str, file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in names


def test_no_trap_is_left_out() -> None:
    assert len(ROWS) == 28
    ours = {test for _, file, test in ROWS if file.startswith("tests/traps/")}
    written = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        if path != Path(__file__):
            written |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    assert ours == written
