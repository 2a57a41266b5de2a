"""Toolsets of pydantic-ai: their calls are kept like those of tools, and wait for a person where they say so."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from pydantic_ai.toolsets import FunctionToolset

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, ModelRegistry, gated, mcp_server
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


HELD: FunctionToolset[object] = FunctionToolset(id="foreign")


@HELD.tool_plain
def search(letter: str) -> str:
    """Find a letter."""
    CALLED[f"search {letter}"] += 1
    return letter


@HELD.tool_plain
def publish(letter: str) -> str:
    """Show a letter to the world."""
    CALLED[f"publish {letter}"] += 1
    return "shown"


async def test_what_a_foreign_tool_does_is_said_or_a_person_is_asked(runs: Runs) -> None:
    CALLED.clear()
    script = ScriptedModel([call("search", letter="a"), call("publish", letter="b")], "done")
    registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    runs.use(registry)
    agent: Agent[str] = Agent("clerk", model="m", toolsets=[gated(HELD, effects={"search": "read"})])

    await runs.start(agent, "?")
    question = await runs.asked()

    assert CALLED == {"search a": 1}
    (held,) = question.about.model_dump()["calls"]
    assert (held["tool"], held["effect"]) == ("publish", "external")
    await runs.restart()
    await runs.approve(question)
    assert (await runs.outcome()).output == "done"
    assert CALLED == {"search a": 1, "publish b": 1}


SERVER = """
import sys
from pathlib import Path
from mcp.server.mcpserver import MCPServer

server = MCPServer("office")

def note(line):
    with Path(sys.argv[1]).open("a") as file:
        file.write(line)

@server.tool()
def add(first: int, second: int) -> int:
    "Add two numbers."
    note("add ")
    return first + second

@server.tool()
def delete(name: str) -> str:
    "Delete something."
    note("delete ")
    return f"{name} is gone"

server.run("stdio")
"""


async def test_the_tools_of_an_mcp_server_are_kept_and_held_like_others(runs: Runs, tmp_path: Path) -> None:
    transports = pytest.importorskip("fastmcp.client.transports", reason="the extra `mcp` is not installed")
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    arguments = [str(tmp_path / "server.py"), str(tmp_path / "done")]
    script = ScriptedModel([call("add", first=1, second=2)], [call("delete", name="all")], "done")
    registry = ModelRegistry()
    registry.register_model_factory("m", lambda settings: script.model)
    runs.use(registry)
    runs.is_approving = True
    server = mcp_server("office", transports.StdioTransport(sys.executable, arguments), effects={"add": "read"})
    agent: Agent[str] = Agent("clerk", model="m", toolsets=[server])

    await runs.cut_off(Cut("before", "model:1"), agent, "?")
    result = await runs.go_on()

    assert result.output == "done"
    assert (tmp_path / "done").read_text() == "add delete "
    question = runs.questions.get_nowait()
    assert [held["tool"] for held in question.about.model_dump()["calls"]] == ["delete"]


def test_an_mcp_server_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai.mcp", None)
    with pytest.raises(DefinitionError, match=r"process-toolkit\[mcp\]"):
        mcp_server("office", "http://localhost:1/mcp")
