"""Every known attack through every door: refused with a reason, or contained; the server goes on answering."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from tests.api.installation import Caller
from tests.rules import hostile
from tests.rules.policies import approval
from toolkit.access import DevelopmentAuthenticator
from toolkit.api import Services, build_api
from toolkit.rules import RuleService
from toolkit.storage import Database

RULE = "/toolkit/v1/rules/approval"
HARMLESS = {"total": 5, "vendor": "ACME", "tags": ["a"]}
DEADLY = {"total": 5, "vendor": "v" * 50}


@pytest.fixture
async def contacts() -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that nobody may reach, and who did."""
    seen: list[Any] = []

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    server.close()
    await server.wait_closed()


@pytest.fixture
async def call(database: Database) -> AsyncIterator[Caller]:
    """Somebody who calls a server with the rule ``approval``, and no other room behind it."""
    service = RuleService(database, [approval], refresh_seconds=3600)
    await service.open()
    rooms: Any = None  # the routes of rules ask for nothing else
    services = Services(
        engine=rooms,
        files=rooms,
        agents=rooms,
        rules=service,
        tasks=rooms,
        database=database,
        authenticator=DevelopmentAuthenticator(),
    )
    yield Caller(build_api(services), headers={"x-toolkit-user": "mallory"})
    await service.close()


class Pulse:
    """Asks for the server's health again and again, and keeps how long each answer took, in seconds."""

    def __init__(self, call: Caller) -> None:
        self.call, self.took = call, list[float]()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _beat(self) -> None:
        while True:
            started = time.monotonic()
            response = await self.call("GET", "/toolkit/v1/health/live")
            assert response.status_code == 200
            self.took.append(time.monotonic() - started)
            await asyncio.sleep(0.005)

    def late(self, seconds: float) -> float:
        """Which part of the answers took longer."""
        return sum(took > seconds for took in self.took) / max(len(self.took), 1)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def post(call: Caller, path: str, graph: bytes, **more: Any) -> httpx2.Response:
    body = b'{"graph": ' + graph + b"".join(f', "{k}": {json.dumps(v)}'.encode() for k, v in more.items()) + b"}"
    return await call("POST", path, content=body, headers={"content-type": "application/json"})


@pytest.mark.parametrize("door", ["versions", "simulate"])
async def test_an_attack_is_refused_with_a_reason_while_the_server_answers(
    call: Caller, contacts: tuple[str, list[Any]], tmp_path: Path, door: str
) -> None:
    server, seen = contacts
    secret = tmp_path / "secret.json"
    secret.write_text('{"type": "string"}')
    before = resident_bytes()
    refused = {}
    async with Pulse(call) as pulse:
        for name, graph in hostile.refused(server, str(secret)).items():
            more = {"input": HARMLESS} if door == "simulate" else {}
            refused[name] = await post(call, f"{RULE}/{door}", graph, **more)

    not_refused = {}
    for name, response in refused.items():
        is_told = response.json().get("error") if response.status_code == 200 else response.json().get("detail")
        if not is_told or response.status_code >= 500 or (door == "versions" and response.status_code < 400):
            not_refused[name] = (response.status_code, response.text[:300])
    assert not_refused == {}
    assert all(
        "panicked" not in response.text and str(Path.home()) not in response.text for response in refused.values()
    )
    assert (await call("GET", f"{RULE}/versions")).json()["items"] == []
    assert seen == []
    assert pulse.late(0.1) <= 0.02, sorted(pulse.took)[-5:]
    assert resident_bytes() - before < 300_000_000


async def test_what_an_upload_survives_is_contained_at_every_door(
    call: Caller, contacts: tuple[str, list[Any]], tmp_path: Path
) -> None:
    server, seen = contacts
    secret = tmp_path / "secret.json"
    secret.write_text('{"type": "string"}')
    before = resident_bytes()
    async with Pulse(call) as pulse:
        for name, graph in hostile.accepted(server, str(secret)).items():
            stored = await post(call, f"{RULE}/versions", graph, note=name)
            assert stored.status_code == 201, (name, stored.text)
            number = stored.json()["number"]
            assert (await call("POST", f"{RULE}/versions/{number}/activate")).status_code == 200
            harmless = await call("POST", f"{RULE}/evaluate", json={"input": HARMLESS})
            assert harmless.json()["output"]["approved"] is True, name
            if "wait" not in name:
                continue
            deadly = await call("POST", f"{RULE}/evaluate", json={"input": DEADLY})
            told = await call("POST", f"{RULE}/explain", json={"input": DEADLY})
            batch = await call("POST", f"{RULE}/evaluate-batch", json={"inputs": [DEADLY, HARMLESS]})
            assert (deadly.status_code, told.status_code, batch.status_code) == (422, 200, 200), name
            assert told.json()["error"]
            assert batch.json()["items"][0]["error"]["message"]

    assert seen == []
    assert pulse.late(0.1) <= 0.02, sorted(pulse.took)[-5:]
    assert resident_bytes() - before < 300_000_000
