"""A real process: it serves, it stops when told to, and a change of its source begins it anew."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from toolkit.cli.reloading import snapshot
from toolkit.cli.scaffolding import write_application

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


SLOW_TO_CLOSE = """
import asyncio
from toolkit.app.installation import Installation

close = Installation.close


async def close_slowly(self):
    await asyncio.sleep(1)
    await close(self)
    print("Goodbye", flush=True)


Installation.close = close_slowly
"""


class Served:
    """A ``toolkit`` process and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed = ""

    def wait_for(self, pattern: str) -> str:
        """Read until ``pattern`` is there; its first group, or all of it."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.printed)):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            line = os.read(self.process.stdout.fileno(), 65536).decode() if readable else ""
            assert line, f"ended or silent before {pattern!r}: {self.printed}"
            self.printed += line
        return found[1] if found.groups() else found[0]

    def forget(self) -> None:
        self.printed = ""

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Exit code, and the seconds that ending took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        return code, time.monotonic() - begun


@contextlib.contextmanager
def toolkit(*arguments: str, cwd: Path) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.cli", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(cwd), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as in a terminal of its own, which tells all of its processes of Ctrl-C
    )
    assert process.stdout is not None
    try:
        yield Served(process)
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


@pytest.fixture
def application(tmp_path: Path) -> Path:
    return write_application("my-invoices", into=tmp_path)


def test_dev_serves_a_scaffolded_application_and_stops_within_two_seconds(application: Path) -> None:
    with toolkit("dev", "--port", "0", cwd=application) as served:
        address = served.wait_for(r"on (http://127\.0\.0\.1:\d+)\n")
        with httpx2.Client(base_url=address) as client:
            content = (application / "samples" / "invoice.txt").read_bytes()
            uploaded = client.post("/toolkit/v1/files", files={"file": ("invoice.txt", content)})
            assert uploaded.status_code == 201, uploaded.text
            file = {"id": uploaded.json()["items"][0]["id"]}
            started = client.post("/toolkit/v1/workflows/process_invoice/runs", json={"input": {"file": file}})
            assert started.status_code == 201, started.text
            task = first_task(client)
            done = client.post(f"/toolkit/v1/human-tasks/{task}/complete", json={"output": {"approved": True}})
            assert done.status_code == 200, done.text
            assert final_state(client, started.json()["id"]) == "succeeded"

            code, seconds = served.stop()

    assert code == 0
    assert seconds < 2


def test_a_worker_and_prod_start_and_stop(application: Path) -> None:
    with toolkit("worker", "--env", "dev", cwd=application) as served:
        served.wait_for("The worker is ready")
        assert served.stop(signal.SIGINT)[0] == 0

    config = (application / "toolkit.yaml").read_text("utf-8")
    key = "security: {api_keys: {erp: {hash: 'sha256:%s'}}}\n" % ("0" * 64)
    (application / "toolkit.prod.yaml").write_text(config + key, "utf-8")
    with toolkit("prod", "--port", "0", cwd=application) as served:
        address = served.wait_for(r'"address": "(http://[^"]+)"')
        assert httpx2.get(f"{address}/toolkit/v1/runs", headers={"X-Toolkit-User": "ada"}).status_code == 401
        assert served.stop()[0] == 0


def test_a_changed_source_begins_the_process_anew(application: Path) -> None:
    with toolkit("dev", "--reload", "--port", "0", cwd=application) as served:
        first = served.wait_for(r"on (http://\S+)\n")
        served.forget()
        main = application / "main.py"
        main.write_text(main.read_text("utf-8").replace("My invoices", "Renamed"), "utf-8")
        second = served.wait_for(r"Renamed on (http://\S+)\n")
        assert httpx2.get(f"{second}/openapi.json").json()["info"]["title"] == "Renamed"
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(first)
        assert served.stop()[0] == 0


def test_a_terminal_that_interrupts_both_processes_cuts_no_closing_short(application: Path) -> None:
    main = application / "main.py"
    main.write_text(main.read_text("utf-8") + SLOW_TO_CLOSE, "utf-8")
    with toolkit("dev", "--reload", "--port", "0", cwd=application) as served:
        served.wait_for(r"on (http://\S+)\n")
        os.killpg(served.process.pid, signal.SIGINT)
        served.wait_for("Goodbye")
        assert served.process.wait(PATIENCE) == 0


def test_a_folder_that_goes_while_it_is_looked_at_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "kept.py").touch()
    listing = Path.iterdir

    def iterdir(folder: Path) -> Iterator[Path]:
        if folder.name == "gone":
            folder.rmdir()
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)

    assert list(snapshot(tmp_path)) == [tmp_path / "kept.py"]


def test_only_sources_are_watched(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "b.yaml",
        "notes.txt",
        ".hidden/c.py",
        ".toolkit/toolkit.db",
        "node_modules/d.py",
        "deep/e.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", "utf-8")
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "env" / "f.py").touch()

    assert {path.relative_to(tmp_path).as_posix() for path in snapshot(tmp_path)} == {"a.py", "b.yaml", "deep/e.py"}


def first_task(client: httpx2.Client) -> str:
    return str(poll(lambda: client.get("/toolkit/v1/human-tasks", params={"state": "open"}).json()["items"])[0]["id"])


def final_state(client: httpx2.Client, run_id: str) -> str:
    def state() -> str | None:
        found = client.get(f"/toolkit/v1/runs/{run_id}").json()["state"]
        return None if found in {"pending", "running", "suspended"} else str(found)

    return str(poll(state))


def poll(look: Callable[[], Any]) -> Any:
    """What ``look`` finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline
    return found
