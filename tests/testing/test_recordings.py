"""Answers kept in a file: recorded once from a model, given again ever after; and the guard against real models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_ai import models as library

from toolkit.agents import Agent, ModelRegistry, using_model
from toolkit.errors import ConfigurationError
from toolkit.testing import RecordedModel, ScriptedModel, call_tool, no_live_models, run_workflow
from toolkit.workflows import workflow


class Letter(BaseModel):
    sender: str


def look_up(name: str) -> str:
    """Look something up."""
    return f"{name} is known"


reader: Agent[Letter] = Agent(
    "reader", model="reads", output_type=Letter, tools=[look_up], user_prompt="Read {{ input }}"
)
writer: Agent[str] = Agent("writer", model="reads", stream=True)
speaker: Agent[str] = Agent("speaker", model="reads")


@workflow()
async def read_letter(text: str) -> str:
    return (await reader(text)).output.sender


@workflow()
async def write_twice() -> list[str]:
    return [(await writer("a line")).output for _ in range(2)]


def real() -> ScriptedModel:
    """Stands in for a real model: it looks something up, then hands in the letter."""
    return ScriptedModel([call_tool("look_up", name="ACME")], Letter(sender="ACME"))


async def test_what_was_recorded_is_answered_again_without_the_model(tmp_path: Path) -> None:
    file, live = tmp_path / "answers" / "reader.json", real()
    recording = RecordedModel(file, live=live.model)
    assert await run_workflow(read_letter, "a letter", models={"reads": recording}) == "ACME"
    assert (live.requests, recording.recorded) == (2, 2)

    replaying = RecordedModel(file)
    assert await run_workflow(read_letter, "a letter", models={"reads": replaying}) == "ACME"

    assert (live.requests, replaying.requests, replaying.recorded) == (2, 2, 0)
    assert "a letter" not in file.read_text(encoding="utf-8")  # of what was asked there are digests alone


async def test_only_what_the_file_lacks_is_asked(tmp_path: Path) -> None:
    live = real()
    for text in ("a letter", "a letter", "another letter"):
        await run_workflow(
            read_letter, text, models={"reads": RecordedModel(tmp_path / "answers.json", live=live.model)}
        )

    assert live.requests == 4


async def test_a_request_that_is_not_on_file_says_in_what_it_differs(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    await run_workflow(read_letter, "a letter", models={"reads": RecordedModel(file, live=real().model)})

    with (
        using_model(RecordedModel(file)),
        pytest.raises(ConfigurationError, match=r"no answer to request 1 .*live=") as no,
    ):
        await reader("another letter")

    assert "messages 1: recorded" in str(no.value)


async def test_the_same_request_gets_its_answers_in_order_and_then_the_last(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    recording = RecordedModel(file, live=ScriptedModel("one").model)
    with using_model(recording):
        await writer("a line")
    recording._live = ScriptedModel("two").model
    with using_model(recording):
        await writer("a line")

    assert await run_workflow(write_twice, models={"reads": RecordedModel(file)}) == ["one", "two"]
    with using_model(replaying := RecordedModel(file)):
        assert [(await writer("a line")).output for _ in range(3)] == ["one", "two", "two"]
    assert replaying.recorded == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there are no recorded answers in .*live="),
        ("nonsense", "holds no recorded answers .*remove it"),
        ('{"version": 1}', "holds no recorded answers .*remove it"),
        ('{"version": 1, "answers": [{"asked": {}, "answer": {"kind": "request", "parts": []}}]}', "holds no recorded"),
        ('{"version": 7, "answers": []}', "is of version 7, and this is version 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "answers.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=message):
        RecordedModel(file)


async def test_the_file_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    with using_model(RecordedModel(file, live=ScriptedModel("Zürich").model)):
        await writer("a line")

    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["answers"][0]["answer"]["parts"][0]["content"] == "Zürich"
    assert "Zürich" in file.read_text(encoding="utf-8")


async def test_the_guard_refuses_a_real_model_and_nothing_else() -> None:
    settings = {"provider": "openai", "model": "gpt-5-mini", "api_key": "none", "base_url": "http://127.0.0.1:9/v1"}
    registry = ModelRegistry({"reads": settings})

    with no_live_models():
        with using_model(registry.model("reads")), pytest.raises(ConfigurationError, match="no_live_models"):
            await speaker("a line")
        with using_model(ScriptedModel("a line").model):
            assert (await speaker("a line")).output == "a line"

    assert library.ALLOW_MODEL_REQUESTS
