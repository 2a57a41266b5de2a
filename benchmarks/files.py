"""Upload and download of one large stream beside a bare ASGI handler: ``python benchmarks/files.py``.

The bare handler hashes each chunk and writes it: an upload into a file, durably at the end, a download to its caller.
It knows no limits, types, rows or other requests. Both are called without a network between, so that nothing hides a
difference. Each begins with an empty folder, and a first round counts for nothing: on a virtual machine, memory that a
page cache touches for the first time is slow. Prints the median of the ratios of throughput, and how far the memory of
the process rose above what it was before.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit import Toolkit
from toolkit.config import Settings

CHUNK = bytes(256 * 1024)
BLOCK = 1024 * 1024
BOUNDARY = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"
FORM_BEGIN = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
FORM_END = b"\r\n--" + BOUNDARY + b"--\r\n"
RAW, FORM = b"application/octet-stream", b"multipart/form-data; boundary=" + BOUNDARY
Application = Callable[[Any, Any, Any], Awaitable[None]]


class Bare:
    """An application that takes one body, whatever it holds, and gives it back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._take(receive, send) if scope["method"] == "POST" else self._give(send))

    async def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    async def place(self) -> str:
        return "/"

    async def _take(self, receive: Any, send: Any) -> None:
        digest = hashlib.sha256()
        with self._path.open("wb") as file:
            more = True
            while more:
                message = await receive()
                digest.update(message["body"])
                file.write(message["body"])
                more = message["more_body"]
            file.flush()
            os.fsync(file.fileno())
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def _give(self, send: Any) -> None:
        digest = hashlib.sha256()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with self._path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                digest.update(block)
                await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def scope_of(method: str, path: str, *, media_type: bytes = RAW) -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"filename=large.bin",
        "headers": [(b"host", b"localhost"), (b"content-type", media_type)],
        "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }  # fmt: skip


async def upload(application: Application, *, size: int, media_type: bytes) -> float:
    """Seconds that ``application`` takes for a stream of ``size`` bytes."""
    left, status, begin = size, 0, FORM_BEGIN if media_type == FORM else b""

    async def receive() -> dict[str, Any]:
        nonlocal left, begin
        if begin:
            chunk, begin = begin, b""
        else:
            chunk = CHUNK[: min(left, len(CHUNK))]
            left -= len(chunk)
        if media_type == FORM and not left:
            return {"type": "http.request", "body": chunk + FORM_END, "more_body": False}
        return {"type": "http.request", "body": chunk, "more_body": left > 0}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    start = time.perf_counter()
    await application(scope_of("POST", "/toolkit/v1/files", media_type=media_type), receive, send)
    assert status == 201, status
    return time.perf_counter() - start


async def download(application: Application, *, path: str, size: int) -> float:
    """Seconds that ``application`` takes to send ``size`` bytes."""
    status = count = 0

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()  # the reader stays
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, count
        status, count = message.get("status", status), count + len(message.get("body", b""))

    start = time.perf_counter()
    await application(scope_of("GET", path), receive, send)
    assert (status, count) == (200, size), (status, count)
    return time.perf_counter() - start


class Memory:
    """How far the memory of the process rises; Linux alone tells."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        self._before = self._read("VmRSS")

    @property
    def risen_mib(self) -> float:
        return (self._read("VmHWM") - self._before) / 1024

    def _read(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        assert found is not None
        return int(found[1])


@dataclass
class Side:
    """One of the two: how it is called, and how it forgets what it was given."""

    application: Application
    forget: Callable[[], Awaitable[None]]
    path: Callable[[], Awaitable[str]]


async def take_turn(side: Side, *, size: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and MiB of memory of each exercise."""
    seconds, memory = {}, {}
    for name, media_type in (("upload of a form", FORM), ("upload", RAW)):
        await side.forget()
        watch = Memory()
        seconds[name] = await upload(side.application, size=size, media_type=media_type)
        memory[name] = watch.risen_mib
    path, watch = await side.path(), Memory()
    seconds["download"] = await download(side.application, path=path, size=size)
    memory["download"] = watch.risen_mib
    await side.forget()
    return seconds, memory


async def measure(size: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        bare = Bare(folder / "bare")
        settings = Settings.of({"limits": {"upload_bytes": size + 1}}, folder=folder)
        async with Toolkit().running(settings=settings) as app:
            files = app.services.files

            async def forget() -> None:
                for file in await files.list_files():
                    await files.delete(file.id)

            async def path() -> str:
                (file,) = await files.list_files()
                return f"/toolkit/v1/files/{file.id}/content"

            ours, theirs = Side(app, forget, path), Side(bare, bare.forget, bare.place)
            await upload(app, size=1, media_type=FORM)
            _, risen = await take_turn(ours, size=size)  # memory counts from the first byte on
            await take_turn(theirs, size=size)
            ratios: dict[str, list[float]] = {}
            for _ in range(rounds):
                seconds, memory = await take_turn(ours, size=size)
                bare_seconds, _ = await take_turn(theirs, size=size)
                for name, found in seconds.items():
                    ratios.setdefault(name, []).append(bare_seconds[name] / found)
                    risen[name] = max(risen[name], memory[name])
    for name, found_ratios in ratios.items():
        shown = ", ".join(f"{ratio:.0%}" for ratio in found_ratios)
        print(
            f"{name}: {statistics.median(found_ratios):.0%} of the bare handler's throughput ({shown}), "
            f"memory rose by {risen[name]:.1f} MiB"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    found = parser.parse_args()
    asyncio.run(measure(found.megabytes * 1024 * 1024, found.rounds))
