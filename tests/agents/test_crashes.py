"""Promise: a finished tool call never happens again, and one that a death cut in half has the key of its first time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from tests.agents.runs import Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, AgentRunResult, ModelRegistry, ModelRetry, ToolContext, tool, tool_idempotency_key
from toolkit.storage import Database


class Invoice(BaseModel):
    total: int


@dataclass(frozen=True)
class Office:
    """What the tools of these tests act on; the context itself is immutable, the world behind it is not."""

    effects: Counter[str] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)


@tool
async def look(ctx: ToolContext[Office], letter: str) -> str:
    """Look something up."""
    await asyncio.sleep(0)
    ctx.deps.effects[f"look {letter}"] += 1
    ctx.deps.keys.add(tool_idempotency_key())
    return letter.upper()


@tool
def pick(ctx: ToolContext[Office], number: int) -> int:
    """Pick a number, but not the first one."""
    ctx.deps.effects[f"pick {number}"] += 1
    if number == 1:
        raise ModelRetry("not this one")
    return number


AGENT = Agent("read", model="m", output_type=Invoice, tool_context_type=Office, tools=[look, pick])

SCRIPT = (
    [call("look", id=letter, letter=letter) for letter in "abc"],
    [call("pick", id="p1", number=1)],
    [call("pick", id="p2", number=2)],
    [call("final_result", total=7)],
)
LOOKS = [f"tool:agent:look#{letter}:0" for letter in "abc"]
KEYS = [
    "config",
    "model:0",
    *LOOKS,
    "model:1",
    "tool:agent:pick#p1:0",
    "model:2",
    "tool:agent:pick#p2:0",
    "model:3",
]
EFFECTS = {"look a": 1, "look b": 1, "look c": 1, "pick 1": 1, "pick 2": 1}


@pytest.fixture
async def runs(database: Database, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runs]:
    async with Runs(database, registry).open(monkeypatch) as runs:
        yield runs


async def test_the_undisturbed_run_makes_these_checkpoints(runs: Runs) -> None:
    office, _ = await _undisturbed(runs)

    assert sorted(path.partition("read/0/")[2] for path in await runs.steps() if path != "read/0") == sorted(KEYS)
    assert office.effects == EFFECTS


async def test_a_tool_that_died_before_its_checkpoint_runs_again_with_the_same_key(
    runs: Runs,
) -> None:
    script, office = _scripted(runs), Office()
    hanging = Agent(
        "read", model="m", output_type=Invoice, tool_context_type=Office, tools=[tool(_hanging_once(runs)), pick]
    )

    runs.is_cut_off.clear()
    await runs.start(hanging, "Invoice 7", tool_context=office)
    async with asyncio.timeout(30):
        await runs.is_cut_off.wait()
    await runs.engine.close()
    await runs.go_on()

    assert office.effects["look b"] == 2
    assert sum("#b:0" in key for key in office.keys) == 1
    assert script.requests == len(SCRIPT)


def _hanging_once(runs: Runs) -> Any:
    """``look``, whose process dies after the effect of "b" and before its checkpoint."""

    async def look(ctx: ToolContext[Office], letter: str) -> str:
        """Look something up."""
        ctx.deps.effects[f"look {letter}"] += 1
        ctx.deps.keys.add(tool_idempotency_key())
        if letter == "b" and not runs.is_cut_off.is_set():
            runs.is_cut_off.set()
            await asyncio.Event().wait()
        return letter.upper()

    return look


async def _undisturbed(runs: Runs) -> tuple[Office, AgentRunResult[Invoice]]:
    script, office = _scripted(runs), Office()
    result = await runs.call(AGENT, "Invoice 7", tool_context=office)
    assert result.output == Invoice(total=7)
    assert script.requests == result.usage.requests == len(SCRIPT)
    return office, result


def _scripted(runs: Runs) -> ScriptedModel:
    script = ScriptedModel(*SCRIPT)
    registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    runs.use(registry)
    return script
