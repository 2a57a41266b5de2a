"""What we rely on of pydantic-ai beyond its documented promises: a new version that changes it fails here first."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai import RunContext
from pydantic_ai.durable_exec import ModelRequestId, ToolsetCallToolId
from pydantic_ai.models import ModelRequestParameters

from tests.agents.runs import Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent
from toolkit.agents.durability import CheckpointBackend


async def test_the_elements_of_a_cache_key_are_found_by_type(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[type, tuple[object, ...]] = {}
    execute = CheckpointBackend.execute

    async def watching(self: CheckpointBackend, **arguments: Any) -> object:
        seen.setdefault(type(arguments["operation_id"]), arguments["cache_key"])
        return await execute(self, **arguments)

    def look(name: str) -> str:
        return name

    monkeypatch.setattr(CheckpointBackend, "execute", watching)
    runs.registry.register_model_factory("m", lambda settings: ScriptedModel([call("look", name="a")], "ok").model)
    await runs.call(Agent("find", model="m", tools=[look], model_parameters={"max_tokens": 5}), "?")

    request, tool_call = seen[ModelRequestId], seen[ToolsetCallToolId]
    assert next(item for item in request if isinstance(item, list))[0].kind == "request"
    assert {"max_tokens": 5} in [dict(item) for item in request if isinstance(item, dict)]
    assert sum(isinstance(item, ModelRequestParameters) for item in request) == 1
    assert [item for item in tool_call if isinstance(item, str)] == ["look"]
    assert [item for item in tool_call if isinstance(item, dict)] == [{"name": "a"}]
    contexts = [item for item in tool_call if isinstance(item, RunContext)]
    assert [context.tool_call_id for context in contexts] == ["look-1"]


async def test_the_keys_of_an_agent_are_these(runs: Runs) -> None:
    def look(name: str) -> str:
        return name

    script = ScriptedModel([call("look", id="a/b|c", name="a")], [call("look", id="a/b|c", name="b")], "ok")
    runs.registry.register_model_factory("m", lambda settings: script.model)
    await runs.call(Agent("find", model="m", tools=[look]), "?")

    assert [path.partition("find/0")[2] for path in await runs.steps()] == [
        "",
        "/config",
        "/model:0",
        "/tool:agent:look#a%2Fb|c:0",
        "/model:1",
        "/tool:agent:look#a%2Fb|c:1",
        "/model:2",
    ]
