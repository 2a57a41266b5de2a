"""What goes over the wire, whole, for each API: a change of it is a change of what is paid for and what is answered.

The expected bodies are in ``snapshots/``; ``SNAPSHOTS=write`` writes them anew, to be read before they are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from pydantic import BaseModel

from tests.agents.openai_http import (
    CHAT_URL,
    RESPONSES_URL,
    chat_answer,
    chat_call,
    chat_stream,
    failure,
    responses_answer,
    responses_call,
    responses_stream,
    sent,
)
from tests.agents.runs import Runs
from toolkit.agents import Agent, Retries
from toolkit.errors import ModelUnavailable
from toolkit.files import File

SNAPSHOTS = Path(__file__).parent / "snapshots"
URLS = {"chat": CHAT_URL, "responses": RESPONSES_URL}
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000000000200"
    "01e221bc330000000049454e44ae426082"
)


class Invoice(BaseModel):
    number: str
    total: int


def lookup_vendor(name: str) -> str:
    """Find the number of a vendor."""
    return f"V-{name}"


def _text(api: str, text: str) -> httpx.Response:
    return chat_answer(text) if api == "chat" else responses_answer(text)


def _call(api: str, name: str, arguments: dict[str, Any]) -> httpx.Response:
    if api == "chat":
        return chat_answer(calls=[chat_call(name, arguments)])  # type: ignore[no-any-return]
    return responses_answer(calls=[responses_call(name, arguments)])


def _structured(api: str, mode: str) -> httpx.Response:
    fields = {"number": "7", "total": 12}
    return _call(api, "final_result", fields) if mode == "tool" else _text(api, json.dumps(fields))


Answers = Callable[[str], list[httpx.Response]]

WITH_TOOLS = {
    "output_type": Invoice,
    "tools": [lookup_vendor],
    "model_parameters": {"max_tokens": 50},
}
CASES: dict[str, tuple[dict[str, Any], str, Answers]] = {
    "tool_output": ({"output_type": Invoice}, "text", lambda api: [_structured(api, "tool")]),
    "native_output": (
        {"output_type": Invoice, "output_mode": "native"},
        "text",
        lambda api: [_structured(api, "native")],
    ),
    "prompted_output": (
        {"output_type": Invoice, "output_mode": "prompted"},
        "text",
        lambda api: [_structured(api, "prompted")],
    ),
    "tools": (WITH_TOOLS, "text", lambda api: [_call(api, "lookup_vendor", {"name": "Ada"}), _structured(api, "tool")]),
    "pdf": ({}, "rechnung 7.pdf", lambda api: [_text(api, "read")]),
    "image": ({}, "scan.png", lambda api: [_text(api, "read")]),
    "streaming": ({"stream": True}, "text", lambda api: [_stream(api, "Hello ", "Ada")]),
}


def _stream(api: str, *pieces: str) -> httpx.Response:
    return chat_stream(*pieces) if api == "chat" else responses_stream(*pieces)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("api", URLS)
async def test_requests_are_what_they_were(openai: respx.MockRouter, runs: Runs, api: str, case: str) -> None:
    options, given, answers = CASES[case]
    route = openai.post(URLS[api]).mock(side_effect=answers(api))
    agent = Agent("reader", model=api, system_prompt="You read invoices.", **options)
    contents = {"rechnung 7.pdf": b"%PDF-1.7 page", "scan.png": PIXEL}
    text = "Invoice 7 over 12"
    file = await File.upload(content=contents[given], filename=given) if given in contents else None

    result = await runs.call(agent, file or text)

    expected = (
        Invoice(number="7", total=12) if "output_type" in options else {"streaming": "Hello Ada"}.get(case, "read")
    )
    assert result.output == expected
    assert result.usage.input_tokens == 100 * route.call_count
    found = [sent(route, number) for number in range(route.call_count)]
    snapshot = SNAPSHOTS / f"{api}_{case}.json"
    if os.environ.get("SNAPSHOTS") == "write":
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert found == json.loads(snapshot.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "trouble",
    [
        failure(429, retry_after=0.01),
        failure(500, retry_after=0.01),
        httpx.ReadTimeout("too slow"),
        httpx.ConnectTimeout("too far"),
    ],
    ids=["429", "500", "read timeout", "connect timeout"],
)
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("api", URLS)
async def test_what_passes_is_asked_again_once_for_each_retry_and_with_the_same_words(
    openai: respx.MockRouter, runs: Runs, api: str, trouble: Any, *, streams: bool
) -> None:
    answer = _stream(api, "at last") if streams else _text(api, "at last")
    route = openai.post(URLS[api]).mock(side_effect=[trouble, answer])

    result = await runs.call(Agent("reader", model=api, retries=Retries(model=1), stream=streams), "?")

    assert result.output == "at last"
    assert result.usage.requests == 1  # what was not answered is not paid
    assert route.call_count == 2
    assert sent(route, 0) == sent(route, 1)


@pytest.mark.parametrize("api", URLS)
async def test_what_does_not_pass_is_given_up_after_the_retries(openai: respx.MockRouter, runs: Runs, api: str) -> None:
    route = openai.post(URLS[api]).mock(return_value=failure(500, retry_after=0.01))

    with pytest.raises(ModelUnavailable):
        await runs.call(Agent("reader", model=api, retries=Retries(model=1)), "?")

    assert route.call_count == 2


@pytest.mark.parametrize("api", URLS)
async def test_a_stream_that_breaks_off_is_asked_for_again(openai: respx.MockRouter, runs: Runs, api: str) -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            whole = _stream(api, "Hello ", "Ada").content
            yield whole[: len(whole) // 2]
            raise httpx.ReadError("gone")

    broken = httpx.Response(200, stream=Broken(), headers={"content-type": "text/event-stream"})
    route = openai.post(URLS[api]).mock(side_effect=[broken, _stream(api, "Hello ", "Ada")])

    result = await runs.call(Agent("reader", model=api, stream=True), "?")

    assert result.output == "Hello Ada"
    assert route.call_count == 2
