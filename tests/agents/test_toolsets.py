"""Toolsets of pydantic-ai: their calls are kept like those of tools, and wait for a person where they say so."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic_ai.toolsets import FunctionToolset

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, ModelRegistry
from toolkit.errors import DefinitionError

CALLED: Counter[str] = Counter()
TOOLSET: FunctionToolset[object] = FunctionToolset(id="office")


@TOOLSET.tool_plain
def look(letter: str) -> str:
    """Look something up."""
    CALLED[f"look {letter}"] += 1
    return letter


@TOOLSET.tool_plain(requires_approval=True)
def shred(letter: str) -> str:
    """Destroy a letter."""
    CALLED[f"shred {letter}"] += 1
    return "gone"


AGENT: Agent[str] = Agent("clerk", model="m", toolsets=[TOOLSET])


async def test_a_call_of_a_toolset_happens_once_and_waits_where_it_must(runs: Runs) -> None:
    CALLED.clear()
    script = ScriptedModel([call("look", letter="a"), call("shred", letter="b")], "done")
    registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    runs.use(registry)
    runs.is_approving = True

    await runs.cut_off(Cut("after", "tool:office:look#look-1:0"), AGENT, "?")
    result = await runs.go_on()

    assert result.output == "done"
    assert CALLED == {"look a": 1, "shred b": 1}
    assert script.requests == 2
    question = runs.questions.get_nowait()
    assert [held["effect"] for held in question.about.model_dump()["calls"]] == ["external"]


def test_a_toolset_without_an_id_of_its_own_is_refused() -> None:
    with pytest.raises(DefinitionError, match="id="):
        Agent("clerk", model="m", toolsets=[FunctionToolset()])
    with pytest.raises(DefinitionError, match="two toolsets"):
        Agent("clerk", model="m", toolsets=[TOOLSET, TOOLSET])
