from __future__ import annotations

import pytest
import respx
from pydantic import BaseModel

from tests.agents.openai_http import (
    CHAT_URL,
    RESPONSES_URL,
    chat_answer,
    chat_call,
    responses_answer,
    responses_call,
    sent,
)
from tests.agents.runs import Runs
from toolkit.agents import Agent
from toolkit.files import FileStore


class Invoice(BaseModel):
    number: str
    total: int


def lookup_vendor(name: str) -> str:
    """Find the number of a vendor."""
    return f"V-{name}"


async def test_the_mocker_intercepts_what_the_openai_client_sends(openai: respx.MockRouter) -> None:
    from openai import AsyncOpenAI

    route = openai.post(CHAT_URL).mock(return_value=chat_answer("mocked"))
    client = AsyncOpenAI(api_key="sk-test", base_url="https://models.test/v1", max_retries=0)

    answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])

    assert route.call_count == 1
    assert answer.choices[0].message.content == "mocked"


async def test_a_request_that_no_mock_answers_does_not_leave_the_machine(runs: Runs) -> None:
    from toolkit.agents import Retries
    from toolkit.errors import ModelUnavailable

    with pytest.raises((AssertionError, ModelUnavailable)):
        await runs.call(Agent("greet", model="chat", retries=Retries(model=0)), "hello")


