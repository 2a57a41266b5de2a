"""Upload of one large stream beside a bare ASGI handler that does the same: ``python benchmarks/files.py``.

Prints the median of the ratios of throughput, and by how much the memory of the process grew.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from toolkit import Toolkit
from toolkit.config import Settings

CHUNK = bytes(256 * 1024)
Application = Callable[[Any, Any, Any], Awaitable[None]]


async def bare(folder: Path, receive: Any, send: Any) -> None:
    digest = hashlib.sha256()

    def take(chunk: bytes) -> None:
        digest.update(chunk)
        file.write(chunk)

    with (folder / "bare").open("wb") as file:
        while True:
            message = await receive()
            await asyncio.to_thread(take, message.get("body", b""))
            if not message.get("more_body"):
                break
        await asyncio.to_thread(os.fsync, file.fileno())
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def upload(application: Application, *, size: int) -> float:
    """Seconds that ``application`` takes for a stream of ``size`` bytes."""
    left, status = size, 0

    async def receive() -> dict[str, Any]:
        nonlocal left
        chunk = CHUNK[: min(left, len(CHUNK))]
        left -= len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": left > 0}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    path = "/toolkit/v1/files"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"filename=large.bin",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/octet-stream")],
        "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }  # fmt: skip
    start = time.perf_counter()
    await application(scope, receive, send)
    assert status == 201, status
    return time.perf_counter() - start


async def measure(size: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        settings = Settings.of({"limits": {"upload_bytes": size + 1}}, folder=folder)
        async with Toolkit().running(settings=settings) as app:
            await upload(app, size=1)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ratios = []
            for _ in range(rounds):
                ours = await upload(app, size=size)
                grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
                (file,) = await app.services.files.list_files(limit=1)
                await app.services.files.delete(file.id)
                theirs = await upload(lambda _, receive, send: bare(folder, receive, send), size=size)
                ratios.append(theirs / ours)
            print(f"throughput {statistics.median(ratios):.0%} of the bare handler, memory grew by {grown // 1024} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    found = parser.parse_args()
    asyncio.run(measure(found.megabytes * 1024 * 1024, found.rounds))
