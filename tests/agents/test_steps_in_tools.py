from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.agents.runs import OPTIONS, Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, ModelRegistry
from toolkit.storage import Database
from toolkit.workflows import Engine, RunState, Workflow, gather, step, workflow

found: list[str] = []


@step()
async def find_vendor(name: str) -> str:
    """A step like any other."""
    found.append(name)
    return name.upper()


async def look(name: str) -> str:
    """Find a vendor."""
    return f"{await find_vendor(name)}, {await find_vendor(name + '!')}"


agent = Agent("extract", model="m", tools=[look])


@step()
async def read_page(number: int) -> str:
    """A step that calls an agent."""
    return (await agent(f"page {number}")).output


@workflow()
async def read_pages() -> list[str]:
    return list(await gather(read_page(1), read_page(2)))


@workflow()
async def read_both() -> list[str]:
    first, second = await gather(agent("page 1"), agent("page 2"))
    return [first.output, second.output]


@pytest.fixture
def script() -> ScriptedModel:
    found.clear()
    return ScriptedModel([call("look", name="ada")], "done")


@pytest.fixture
async def engine(sqlite: Database, script: ScriptedModel) -> AsyncIterator[Engine]:
    engine = Engine(sqlite, workflows=[read_pages, read_both], options=OPTIONS)
    engine.resources[ModelRegistry] = registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    await engine.open()
    yield engine
    await engine.close()


async def test_steps_that_a_tool_calls_are_recorded_below_it_and_not_repeated(
    runs: Runs, script: ScriptedModel
) -> None:
    runs.registry.register_model_factory("m", lambda settings: script.model)

    await runs.cut_off(Cut("before", "model:1"), agent, "?")
    await runs.go_on()

    assert found == ["ada", "ada!"]
    below = "extract/0/tool:agent:look#look-1:0"
    assert {f"{below}/find_vendor/0", f"{below}/find_vendor/1"} <= (await runs.steps()).keys()


@pytest.mark.parametrize("pages", [read_pages, read_both])
async def test_agents_run_side_by_side_in_branches_and_in_steps(
    engine: Engine, script: ScriptedModel, pages: Workflow[[], list[str]]
) -> None:
    handle = await engine.start(pages)

    assert await handle.result() == ["done", "done"]
    assert script.requests == 4
    steps = await engine.list_steps(handle.id)
    assert sum(step.kind == "agent" for step in steps) == 2
    assert (await engine.get_run(handle.id)).summary.state is RunState.SUCCEEDED
