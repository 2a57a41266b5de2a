"""The examples of docs/testing.md are one program and its tests; all of them pass."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
SOURCE = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL))
TESTS = re.findall(r"^async def (test_\w+)", SOURCE, flags=re.MULTILINE)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    file = tmp_path / "documented_tests.py"
    file.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("documented_tests", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "documented_tests", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", TESTS)
async def test_a_documented_test_passes(page: Any, name: str) -> None:
    await getattr(page, name)()


def test_there_are_some() -> None:
    assert len(TESTS) >= 6
