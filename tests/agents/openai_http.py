"""OpenAI at the level of HTTP: a router that answers what the openai client sends, and the bodies it answers with.

respx intercepts httpcore, and the openai client travels by httpcore2: without this mocker `respx.mock` sees nothing and
the request goes out. A test in test_openai_wire.py fails if the mocker ever stops intercepting.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import httpcore2
import httpx
from respx.mocks import HTTPCoreMocker

CHAT_URL = "https://models.test/v1/chat/completions"
RESPONSES_URL = "https://models.test/v1/responses"


class HTTPCore2Mocker(HTTPCoreMocker):
    """respx for the transport of httpx2; use it as ``respx.mock(using="httpcore2")``."""

    name = "httpcore2"
    targets: ClassVar[list[str]] = [target.replace("httpcore.", "httpcore2.") for target in HTTPCoreMocker.targets]

    @classmethod
    def from_sync_httpx_response(cls, httpx_response: httpx.Response, target: object, **kwargs: Any) -> Any:
        return httpcore2.Response(
            status=httpx_response.status_code,
            headers=httpx_response.headers.raw,
            content=httpx_response.stream,
            extensions=httpx_response.extensions,
        )


def chat_answer(
    text: str | None = None, *, calls: list[dict[str, Any]] | None = None, finish: str | None = None
) -> Any:
    """A chat completion with a text or with tool calls from :func:`chat_call`."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = calls
    return httpx.Response(
        200,
        json={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-5-mini-2026",
            "choices": [
                {"index": 0, "finish_reason": finish or ("tool_calls" if calls else "stop"), "message": message}
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        },
    )


def chat_call(name: str, arguments: dict[str, Any], *, id: str = "call_1") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def responses_answer(text: str | None = None, *, calls: list[dict[str, Any]] | None = None) -> httpx.Response:
    """An answer of the Responses API with a text or with calls from :func:`responses_call`."""
    output: list[dict[str, Any]] = list(calls or [])
    if text is not None:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output.append(
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
        )
    return httpx.Response(
        200,
        json={
            "id": "resp_1",
            "object": "response",
            "created_at": 1_700_000_000,
            "model": "gpt-5-mini-2026",
            "status": "completed",
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 120,
            },
        },
    )


def responses_call(name: str, arguments: dict[str, Any], *, id: str = "call_1") -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{id}",
        "call_id": id,
        "name": name,
        "arguments": json.dumps(arguments),
        "status": "completed",
    }


def failure(status: int, *, code: str | None = None, retry_after: float | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"retry-after-ms": str(retry_after * 1000)}
    error = {"message": f"the provider said {status}", "type": "error", "code": code, "param": None}
    return httpx.Response(status, json={"error": error}, headers=headers)


def sent(route: Any, number: int = -1) -> dict[str, Any]:
    """The JSON body of a request that a route answered."""
    body: dict[str, Any] = json.loads(route.calls[number].request.content)
    return body


def _server_sent(events: list[tuple[str | None, dict[str, Any] | str]]) -> httpx.Response:
    lines = []
    for name, data in events:
        text = data if isinstance(data, str) else json.dumps(data)
        lines.append(f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n")
    return httpx.Response(200, content="".join(lines).encode(), headers={"content-type": "text/event-stream"})


def chat_stream(*pieces: str) -> httpx.Response:
    """A streamed chat completion whose text comes in ``pieces``."""
    frame = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-5-mini-2026",
    }
    chunks: list[dict[str, Any]] = [
        {**frame, "choices": [{"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]
    chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    chunks.append({**frame, "choices": [], "usage": usage})
    return _server_sent([*((None, chunk) for chunk in chunks), (None, "[DONE]")])


def responses_stream(*pieces: str) -> httpx.Response:
    """A streamed answer of the Responses API whose text comes in ``pieces``."""
    whole = json.loads(responses_answer("".join(pieces)).content)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    item = {"id": "msg_1", "output_index": 0}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.output_item.added", {**item, "item": message}),
        ("response.content_part.added", {**place, "part": empty}),
        *(("response.output_text.delta", {**place, "delta": piece, "logprobs": []}) for piece in pieces),
        ("response.output_text.done", {**place, "text": "".join(pieces), "logprobs": []}),
        ("response.output_item.done", {**item, "item": whole["output"][0]}),
        ("response.completed", {"response": whole}),
    ]
    return _server_sent(
        [(name, {"type": name, "sequence_number": number, **data}) for number, (name, data) in enumerate(events)]
    )
