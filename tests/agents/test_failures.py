from __future__ import annotations

import httpx2
import pytest
import respx
from pydantic import BaseModel
from pydantic_ai.exceptions import ModelAuthenticationError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.agents.openai_http import CHAT_URL, chat_answer, failure
from tests.agents.runs import Runs
from toolkit.agents import Agent, Retries, using_model
from toolkit.errors import ConfigurationError, ModelBehaviorError, ModelUnavailable, TurnsExceeded

PATIENT = Agent("ask", model="chat")
IMPATIENT = Agent("ask", model="chat", retries=Retries(model=0))


class Invoice(BaseModel):
    total: int


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_a_passing_failure_is_asked_again_by_the_engine(
    openai: respx.MockRouter, runs: Runs, status: int
) -> None:
    route = openai.post(CHAT_URL).mock(side_effect=[failure(status, retry_after=0.01), chat_answer("at last")])

    result = await runs.call(PATIENT, "?")

    assert result.output == "at last"
    assert result.usage.requests == 1
    assert route.call_count == 2


async def test_a_passing_failure_is_given_up_after_the_configured_retries(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(CHAT_URL).mock(return_value=failure(503, retry_after=0.01))

    with pytest.raises(ModelUnavailable, match="'chat' cannot answer now"):
        await runs.call(PATIENT, "?")

    assert route.call_count == 1 + 3


async def test_the_client_itself_never_retries(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(CHAT_URL).mock(return_value=failure(503))

    with pytest.raises(ModelUnavailable):
        await runs.call(IMPATIENT, "?")

    assert route.call_count == 1


async def test_the_delay_that_a_provider_asks_for_is_passed_on(openai: respx.MockRouter, runs: Runs) -> None:
    openai.post(CHAT_URL).mock(return_value=failure(429, retry_after=17))

    with pytest.raises(ModelUnavailable) as caught:
        await runs.call(IMPATIENT, "?")

    assert caught.value.retry_after == 17


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow")])
async def test_a_network_that_fails_is_a_passing_failure(
    openai: respx.MockRouter, runs: Runs, error: Exception
) -> None:
    openai.post(CHAT_URL).mock(side_effect=error)

    with pytest.raises(ModelUnavailable):
        await runs.call(IMPATIENT, "?")


@pytest.mark.parametrize(
    ("status", "code", "setting"),
    [
        (401, None, "ai_models.chat.api_key"),
        (404, None, "ai_models.chat.model"),
        (429, "insufficient_quota", "ai_models.chat.api_key"),
        (400, "context_length_exceeded", "ai_models.chat.model"),
        (400, "invalid_schema", "ai_models.chat"),
    ],
)
async def test_what_only_a_setting_can_mend_is_asked_once_and_names_the_setting(
    openai: respx.MockRouter, runs: Runs, status: int, code: str | None, setting: str
) -> None:
    route = openai.post(CHAT_URL).mock(return_value=failure(status, code=code))

    with pytest.raises(ConfigurationError, match=setting) as caught:
        await runs.call(PATIENT, "?")

    assert caught.value.key == setting
    assert route.call_count == 1


async def test_an_answer_without_choices_is_final(openai: respx.MockRouter, runs: Runs) -> None:
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    route = openai.post(CHAT_URL).respond(200, json=body)

    with pytest.raises(ModelBehaviorError):
        await runs.call(PATIENT, "?")

    assert route.call_count == 1


async def test_a_text_that_was_cut_off_is_not_taken_for_an_answer(openai: respx.MockRouter, runs: Runs) -> None:
    openai.post(CHAT_URL).mock(return_value=chat_answer("The total is 12", finish="length"))

    with pytest.raises(ModelBehaviorError, match="cut off"):
        await runs.call(PATIENT, "?")


async def test_output_that_never_fits_is_final_after_the_agents_own_retries() -> None:
    requests = 0

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        nonlocal requests
        requests += 1
        return ModelResponse(parts=[ToolCallPart("final_result", {"total": "many"})])

    agent = Agent("extract", model="m", output_type=Invoice, retries=Retries(output=2))
    with using_model(FunctionModel(answer)), pytest.raises(ModelBehaviorError, match="no usable answer"):
        await agent("?")

    assert requests == 1 + 2


async def test_an_agent_stops_at_its_turns() -> None:
    def again(text: str) -> str:
        return text

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart("again", {"text": "x"})])

    with using_model(FunctionModel(answer)), pytest.raises(TurnsExceeded, match="after 3 requests") as caught:
        await Agent("loop", model="m", tools=[again], max_turns=3)("?")

    assert caught.value.max_turns == 3


async def test_an_error_of_a_tool_reaches_the_caller_unchanged(runs: Runs) -> None:
    class LedgerError(Exception):
        pass

    def book() -> str:
        raise LedgerError

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart("book", {})])

    runs.registry.register_model_factory("m", lambda settings: FunctionModel(answer))
    with pytest.raises(LedgerError):
        await runs.call(Agent("book", model="m", tools=[book]), "?")


async def test_outside_a_run_failures_are_told_in_the_same_words() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise ModelAuthenticationError("m", "no")

    with using_model(FunctionModel(answer)), pytest.raises(ConfigurationError, match="API key"):
        await Agent("ask", model="m")("?")


async def test_outside_a_run_the_same_agent_simply_runs() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart("done")])

    with using_model(FunctionModel(answer)):
        assert (await Agent("ask", model="anything")("?")).output == "done"
