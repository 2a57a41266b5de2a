"""A stand-in for a paid model: speaks OpenAI's chat protocol on 127.0.0.1 and remembers every answer it gave."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from examples.invoice.agents.labels import read_labels
from examples.invoice.files.pdf import read_pdf


@dataclass(slots=True)
class Answers:
    """What was asked and answered: the ids of the answers to each question, oldest first."""

    by_question: dict[str, list[str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, question: str) -> str:
        """A new id for an answer to ``question``."""
        with self.lock:
            answers = self.by_question.setdefault(question, [])
            answers.append(f"answer-{question[:12]}-{len(answers)}")
            return answers[-1]


class ModelServer(ThreadingHTTPServer):
    """Answers after ``seconds``, as a model takes its time."""

    daemon_threads = True

    def __init__(self, *, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seconds = seconds
        self.answers = Answers()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed while it waited is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast("ModelServer", self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        time.sleep(server.seconds)  # the model's own time; nothing waits for it by the clock
        question = hashlib.sha256(json.dumps(asked["messages"], sort_keys=True).encode()).hexdigest()
        message = _answer(asked)
        answer = {
            "id": server.answers.add(question),
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the tests look at the answers."""


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Look the vendor up first, then give the invoice: two turns, as a model with a tool takes them."""
    extraction = read_labels(read_pdf(_document(asked["messages"])).text)
    tools = [tool["function"]["name"] for tool in asked["tools"]]
    has_looked_up = any(message["role"] == "tool" for message in asked["messages"])
    if "find_vendor" in tools and extraction.invoice is not None and not has_looked_up:
        seller = extraction.invoice.seller
        return _call("find_vendor", {"name": seller.name, "vat_id": seller.vat_id})
    (output,) = [tool for tool in tools if tool != "find_vendor"]
    return _call(output, extraction.model_dump(mode="json"))


def _call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    call = {"id": f"call-{tool}", "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _document(messages: list[dict[str, Any]]) -> bytes:
    for message in messages:
        parts = message["content"] if isinstance(message.get("content"), list) else []
        for part in parts:
            if part["type"] == "file":
                return base64.b64decode(part["file"]["file_data"].split(",", 1)[1])
    raise ValueError("the request holds no document")


@contextmanager
def serving_model(*, seconds: float = 0.1) -> Iterator[ModelServer]:
    """A model server for the length of the block."""
    server = ModelServer(seconds=seconds)
    thread = threading.Thread(target=server.serve_forever, name="model", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
