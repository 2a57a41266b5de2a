"""The same promise with real processes, killed by SIGKILL, and requests counted where they arrive."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.agents.openai_http import responses_answer, responses_call

pytestmark = pytest.mark.kill

ANSWERS = [
    responses_answer(calls=[responses_call("look", {"letter": letter}, id=f"call_{letter}") for letter in "ab"]),
    responses_answer(calls=[responses_call("look", {"letter": "c"}, id="call_c")]),
    responses_answer(calls=[responses_call("final_result", {"number": "7", "total": 12, "tags": ["x", "y"]}, id="f")]),
]
# Beside parallel tools there is no one next unit; test_crashes.py has those, and every other moment.
MOMENTS = ["model:0", "tool:agent:look#call_c:0", "model:2"]


class Provider:
    """A local server that speaks the Responses API and counts what it answered."""

    def __init__(self) -> None:
        self.answered = 0
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Provider]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            asked = json.loads(await reader.readexactly(length))
            # Each turn but the first ends with the outputs of the calls before it.
            turn = len(
                {item["call_id"] == "call_c" for item in asked["input"] if item.get("type") == "function_call_output"}
            )
            body = ANSWERS[turn].content
            self.answered += 1
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a killed client
        finally:
            writer.close()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_process_costs_no_second_request_and_no_second_effect(
    database_url: str, tmp_path: Path, moment: str
) -> None:
    async with Provider().serving() as provider:
        killed = await _process(database_url, provider, tmp_path / "effects", moment, hash_seed="1")
        assert killed == (-9, "")
        ended = await _process(database_url, provider, tmp_path / "effects", hash_seed="2")

        assert ended[0] == 0
        assert "'number': '7'" in ended[1]
        assert "'requests': 3" in ended[1]
        assert "'cost': '0.00036'" in ended[1]  # three requests of 100 + 20 tokens
        assert provider.answered == len(ANSWERS)
        effects = (tmp_path / "effects").read_text().splitlines()
        assert sorted(line[0] for line in effects) == ["a", "b", "c"]
        assert len(set(effects)) == 3


async def _process(
    database_url: str, provider: Provider, effects: Path, *moment: str, hash_seed: str
) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.agents.dying_process", database_url, provider.url, str(effects), *moment),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    async with asyncio.timeout(60):
        printed, _ = await process.communicate()
    return process.returncode, printed.decode()
