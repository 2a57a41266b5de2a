"""Without zen-engine, openpyxl and pyarrow everything works that needs none of them; the rest says what to install."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.rules.policies import LIMITS, encode
from toolkit.rules import RuleService
from toolkit.storage import Database

ROOT = Path(__file__).parents[2]
WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys(("zen", "openpyxl", "pyarrow", "pyarrow.parquet")))  # as if they were not installed
runpy.run_module("tests.rules.without_extras", run_name="__main__")
"""
INSTALL = "pip install 'process-toolkit[rules]'"


async def test_functions_decide_without_the_extra_and_overrides_say_what_to_install(
    service: RuleService, database: Database
) -> None:
    await service.upload("approval", encode(LIMITS))
    await service.activate("approval", 1)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITHOUT, database.url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    text, _ = await process.communicate()
    said = dict(line.split(": ", 1) for line in text.decode().splitlines())

    assert process.returncode == 0
    assert {name: said[name] for name in said if "install" not in said[name]} == {
        "function in a run": "by the function",
        "function": "by the function",
        "starter graph": "3",
        "deactivate": "python",
        "function again": "by the function",
    }
    told = {name for name in said if INSTALL in said[name]}
    assert told == {"override", "override in a batch", "upload", "activate", "simulate", "excel"}
