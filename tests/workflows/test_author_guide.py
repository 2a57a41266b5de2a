"""What docs/workflows.md shows does what the page says."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.workflows.conftest import StartEngine, until, until_state
from toolkit.testing import VirtualClock, running_process
from toolkit.workflows import Engine, RunFilter, RunState, Workflow

PAGE = Path(__file__).parents[2] / "docs" / "workflows.md"


@pytest.fixture(scope="module")
def page() -> Iterator[ModuleType]:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("author_guide")
    sys.modules["author_guide"] = module
    exec(compile("\n".join(blocks), str(PAGE), "exec"), vars(module))
    yield module
    del sys.modules["author_guide"]


@pytest.fixture
async def engine(page: ModuleType, start_engine: StartEngine) -> Engine:
    return await start_engine(*(found for found in vars(page).values() if isinstance(found, Workflow)))


@pytest.mark.parametrize(
    ("name", "arguments", "event", "result"),
    [
        ("compare", (["Ada", "Grace"],), None, [3, 5]),
        ("first_answer", ("ada",), ("reply:ada", "yes"), "yes"),
        ("remind", ("ada",), ("paid:ada", "in full"), "in full"),
        ("sign", ("c1",), ("signed:c1", "Ada"), "Ada and Ada"),
        ("follow", ("p1",), None, "delivered"),
        ("onboard", ("Ada",), None, "welcome"),
        ("collect", (1, 0), ("sales", 5), 15),
        ("trip", (), None, "enjoy"),
        ("deliver", ("o1",), ("shipped", None), "on its way"),
    ],
)
async def test_each_workflow_of_the_guide_ends_as_the_guide_says(  # noqa: PLR0917
    page: ModuleType, engine: Engine, name: str, arguments: tuple[Any, ...], event: tuple[str, Any] | None, result: Any
) -> None:
    run = await engine.start(getattr(page, name), *arguments)
    for _ in range(3 if event else 0):
        assert event is not None
        await engine.emit_event(*event)

    assert await asyncio.wait_for(run.result(), 10) == result


async def test_the_apology_of_the_guide_follows_a_cancel(page: ModuleType, engine: Engine) -> None:
    run = await engine.start(page.deliver, "o2")
    await until_state(engine, run.id, RunState.SUSPENDED)
    await engine.cancel(run.id, reason="out of stock")

    async def apologised() -> bool:
        runs = await engine.list_runs(workflow="apologise", state=RunState.SUCCEEDED)
        return bool(runs) and (await engine.get_run(runs[0].id)).result == '"sorry about o2: out of stock"'

    await until(apologised)


async def test_the_schedule_of_the_guide_starts_a_run_on_the_next_weekday(page: ModuleType, database_url: str) -> None:
    clock = VirtualClock(datetime(2026, 1, 2, 6, tzinfo=UTC))  # a Friday, an hour later in Berlin
    async with running_process(
        database_url, clock=clock, prepare=lambda engine: engine.register_schedule(page.close_daily)
    ) as process:
        await process.advance(timedelta(days=3))
        (run,) = await process.engine.list_runs(RunFilter(started_by="schedule:close_daily"))

        assert (await process.engine.get_run(run.id)).result == '"04.01. is closed"'


def test_the_guide_imports_nothing_that_it_does_not_use(page: ModuleType) -> None:
    text = PAGE.read_text(encoding="utf-8")
    listed = re.search(r"from toolkit.workflows import \((.*?)\)", text, re.DOTALL)
    assert listed is not None

    names = [name.strip() for name in listed.group(1).split(",") if name.strip()]

    assert [name for name in names if text.count(name) < 2] == []
