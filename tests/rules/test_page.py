"""What the page on rules says is so: its example runs, and the way from a starter graph to a rollback is open."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from toolkit.config import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")


@pytest.fixture
def example() -> Iterator[ModuleType]:
    found = re.search(r"<!-- test: expenses -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    module = ModuleType("expenses_example")
    sys.modules["expenses_example"] = module
    exec(compile(found.group(1), "docs/rules.md", "exec"), vars(module))
    yield module
    del sys.modules["expenses_example"]


async def test_the_example_is_changed_without_a_deploy_and_back(example: ModuleType, tmp_path: Path) -> None:
    expense = example.Expense(amount=Decimal(400), category="travel")
    async with example.app.running(settings=Settings.of({}, folder=tmp_path)) as app:
        rules = app.services.rules

        async def outcome() -> str:
            run = await app.start(example.pay_expense, expense)
            return str(await run.result())

        assert await outcome() == "refused: the limit is 100"
        graph = rules.starter_graph("expense_policy")
        table = graph["nodes"][1]["content"]
        table["rules"] = [
            {"_id": "1", "in-amount": "<= 500", "in-category": "'travel'", "out-approved": "true"},
            {"_id": "2", "out-approved": "false", "out-reason": "'ask'"},
        ]
        version = await rules.upload("expense_policy", json.dumps(graph).encode(), note="travel up to 500")
        await rules.activate("expense_policy", version.number)
        assert await outcome() == "paid"

        await rules.rollback("expense_policy")
        assert await outcome() == "refused: the limit is 100"
