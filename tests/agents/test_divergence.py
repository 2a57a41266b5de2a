from __future__ import annotations

import pytest
from pydantic import BaseModel

from tests.agents.runs import Cut, Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent
from toolkit.agents.fingerprints import differences, digest
from toolkit.agents.inputs import decode_arguments, encode_arguments
from toolkit.errors import AgentDiverged


def look(name: str) -> str:
    """Look something up."""
    return name.upper()


def _agent(**changes: object) -> Agent[str, None]:
    defaults: dict[str, object] = {"model": "m", "tools": [look], "system_prompt": "You look things up."}
    return Agent("find", **{**defaults, **changes})  # type: ignore[arg-type]


@pytest.fixture
async def cut_off(runs: Runs) -> Runs:
    """A run whose process died with a model's answer and a tool call on record, before the second answer."""
    model = ScriptedModel([call("look", name="ada")], "ADA")
    runs.registry.register_model_factory("m", lambda settings: model.model)
    await runs.cut_off(Cut("before", "model:1"), _agent(), "ada?")
    return runs


async def test_prompts_and_settings_are_those_of_the_first_attempt(cut_off: Runs) -> None:
    changed = _agent(system_prompt="Another prompt.", user_prompt="{{ input }}!", model_parameters={"max_tokens": 5})

    assert (await cut_off.go_on(changed)).output == "ADA"


async def test_a_changed_tool_is_named_with_both_sides(cut_off: Runs) -> None:
    def look(name: str, country: str) -> str:
        """Look something up."""
        return name

    with pytest.raises(AgentDiverged, match=r"'model:0'.*tools: recorded \w{16}, now \w{16}") as caught:
        await cut_off.go_on(_agent(tools=[look]))

    assert caught.value.key == "model:0"
    assert len(caught.value.differences) == 1


async def test_a_changed_output_type_is_named(cut_off: Runs) -> None:
    with pytest.raises(AgentDiverged, match="output: recorded"):
        await cut_off.go_on(_agent(output_type=list[str]))


def test_a_changed_message_is_named_by_its_place() -> None:
    recorded = {"messages": ["user-prompt 1", "text 2", "user-prompt 3"]}

    assert differences(recorded, {"messages": ["user-prompt 1", "text 9", "user-prompt 3"]}) == [
        "messages 2: recorded text 2, now text 9"
    ]
    assert differences(recorded, {"messages": ["user-prompt 1"]}) == ["messages: recorded 3, now 1"]
    assert differences(recorded, recorded) == []


def test_a_digest_is_the_same_in_every_process() -> None:
    assert digest({"b": {3, 1, 2}, "a": b"bytes"}) == digest({"a": b"bytes", "b": {2, 3, 1}})
    assert digest({"a": b"bytes"}) != digest({"a": b"other"})


def test_an_input_whose_type_gained_a_default_is_still_the_same_input() -> None:
    class Question(BaseModel):
        text: str
        is_urgent: bool = False

    recorded = '{"input":{"text":"?"},"files":[]}'

    now = encode_arguments(Question(text="?"), [])
    assert decode_arguments(Question, recorded) == decode_arguments(Question, now)
