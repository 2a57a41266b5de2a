"""A fork server: one process that has imported everything and forks workers, so that a thousand of them take minutes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable


class Herd:
    """Forked processes by id. Make it before anything starts a thread or an event loop in this process."""

    def __init__(self) -> None:
        self.members: set[int] = set()

    def fork(self, work: Callable[[], Awaitable[None]]) -> int:
        """A new process that does ``work`` on an event loop of its own, and ends."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                asyncio.run(work())  # type: ignore[arg-type]
                code = 0
            except Exception:  # noqa: BLE001 - nobody above sees it
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        self.members.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        """End a process without warning."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.members.discard(pid)

    def has_ended(self, pid: int) -> int | None:
        """The exit status of a process that has ended by itself, or ``None``."""
        found, status = os.waitpid(pid, os.WNOHANG)
        if found == 0:
            return None
        self.members.discard(pid)
        return status

    def end(self) -> None:
        """End everybody who is left."""
        for pid in list(self.members):
            os.kill(pid, signal.SIGCONT)
            self.kill(pid)
