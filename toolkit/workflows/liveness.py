"""On SQLite, a lock of the operating system beside the database proves that a worker's process is alive.

A lease must run out before anybody may take a silent worker's runs. A lock that can be had proves at once that its
holder is gone, so that a process restarted after ``kill -9`` goes on without waiting.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

try:
    fcntl: Any = importlib.import_module("fcntl")
except ModuleNotFoundError:  # Windows: there is no proof there, the lease decides
    fcntl = None


class Liveness:
    """The locks of the workers of one SQLite database, in a folder beside it."""

    def __init__(self, database_path: Path, *, worker_id: str) -> None:
        self._folder = database_path.with_name(f"{database_path.name}-workers")
        self._worker_id = worker_id
        self._held: int | None = None

    def hold(self) -> None:
        """Take this worker's lock; it falls with the process, however that ends."""
        if fcntl is None:
            return
        self._folder.mkdir(exist_ok=True)
        self._held = os.open(self._folder / self._worker_id, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Give the lock back and leave nothing behind."""
        if self._held is not None:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / self._worker_id).unlink()
            os.close(self._held)
            self._held = None

    def is_dead(self, worker_id: str) -> bool:
        """Whether the worker's process is certainly gone."""
        if fcntl is None or worker_id == self._worker_id:
            return False
        try:
            lock = os.open(self._folder / worker_id, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True  # it has let go, or somebody found it dead before us
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            with contextlib.suppress(FileNotFoundError):
                (self._folder / worker_id).unlink()
            return True
        finally:
            os.close(lock)