async def test_chat_sends_prompts_and_settings_and_returns_the_text(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(CHAT_URL).mock(return_value=chat_answer("Hello Ada"))
    agent = Agent(
        "greet",
        model="chat",
        system_prompt="You greet.",
        user_prompt="Greet {{ input }}",
        model_parameters={"max_tokens": 50},
    )

    result = await runs.call(agent, "Ada")

    assert result.output == "Hello Ada"
    assert result.model == "gpt-5-mini-2026"
    assert (result.usage.requests, result.usage.input_tokens, result.usage.output_tokens) == (1, 100, 20)
    body = sent(route)
    assert body["model"] == "gpt-5-mini"
    assert body["messages"] == [
        {"role": "system", "content": "You greet."},
        {"role": "user", "content": "Greet Ada"},
    ]
    assert body["max_completion_tokens"] == 50
    assert route.calls[0].request.headers["authorization"] == "Bearer sk-test"


async def test_chat_returns_structured_output_through_a_tool(openai: respx.MockRouter, runs: Runs) -> None:
    call = chat_call("final_result", {"number": "7", "total": 12})
    route = openai.post(CHAT_URL).mock(return_value=chat_answer(calls=[call]))

    result = await runs.call(Agent("extract", model="chat", output_type=Invoice), "Invoice 7 over 12")

    assert result.output == Invoice(number="7", total=12)
    body = sent(route)
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["final_result"]
    assert body["tools"][0]["function"]["parameters"]["required"] == ["number", "total"]


async def test_chat_native_output_is_a_response_format(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(CHAT_URL).mock(return_value=chat_answer('{"number": "7", "total": 12}'))

    result = await runs.call(Agent("extract", model="chat", output_type=Invoice, output_mode="native"), "…")

    assert result.output == Invoice(number="7", total=12)
    assert sent(route)["response_format"]["json_schema"]["name"] == "Invoice"
    assert "tools" not in sent(route)


async def test_chat_prompted_output_puts_the_schema_into_the_prompt(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(CHAT_URL).mock(return_value=chat_answer('{"number": "7", "total": 12}'))

    result = await runs.call(Agent("extract", model="chat", output_type=Invoice, output_mode="prompted"), "…")

    assert result.output == Invoice(number="7", total=12)
    body = sent(route)
    assert body["response_format"] == {"type": "json_object"}
    assert any("JSON" in str(message["content"]) for message in body["messages"])


async def test_chat_calls_a_tool_and_sends_back_what_it_returned(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(CHAT_URL).mock(
        side_effect=[chat_answer(calls=[chat_call("lookup_vendor", {"name": "Ada"})]), chat_answer("V-Ada it is")]
    )

    result = await runs.call(Agent("find", model="chat", tools=[lookup_vendor]), "Who?")

    assert result.output == "V-Ada it is"
    assert result.usage.tool_calls == 1
    assert sent(route, 0)["tools"][0]["function"]["description"] == "Find the number of a vendor."
    assert sent(route, 1)["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "V-Ada"}


async def test_responses_sends_instructions_tools_and_structured_output(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(RESPONSES_URL).mock(
        side_effect=[
            responses_answer(calls=[responses_call("lookup_vendor", {"name": "Ada"})]),
            responses_answer(calls=[responses_call("final_result", {"number": "7", "total": 12}, id="call_2")]),
        ]
    )
    agent = Agent(
        "extract", model="responses", output_type=Invoice, system_prompt="You read invoices.", tools=[lookup_vendor]
    )

    result = await runs.call(agent, "Invoice 7 over 12")

    assert result.output == Invoice(number="7", total=12)
    first, second = sent(route, 0), sent(route, 1)
    assert first["instructions"] == "You read invoices."
    assert {tool["name"] for tool in first["tools"]} == {"lookup_vendor", "final_result"}
    assert "previous_response_id" not in second  # a resumed run needs nothing that the provider keeps
    assert second["input"][-1] == {"type": "function_call_output", "call_id": "call_1", "output": "V-Ada"}


async def test_responses_native_output_is_a_text_format(openai: respx.MockRouter, runs: Runs) -> None:
    route = openai.post(RESPONSES_URL).mock(return_value=responses_answer('{"number": "7", "total": 12}'))

    result = await runs.call(Agent("extract", model="responses", output_type=Invoice, output_mode="native"), "…")

    assert result.output == Invoice(number="7", total=12)
    assert sent(route)["text"]["format"]["type"] == "json_schema"


@pytest.mark.parametrize(("api", "url"), [("chat", CHAT_URL), ("responses", RESPONSES_URL)])
async def test_a_pdf_is_sent_as_bytes_with_its_real_name_as_text(
    openai: respx.MockRouter, runs: Runs, store: FileStore, api: str, url: str
) -> None:
    answer = chat_answer("read") if api == "chat" else responses_answer("read")
    route = openai.post(url).mock(return_value=answer)

    file = await store.upload(b"%PDF-1.7 page", filename="rechnung 7.pdf")

    await runs.call(Agent("read", model=api), file)

    content = (sent(route)["messages"] if api == "chat" else sent(route)["input"])[-1]["content"]
    assert content[0]["text"] == "rechnung 7.pdf"
    assert content[1]["text"] == "File 'rechnung 7.pdf' (application/pdf):"
    assert "JVBERi0xLjcgcGFnZQ==" in str(content[2])


@pytest.mark.parametrize(("api", "url"), [("chat", CHAT_URL), ("responses", RESPONSES_URL)])
async def test_json_and_xml_are_sent_as_text(
    openai: respx.MockRouter, runs: Runs, store: FileStore, api: str, url: str
) -> None:
    answer = chat_answer("read") if api == "chat" else responses_answer("read")
    route = openai.post(url).mock(return_value=answer)
    xml = '<?xml version="1.0" encoding="iso-8859-1"?><total>12 ü</total>'.encode("iso-8859-1")
    files = [
        await store.upload(b'{"total": 12}', filename="a.json"),
        await store.upload(xml, filename="b.xml"),
    ]

    await runs.call(Agent("read", model=api), "Read these.", files=files)

    content = (sent(route)["messages"] if api == "chat" else sent(route)["input"])[-1]["content"]
    assert [part["text"].splitlines()[-1] for part in content] == [
        "Read these.",
        '{"total": 12}',
        '<?xml version="1.0" encoding="iso-8859-1"?><total>12 ü</total>',
    ]
