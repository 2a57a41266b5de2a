"""Production evaluation outside the process: sandboxes that keep their graphs, and an end for those that kill them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import queue
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from toolkit.rules.engine import Evaluation, Failure, load_zen
from toolkit.rules.sandbox import Sandbox, Trial

T = TypeVar("T")

logger = logging.getLogger(__name__)

_CONTEXTS_A_TRIAL = 100  # beyond this, others who wait for a sandbox wait too long

MOST_KILLS = 3
FORGETTING_SECONDS = 600
"""A graph that ended its sandbox ``MOST_KILLS`` times is not tried by this process until the first is so long ago."""
INPUTS_A_SECOND = 250
"""A loop over so many inputs may take as long again as one evaluation."""


class IsolatedEngine:
    """Does what :class:`~toolkit.rules.engine.DecisionEngine` does, in child processes.

    Its ``evaluate`` blocks: call what uses it through :meth:`apart`.
    """

    def __init__(self, *, size: int | None = None, silence_seconds: float = 1.0) -> None:
        self.size = size or min(4, os.cpu_count() or 1)
        self.silence_seconds = silence_seconds
        self._idle: queue.LifoQueue[Sandbox] = queue.LifoQueue()
        self._sandboxes = [Sandbox(silence_seconds=silence_seconds) for _ in range(self.size)]
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)
        self._graphs: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._kills: dict[str, deque[float]] = {}
        # Threads of its own: a graph that takes its time keeps nobody waiting but those who ask such graphs.
        self._threads: ThreadPoolExecutor | None = None

    def add(self, key: str, text: str, parts: Mapping[str, str]) -> None:
        """Keep the graph in ``text`` under ``key``, together with the sub-decisions of it.

        Raises:
            ConfigurationError: zen-engine is not installed.
        """
        load_zen()
        self._graphs = {**self._graphs, key: (text, parts)}

    def keep(self, keys: Container[str]) -> None:
        """Forget every graph that is not among ``keys``."""
        self._graphs = {key: kept for key, kept in self._graphs.items() if key in keys}

    def evaluate(self, key: str, context: str, *, with_trace: bool = False, inputs: int = 1) -> Evaluation | Failure:
        """Evaluate in a sandbox; a graph that ends it fails, and after some kills it is refused for a while.

        ``inputs`` is how many are in ``context``: a loop has more time than one evaluation.
        """
        seconds = self.silence_seconds * (1 + inputs / INPUTS_A_SECOND)
        (found,) = self._try(key, [context], with_trace=with_trace, seconds=seconds)
        return found

    def evaluate_many(
        self, key: str, contexts: Sequence[str], *, with_trace: bool = False
    ) -> list[Evaluation | Failure]:
        """:meth:`evaluate` for each of ``contexts``, in order; one that ends the sandbox fails by itself."""
        found: list[Evaluation | Failure] = []
        while len(found) < len(contexts):
            some = contexts[len(found) : len(found) + _CONTEXTS_A_TRIAL]
            found += self._try(key, some, with_trace=with_trace, seconds=self.silence_seconds)
        return found

    def _try(
        self, key: str, contexts: Sequence[str], *, with_trace: bool, seconds: float
    ) -> list[Evaluation | Failure]:
        """What came of ``contexts`` up to the one that ended the sandbox, if one did."""
        if self._is_refused(key):
            minutes = FORGETTING_SECONDS // 60
            why = f"it ended its sandbox {MOST_KILLS} times within {minutes} minutes and is not evaluated any more now"
            return [Failure(why)] * len(contexts)
        graph, parts = self._graphs[key]
        sandbox = self._idle.get()
        try:
            tried = sandbox.run(Trial(graph, contexts, with_trace=with_trace, parts=parts, key=key, seconds=seconds))
        finally:
            self._idle.put(sandbox)
        if tried.refused is not None:
            return [Failure(tried.refused)] * len(contexts)
        if tried.cut_off is not None:
            self._count_kill(key)
            return [*tried.evaluations, Failure(f"its evaluation was ended: {tried.cut_off}")]
        return tried.evaluations

    def _is_refused(self, key: str) -> bool:
        kills = self._kills.get(key)
        return kills is not None and len(kills) == MOST_KILLS and time.monotonic() - kills[0] < FORGETTING_SECONDS

    def _count_kill(self, key: str) -> None:
        kills = self._kills.setdefault(key, deque(maxlen=MOST_KILLS))
        kills.append(time.monotonic())
        if self._is_refused(key):
            logger.error(
                "A version of a rule ended its sandbox too often and is not evaluated for a while",
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
