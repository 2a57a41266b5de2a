"""The hostile corpus against a real server: ``python -m tests.rules.siege [--rounds N]``.

Another process asks for the server's health a hundred times a second. Prints how long the answers took, how the memory
of the server grew from round to round, and whatever was not answered as it should be. The first server allows no
JavaScript, the second does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.rules import hostile
from tests.rules.policies import encode

ROOT = Path(__file__).parents[2]
APPLICATION = """
from tests.rules.policies import approval
from toolkit import Toolkit

app = Toolkit(title="Besieged").register_rule(approval)
"""
RULE = "/toolkit/v1/rules/approval"
HARMLESS: dict[str, Any] = {"total": 5, "vendor": "ACME", "tags": ["a"]}
DEADLY = {"total": 5, "vendor": "v" * 50}


@dataclass
class Server:
    """A server process, and somebody who calls it."""

    port: int
    process: subprocess.Popen[bytes]
    wrong: list[str] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)

    def call(self, method: str, path: str, body: bytes = b"{}") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"content-type": "application/json", "x-toolkit-user": "mallory"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        self.answers[response.status] = self.answers.get(response.status, 0) + 1
        return response.status, json.loads(text) if text else None

    def expect(self, what: str, found: tuple[int, Any], *, status: range | int) -> None:
        wanted = status if isinstance(status, range) else range(status, status + 1)
        if found[0] not in wanted or (found[0] >= 400 and not found[1].get("detail")):
            self.wrong.append(f"{what}: {found[0]} {str(found[1])[:200]}")

    @property
    def resident_mb(self) -> float:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8"))
        assert found is not None, "the server has ended"
        return int(found[1]) / 1000


@contextmanager
def serving(folder: Path, *, allows_functions: bool) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "main.py").write_text(APPLICATION, encoding="utf-8")
    config = {"rules": {"function_nodes": allows_functions}, "server": {"port": port}, "logging": {"level": "ERROR"}}
    (folder / "toolkit.yaml").write_text(json.dumps(config), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", "toolkit.cli", "dev", "main.py"], cwd=folder, env=environment)
    server = Server(port, process)
    try:
        while process.poll() is None:
            try:
                server.call("GET", "/toolkit/v1/health/live")
                break
            except OSError:
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait()


def watch(port: int, told: Connection) -> None:
    """Ask for the health of the server until told to stop; then tell how long each answer took."""
    took = []
    while not told.poll(0.01):
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/toolkit/v1/health/live")
        response = connection.getresponse()
        response.read()
        connection.close()
        took.append(time.perf_counter() - started if response.status == 200 else float("inf"))
    told.send(took)


@contextmanager
def listening(seen: list[Any]) -> Iterator[str]:
    """A server that nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        threading.Thread(target=lambda: seen.append(trap.accept()), daemon=True).start()
        yield f"http://127.0.0.1:{trap.getsockname()[1]}"


def attack(server: Server, address: str, secret: str, *, allows_functions: bool, first: int) -> int:
    """Every attack through every door; returns the number of the last version. ``first`` is that of the last before."""
    client_errors = range(400, 500)
    for name, graph in hostile.refused(address, secret).items():
        if first and name == "sub-decision of itself":
            continue  # by now there is a version that it can ask, and that asks nobody in turn
        body = b'{"graph": ' + graph
        server.expect(f"upload of {name}", server.call("POST", f"{RULE}/versions", body + b"}"), status=client_errors)
        tried = server.call("POST", f"{RULE}/simulate", body + b', "input": ' + encode(HARMLESS) + b"}")
        if tried[0] != 200 or not tried[1]["error"]:
            server.expect(f"simulation of {name}", tried, status=client_errors)
    number = first
    waiting = hostile.accepted(address, secret) if not first else {}
    if allows_functions:
        waiting |= {f"{name} that waits": encode(hostile.waiting(name)) for name in hostile.JAVASCRIPT_THAT_WAITS}
    for name, graph in waiting.items():
        stored = server.call("POST", f"{RULE}/versions", b'{"graph": ' + graph + b"}")
        server.expect(f"upload of {name}", stored, status=range(200, 202))
        number = stored[1].get("number", number)
        server.call("POST", f"{RULE}/versions/{number}/activate")
        harmless = server.call("POST", f"{RULE}/evaluate", b'{"input": ' + encode(HARMLESS) + b"}")
        if harmless[0] == 422 and "not evaluated any more" in harmless[1]["detail"]:
            continue  # it has done its worst in the rounds before
        if harmless[0] != 200 or not harmless[1]["output"]["approved"]:
            server.wrong.append(f"harmless input of {name}: {harmless}")
        if "wait" in name:
            deadly = server.call("POST", f"{RULE}/evaluate", b'{"input": ' + encode(DEADLY) + b"}")
            server.expect(f"deadly input of {name}", deadly, status=422)
            inputs = b'{"inputs": [' + encode(DEADLY) + b"," + encode(HARMLESS) + b"]}"
            _, batch = server.call("POST", f"{RULE}/evaluate-batch", inputs)
            if not batch["items"][0]["error"]:
                server.wrong.append(f"deadly input of {name} in a batch: {batch}")
    for name, text in hostile.inputs().items():
        found = server.call("POST", f"{RULE}/evaluate", b'{"input": ' + text + b"}")
        server.expect(f"evaluation of {name}", found, status=client_errors)
    return number


def besiege(*, allows_functions: bool, rounds: int) -> bool:
    seen: list[Any] = []
    with (
        TemporaryDirectory() as place,
        listening(seen) as address,
        serving(Path(place), allows_functions=allows_functions) as server,
    ):
        secret = Path(place) / "secret.json"
        secret.write_text('{"type": "string"}', encoding="utf-8")
        os.utime(secret, (1, 2))
        here, there = multiprocessing.Pipe()
        watcher = multiprocessing.get_context("spawn").Process(target=watch, args=(server.port, there))
        watcher.start()
        memory, number = [], 0
        for _ in range(rounds):
            number = attack(server, address, str(secret), allows_functions=allows_functions, first=number)
            memory.append(server.resident_mb)
        here.send("stop")
        took = sorted(here.recv())
        watcher.join()
        was_read = secret.stat().st_atime != 1
        is_alive = server.process.poll() is None
    print(
        f"JavaScript {'allowed' if allows_functions else 'refused'}: answers by status {dict(sorted(server.answers.items()))}"
    )
    print(
        f"  {len(took)} health checks: half within {took[len(took) // 2] * 1000:.1f} ms, 99 % within "
        f"{took[len(took) * 99 // 100] * 1000:.1f} ms, all within {took[-1] * 1000:.1f} ms"
    )
    print(f"  memory of the server after each round: {', '.join(f'{one:.0f} MB' for one in memory)}")
    print(f"  connections: {len(seen)}, file read: {was_read}, server alive: {is_alive}")
    for wrong in server.wrong:
        print(f"  WRONG: {wrong}")
    return is_alive and not (server.wrong or seen or was_read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    done = [besiege(allows_functions=allowed, rounds=chosen.rounds) for allowed in (False, True)]
    sys.exit(not all(done))
