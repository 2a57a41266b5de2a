"""Production evaluation outside the process: sandboxes that keep their graphs, and an end for those that kill them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import queue
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from toolkit.rules.engine import Evaluation, Failure, load_zen
from toolkit.rules.sandbox import Sandbox, Trial

T = TypeVar("T")

logger = logging.getLogger(__name__)

MOST_KILLS = 3
"""So often a graph may end its sandbox; after that it is not tried again by this process."""


class IsolatedEngine:
    """Does what :class:`~toolkit.rules.engine.DecisionEngine` does, in child processes.

    Its ``evaluate`` blocks: call what uses it through :meth:`apart`.
    """

    def __init__(self, *, size: int | None = None, silence_seconds: float = 1.0) -> None:
        self.size = size or min(4, os.cpu_count() or 1)
        self._idle: queue.LifoQueue[Sandbox] = queue.LifoQueue()
        self._sandboxes = [Sandbox(silence_seconds=silence_seconds) for _ in range(self.size)]
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._graphs: dict[str, str] = {}
        self._kills: dict[str, int] = {}
        # Threads of its own: a graph that takes its time keeps nobody waiting but those who ask such graphs.
        self._threads: ThreadPoolExecutor | None = None

    def add(self, key: str, text: str) -> None:
        """Keep the graph in ``text`` under ``key``.

        Raises:
            ConfigurationError: zen-engine is not installed.
        """
        load_zen()
        self._graphs = {**self._graphs, key: text}

    def keep(self, keys: Container[str]) -> None:
        """Forget every graph that is not among ``keys``."""
        self._graphs = {key: text for key, text in self._graphs.items() if key in keys}

    def evaluate(self, key: str, context: str, *, with_trace: bool = False) -> Evaluation | Failure:
        """Evaluate in a sandbox; a graph that ends it fails, and after some kills it is refused."""
        if self._kills.get(key, 0) >= MOST_KILLS:
            return Failure(f"it ended its sandbox {MOST_KILLS} times and is not evaluated any more")
        sandbox = self._idle.get()
        try:
            tried = sandbox.run(Trial(self._graphs[key], [context], with_trace=with_trace, key=key))
        finally:
            self._idle.put(sandbox)
        if tried.cut_off is not None:
            self._count_kill(key)
            return Failure(f"its evaluation was ended: {tried.cut_off}")
        if tried.refused is not None:
            return Failure(tried.refused)
        return tried.evaluations[0]

    def _count_kill(self, key: str) -> None:
        self._kills[key] = self._kills.get(key, 0) + 1
        if self._kills[key] == MOST_KILLS:
            logger.error(
                "A version of a rule ended its sandbox too often and is not evaluated any more",
                extra={"event": "rule.circuit_opened", "rule": key.split("@", maxsplit=1)[0]},
            )

    async def apart(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call ``function`` on a thread where it may block."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="toolkit-rules")
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: context.run(function, *arguments))

    def close(self) -> None:
        """End the child processes, each after what it evaluates right now; the next evaluation starts them again."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()
        for sandbox in self._sandboxes:
            sandbox.close()
