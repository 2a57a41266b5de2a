"""Every known attack through every door: refused with a reason, or contained; the server goes on answering."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from tests.api.installation import Caller
from tests.rules import hostile
from tests.rules.policies import LIMITS, approval, encode
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
def database_url(tmp_path: Path) -> str:
    """SQLite alone: what a graph does to a process has nothing to do with where it is kept."""
    return f"sqlite:///{tmp_path / 'toolkit.db'}"


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


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that nobody may read."""
    secret = tmp_path / "secret.json"
    secret.write_text('{"type": "string"}')
    os.utime(secret, (1, 2))  # the next reader changes the first
    return secret


def was_read(secret: Path) -> bool:
    return secret.stat().st_atime != 1


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
    call: Caller, contacts: tuple[str, list[Any]], secret: Path, door: str
) -> None:
    server, seen = contacts
    before = resident_bytes()
    refused = {}
    async with Pulse(call) as pulse:
        for name, graph in hostile.refused(server, str(secret)).items():
            more = {"input": HARMLESS} if door == "simulate" else {}
            refused[name] = await post(call, f"{RULE}/{door}", graph, **more)
        activated = await call("POST", f"{RULE}/versions/1/activate")
        evaluated = await call("POST", f"{RULE}/evaluate", json={"input": HARMLESS, "version": 1})

    assert {
        name: (response.status_code, response.text[:300])
        for name, response in refused.items()
        if not 400 <= response.status_code < 500 or not response.json()["detail"]
    } == {}
    assert all("panicked" not in one.text and str(Path.home()) not in one.text for one in refused.values())
    assert (activated.status_code, evaluated.status_code) == (404, 404), "nothing of it was kept"
    assert (await call("GET", f"{RULE}/versions")).json()["items"] == []
    assert (seen, was_read(secret)) == ([], False)
    assert pulse.late(0.1) <= 0.02, sorted(pulse.took)[-5:]
    assert resident_bytes() - before < 100_000_000


async def test_what_an_upload_survives_is_contained_at_every_door(
    call: Caller, contacts: tuple[str, list[Any]], secret: Path
) -> None:
    server, seen = contacts
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
            tried = await post(call, f"{RULE}/simulate", graph, input=DEADLY)
            batch = await call("POST", f"{RULE}/evaluate-batch", json={"inputs": [DEADLY, HARMLESS]})
            assert (deadly.status_code, tried.status_code, batch.status_code) == (422, 422, 200), name
            assert "was ended" in deadly.json()["detail"]
            assert "not_containable" in tried.text
            assert "was ended" in batch.json()["items"][0]["error"]["message"]
            assert batch.json()["items"][1]["output"]["approved"] is True

    assert (seen, was_read(secret)) == ([], False)
    assert pulse.late(0.1) <= 0.02, sorted(pulse.took)[-5:]
    assert resident_bytes() - before < 100_000_000


async def test_an_input_that_means_harm_is_refused_at_every_door(call: Caller) -> None:
    await post(call, f"{RULE}/versions", encode(LIMITS))
    await call("POST", f"{RULE}/versions/1/activate")
    headers = {"content-type": "application/json"}
    before = resident_bytes()
    found = {}
    async with Pulse(call) as pulse:
        for name, text in hostile.inputs().items():
            for door, body in {
                "evaluate": b'{"input": ' + text + b"}",
                "explain": b'{"input": ' + text + b"}",
                "simulate": b'{"input": ' + text + b', "graph": ' + encode(LIMITS) + b"}",
                "evaluate-batch": b'{"inputs": [' + text + b"]}",
            }.items():
                found[name, door] = await call("POST", f"{RULE}/{door}", content=body, headers=headers)

    for (name, door), response in found.items():
        if door == "evaluate-batch" and response.status_code == 200:
            assert response.json()["items"][0]["error"]["message"], name
        elif door in {"explain", "simulate"} and response.status_code == 200:  # they tell why a decision fails
            assert response.json()["error"], name
        else:
            assert 400 <= response.status_code < 500, (name, door, response.text[:300])
            assert response.json()["detail"]
    assert pulse.late(0.1) <= 0.02, sorted(pulse.took)[-5:]
    assert resident_bytes() - before < 100_000_000
