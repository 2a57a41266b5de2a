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
from toolkit.rules import read_spreadsheet

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")


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


def test_what_is_quoted_stands_in_the_example() -> None:
    (path, quoted), *_ = re.findall(r"<!-- from (\S+) -->\n```python\n(.*?)```", PAGE, re.DOTALL)

    assert quoted in (ROOT / path).read_text(encoding="utf-8")
    assert (ROOT / path).with_name("approval_policy.jdm.json").is_file()


async def test_the_table_of_the_page_comes_back_from_a_spreadsheet(example: ModuleType) -> None:
    section = PAGE.split("## In a spreadsheet")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
    header, _, *body = [[cell.strip(" `|") for cell in row] for row in rows]

    graph = read_spreadsheet(
        "\n".join(";".join(row) for row in (header, *body)).encode(), "csv", example.expense_policy.starter_graph()
    )

    content = graph["nodes"][1]["content"]
    assert [column.get("field") for column in content["inputs"]] == ["amount", "category", None]
    assert [row["_id"] for row in content["rules"]] == ["r1", "r2"]
