"""What the tests of real deaths share: a provider that counts, and servers that fork processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.agents.scenarios import SCENARIOS, answer, effects_in


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
            self.answered += 1  # whatever becomes of the answer, it is paid
            body = answer(json.loads(await reader.readexactly(length))).content
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a killed client
        finally:
            writer.close()


class Forge:
    """A server that forks processes whose hashes have one seed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def heated(cls, *, hash_seed: str) -> AsyncIterator[Forge]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.agents.dying_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def perform(self, **job: Any) -> int:
        """The exit status of a process that did ``job``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        async with asyncio.timeout(60):
            return int(await self._process.stdout.readline())


async def die_once(
    first: Forge, second: Forge, provider: Provider, *, database: str, folder: Path, name: str, when: str, key: str
) -> Any:
    """What the run of a scenario came to whose first process died at ``key``; every count is checked on the way."""
    scenario = SCENARIOS[name]
    effects, found = folder / "effects", folder / "found"
    for file in (effects, found):
        file.unlink(missing_ok=True)
    paid = provider.answered
    job = {
        "database": database,
        "provider": provider.url,
        "effects": str(effects),
        "found": str(found),
        "scenario": name,
        "run": f"{name} {when} {key}",
    }
    death = {"when": when, "key": f"{name}/0/{key}", "beside": scenario.others_beside(key)}
    assert await first.perform(**job, **death) == -9, (name, when, key)
    assert await second.perform(**job) == 0, (name, when, key)

    assert provider.answered - paid == scenario.requests, (name, when, key)
    assert effects_in(effects) == (scenario.effects, scenario.halved_by(key)), (name, when, key)
    return json.loads(found.read_text(encoding="utf-8"))
