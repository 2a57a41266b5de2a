"""What the README says is so: its example runs, its links lead somewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.workflows.conftest import until
from toolkit.access import Principal, acting_as
from toolkit.config import Settings
from toolkit.human import TaskService

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "invoice" / "README.md"]


@pytest.fixture
def example() -> Iterator[ModuleType]:
    found = re.search(r"<!-- test: readme -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    module = ModuleType("readme_example")
    sys.modules["readme_example"] = module
    exec(compile(found.group(1), "README.md", "exec"), vars(module))
    yield module
    del sys.modules["readme_example"]


def reads(total: str) -> FunctionModel:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"vendor": "Ada Ltd", "total": total})])

    return FunctionModel(answer)


@pytest.mark.parametrize(
    ("total", "approved", "ends"), [("900", None, "paid 900 to Ada Ltd"), ("1200", False, "rejected")]
)
async def test_the_example_pays_small_invoices_and_asks_about_large_ones(
    example: ModuleType, tmp_path: Path, total: str, approved: bool | None, ends: str
) -> None:
    app = example.app.register_model_factory("double", lambda *_: reads(total))
    settings = Settings.of({"ai_models": {"invoice_model": {"provider": "double"}}}, folder=tmp_path)
    async with app.running(settings=settings) as running:
        file = await running.services.files.upload(b"an invoice", filename="invoice.txt")

        run = await running.start(example.process_invoice, file)
        if approved is not None:
            await answer_the_task(running.services.tasks, approved=approved)

        assert await run.result() == ends


async def answer_the_task(tasks: TaskService, *, approved: bool) -> None:
    await until(tasks.list)
    (task,) = await tasks.list()
    with acting_as(Principal(id="ada", kind="person", permissions="*")):
        await tasks.complete(task.id, f'{{"approved": {str(approved).lower()}}}')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []
