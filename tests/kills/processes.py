"""The application as processes of its own, to be ended without warning."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import yaml

ROOT = Path(__file__).parents[2]
APPLICATION = "examples/invoice/main.py"


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the processes of one installation keep what they share."""

    folder: Path
    database_url: str
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        return self.folder / "toolkit.yaml"


def install(
    folder: Path, *, database_url: str, model_url: str | None, lease_seconds: float = 2.0, concurrency: int = 1000
) -> Installation:
    """Write a configuration; ``model_url`` is an OpenAI-compatible server, without one the offline model answers."""
    model: dict[str, object] = {"provider": "offline"}
    if model_url is not None:
        model = {"provider": "openai", "api": "chat", "model": "stub", "base_url": model_url, "api_key": "unused"}
    settings = {
        "database": {"url": database_url},
        "file_storage": {"default": str(folder / "files")},
        "ai_models": {"invoice_model": model},
        "worker": {"lease_seconds": lease_seconds, "poll_seconds": 0.2, "concurrency": concurrency},
        "logging": {"level": "WARNING"},
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    installation = Installation(folder, database_url, port)
    installation.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return installation


@contextmanager
def running(installation: Installation, command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``toolkit COMMAND`` as a process; killed at the end of the block if it is still there."""
    with (installation.folder / f"{command}.log").open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "toolkit.cli",
                command,
                APPLICATION,
                "--config",
                str(installation.config),
                *arguments,
            ],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={name: value for name, value in os.environ.items() if not name.startswith("TOOLKIT_")},
        )
        try:
            yield process
        finally:
            kill(process)


def serving(installation: Installation) -> Sequence[str]:
    """The arguments of ``toolkit dev`` on this installation's port."""
    return ("--port", str(installation.port))


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process as the power does: without a word."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()


def await_readiness(installation: Installation, process: subprocess.Popen[bytes], *, within: float = 60.0) -> None:
    """Return when the application says that it is ready; fail when it ends or takes too long."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the process ended by itself with {process.returncode}: {tail(installation)}")
        try:
            if httpx2.get(f"{installation.address}/toolkit/v1/health/ready", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.02)  # it is still starting; there is no signal across processes
    raise AssertionError(f"not ready within {within:g} s: {tail(installation)}")


def tail(installation: Installation) -> str:
    """The last lines of the logs."""
    return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(installation.folder.glob("*.log")))
