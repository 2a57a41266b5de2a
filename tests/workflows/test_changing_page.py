"""The examples of docs/changing-workflows.md are one program that runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from toolkit.testing import run_workflow, running_app

PAGE = (Path(__file__).parents[2] / "docs" / "changing-workflows.md").read_text(encoding="utf-8")


@pytest.fixture
def page() -> Iterator[Any]:
    module = ModuleType("changing_workflows")
    sys.modules[module.__name__] = module
    source = "\n\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))
    exec(compile(source, "docs/changing-workflows.md", "exec"), vars(module))
    yield module
    del sys.modules[module.__name__]


async def test_the_documented_workflows_run(page: Any) -> None:
    assert await run_workflow(page.open_account, "ada", events={"signed": "yes"}) == "yes"
    assert await run_workflow(page.buy, "apple", "corner") == page.Price(amount=7, currency="EUR")


async def test_the_documented_versions_stand_side_by_side_in_one_application(page: Any) -> None:
    async with running_app(page.app) as process:
        new = await process.engine.start_json("ship", {"order": "a"})
        old = await process.start(page.ship_by_lorry, "a")
        await process.engine.emit_event("a-delivered", "by train")
        await process.engine.emit_event("a-unloaded", "by lorry")

        assert await process.result(new) == "by train"
        assert await process.result(old) == "by lorry"
