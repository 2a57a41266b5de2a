"""``toolkit dev --reload``: the process is ended and begun again when a source file changes.

What was under way goes on in the new process, as after any other end; that is what the engine is for.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from toolkit.cli.targets import source_folder

_SOURCES = {".py", ".yaml", ".yml", ".json"}
_NOT_SOURCES = {"__pycache__", "node_modules", "site-packages", "build", "dist"}
_LOOK_SECONDS = 0.4
_PATIENCE_SECONDS = 5.0

Snapshot = dict[Path, int]


def serve_with_reload(arguments: list[str], *, target: str) -> int:
    """Run ``toolkit`` with ``arguments`` in a process of its own until it is told to end; its exit code."""
    folder = source_folder(target)
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: stopped.append(received))
    print(f"Watching {folder}", flush=True)
    while True:
        before = snapshot(folder)
        process = subprocess.Popen([sys.executable, "-m", "toolkit.cli", *arguments])  # noqa: S603 - our own command
        try:
            # A process that ended by itself (a typing mistake, say) waits for the next change.
            while not stopped and snapshot(folder) == before:
                time.sleep(_LOOK_SECONDS)
            if signal.SIGINT in stopped:  # a terminal tells both of us, and a second signal would cut its closing short
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE_SECONDS)
        finally:
            _end(process)
        if stopped:
            return process.returncode if process.returncode > 0 else 0
        print("A source file has changed; starting anew", flush=True)


def snapshot(folder: Path) -> Snapshot:
    """The source files below ``folder`` with their times, without hidden folders, caches and environments."""
    times: Snapshot = {}
    for path in _sources(folder):
        with contextlib.suppress(FileNotFoundError):  # an editor may be replacing it right now
            times[path] = path.stat().st_mtime_ns
    return times


def _sources(folder: Path) -> Iterator[Path]:
    entries: list[Path] = []
    with contextlib.suppress(FileNotFoundError, PermissionError):  # a folder may go at any moment
        entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NOT_SOURCES or entry.is_symlink():
            continue
        if entry.is_dir():
            if not (entry / "pyvenv.cfg").exists():
                yield from _sources(entry)
        elif entry.suffix in _SOURCES:
            yield entry


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
