"""A process that serves for long collects garbage rarely, unless somebody has said how often."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ASK = """
import gc
{before}
from toolkit.garbage import collect_rarely
collect_rarely()
print(gc.get_threshold()[0], gc.get_freeze_count() > 1000)
"""


@pytest.mark.parametrize(
    ("before", "expected"), [("", "5000 True"), ("gc.set_threshold(300)", "300 True"), ("gc.disable()", "5000 True")]
)
def test_collecting_rarely(before: str, expected: str) -> None:
    asked = [sys.executable, "-c", _ASK.format(before=before)]
    found = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == expected
