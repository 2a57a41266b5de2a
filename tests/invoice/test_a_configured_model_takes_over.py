"""The switch to a real model is configuration alone: here to a server of this test that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from examples.invoice.agents.labels import read_labels
from examples.invoice.files import read_pdf
from examples.invoice.make_samples import SAMPLES
from tests.invoice.conftest import served
from toolkit.config import Settings


class ModelServer:
    """Answers chat completions by reading the PDF in the request; keeps every request."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.app = Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])

    async def complete(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.requests.append(body)
        [document] = [part["file"]["file_data"] for part in _parts(body) if part["type"] == "file"]
        page = read_pdf(base64.b64decode(document.partition(",")[2])).text
        return JSONResponse(_tool_call("final_result", read_labels(page).model_dump_json()))


def _parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for message in body["messages"]:
        if isinstance(message["content"], list):
            yield from message["content"]


def _tool_call(name: str, arguments: str) -> dict[str, Any]:
    call = {"id": "call-1", "type": "function", "function": {"name": name, "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "id": "answer-1",
        "object": "chat.completion",
        "created": 0,
        "model": "reader-1",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
    }


@asynccontextmanager
async def listening(server: ModelServer) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        web = uvicorn.Server(uvicorn.Config(server.app, lifespan="off", log_config=None))
        serving = asyncio.create_task(web.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        web.should_exit = True
        await serving


def with_model(settings: Settings, folder: Path, base_url: str) -> Settings:
    models = {"invoice_model": {"model": "reader", "base_url": base_url, "api_key": "not-a-secret"}}
    return settings.model_copy(
        update={"ai_models": Settings.of({"ai_models": models}, folder=folder).ai_models},
    )


async def test_a_model_of_the_configuration_reads_the_page(settings: Settings, tmp_path: Path) -> None:
    server = ModelServer()

    async with listening(server) as url, served(with_model(settings, tmp_path, url)) as client:
        standing = await client.send_in("page.pdf", (SAMPLES / "02-plain-german.pdf").read_bytes())
        steps = (await client.call("GET", f"/runs/{standing.run['id']}/steps"))["items"]

    assert standing.run["result"]["paid"] == "539.65"
    assert next(step for step in steps if step["kind"] == "agent")["details"]["model"] == "reader-1"
    assert len(server.requests) == 1
    assert json.dumps(server.requests).count("Elbe") == 0  # the model is told nothing of other vendors


async def test_a_model_that_makes_up_an_amount_is_found_out(settings: Settings, tmp_path: Path) -> None:
    server = ModelServer()
    real = (SAMPLES / "01-plain-english.pdf").read_bytes()

    async def invent(request: Request) -> JSONResponse:
        extraction = read_labels(read_pdf(real).text)
        assert extraction.invoice is not None
        data = json.loads(extraction.model_dump_json())
        data["invoice"] |= {"gross": "47.60", "amount_due": "47.60"}
        return JSONResponse(_tool_call("final_result", json.dumps(data)))

    server.app = Starlette(routes=[Route("/v1/chat/completions", invent, methods=["POST"])])
    async with listening(server) as url, served(with_model(settings, tmp_path, url)) as client:
        standing = await client.send_in("page.pdf", real)

    assert standing.task is not None
    rules = [finding["rule"] for finding in standing.task["input"]["findings"]]
    assert rules == ["PAGE-TEXT", "PAGE-TEXT", "BR-CO-15"]
