from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from tests.agents.runs import Runs
from tests.agents.scripted import ScriptedModel, call
from toolkit.agents import Agent, AgentRunResult, Usage, using_model
from toolkit.errors import ConfigurationError, DefinitionError, InvalidInput
from toolkit.files import File
from toolkit.serialization import codec_for


class Invoice(BaseModel):
    total: int


def test_an_agent_knows_where_it_was_written() -> None:
    assert Agent("read", model="m").source.startswith(__file__)
    assert repr(Agent("read", model="m")) == "Agent('read', model='m')"


@pytest.mark.parametrize("name", ["", "read invoice", "read/invoice"])
def test_a_name_that_would_not_survive_in_a_path_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="has the name"):
        Agent(name, model="m")


def test_an_agent_needs_a_turn() -> None:
    with pytest.raises(DefinitionError, match="max_turns is 0"):
        Agent("read", model="m", max_turns=0)


def test_the_schemas_of_input_and_output_are_known() -> None:
    agent = Agent("read", model="m", input_type=Invoice, output_type=list[Invoice])

    assert agent.input_schema()["properties"]["total"] == {"title": "Total", "type": "integer"}
    assert agent.output_schema()["type"] == "array"
    assert Agent("read", model="m").input_schema() == {"type": "string"}


@pytest.mark.parametrize("wrong", [7, {"a": 1}, ["text", 7], None])
async def test_input_is_text_a_model_a_file_or_a_list_of_them(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="text, a Pydantic model, a File or a list"):
        await Agent("read", model="m")(wrong)


async def test_input_of_another_type_than_declared_is_refused() -> None:
    with pytest.raises(InvalidInput, match="takes Invoice, not str"):
        await Agent("read", model="m", input_type=Invoice)("text")


async def test_input_may_be_a_union_or_a_list_of_a_type() -> None:
    several: Any = list[Invoice]
    either: Any = Invoice | File
    with using_model(ScriptedModel("ok").model):
        assert (await Agent("read", model="m", input_type=several)([Invoice(total=1)])).output == "ok"
        assert (await Agent("read", model="m", input_type=either)(Invoice(total=1))).output == "ok"
    with pytest.raises(InvalidInput, match=r"takes .*Invoice \| .*File, not str"):
        await Agent("read", model="m", input_type=either)("text")


async def test_lists_of_models_are_an_output_like_any_other() -> None:
    script = ScriptedModel([call("final_result", response=[{"total": 1}, {"total": 2}])])
    with using_model(script.model):
        result = await Agent("read", model="m", output_type=list[Invoice])("?")

    assert result.output == [Invoice(total=1), Invoice(total=2)]


async def test_a_result_comes_back_equal_from_the_journal(runs: Runs) -> None:
    script = ScriptedModel([call("final_result", total=7)])
    runs.registry.register_model_factory("m", lambda settings: script.model)

    result = await runs.call(Agent("read", model="m", output_type=Invoice), "?")

    recorded = (await runs.steps())["read/0"].result
    assert recorded is not None
    assert codec_for(AgentRunResult[Invoice]).decode(recorded) == result
    assert result == AgentRunResult[Invoice](
        output=Invoice(total=7), usage=Usage(requests=1, **_tokens(result)), cost=None, model="scripted"
    )


async def test_a_run_whose_model_is_not_configured_says_which_setting_is_missing(runs: Runs) -> None:
    with pytest.raises(ConfigurationError, match=r"ai_models\.other"):
        await runs.call(Agent("read", model="other"), "?")


async def test_no_banner_is_printed_by_the_library(runs: Runs) -> None:
    import pydantic_ai

    runs.registry.register_model_factory("m", lambda settings: ScriptedModel("ok").model)
    await runs.call(Agent("greet", model="m"), "?")

    assert pydantic_ai.BANNER_ENABLED is False


def _tokens(result: AgentRunResult[Any]) -> dict[str, int]:
    return {"input_tokens": result.usage.input_tokens, "output_tokens": result.usage.output_tokens}
