"""A child process in which an uploaded graph is tried before anyone may activate it.

A graph without a line of JavaScript can take gigabytes, run for minutes or end its process. The child has no
environment, no descriptors beyond its two pipes, little memory and a parent who kills it when it is silent for too
long. It is kept warm between trials. Works on Linux and macOS.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigurationError
from toolkit.rules.engine import Evaluation, Failure, load_zen, read_failure

logger = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("sandbox_child.py")
_START_SECONDS = 30.0
_LONGEST_ANSWER = 4_000_000  # bytes of one line
_KEPT_GRAPHS = 50  # as in the child


@dataclass(frozen=True)
class Probe:
    """A test of a column (``kind`` is ``"test"``) or an expression, to be evaluated by itself in each context."""

    kind: str
    text: str
    contexts: Sequence[str]


@dataclass(frozen=True)
class Trial:
    """What to try: a compiled graph, inputs for it as JSON text, and single expressions."""

    graph: str
    contexts: Sequence[str]
    probes: Sequence[Probe] = ()
    with_trace: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    """The graphs that it asks, by key."""
    key: str | None = None
    """Names the graph, so that the child compiles it once and is sent it once."""
    seconds: float | None = None
    """The longest that one evaluation may take; the sandbox's own limit unless given."""


@dataclass
class Trying:
    """What came of a trial, in the order of the trial; short where it was cut off, and then ``cut_off`` says why."""

    evaluations: list[Evaluation | Failure] = field(default_factory=list)
    raises: list[bool] = field(default_factory=list)
    """For each probe, whether it failed in every context."""
    refused: str | None = None
    """Why the engine does not take the graph."""
    cut_off: str | None = None


class _Gone(Exception):  # a way out of a conversation, seen by nobody else
    """The child ended, or was ended; says why."""


class Sandbox:
    """One warm child. Trials take turns; each runs on the caller's thread, so call it from a worker thread.

    ``silence_seconds`` is the longest that one evaluation may take, ``trial_seconds`` a whole trial.
    """

    def __init__(self, *, silence_seconds: float = 1.0, trial_seconds: float = 10.0) -> None:
        self.silence_seconds, self.trial_seconds = silence_seconds, trial_seconds
        self._turn = threading.Lock()
        self._child: _Child | None = None

    def run(self, trial: Trial) -> Trying:
        """Try it. Never raises for what the graph does.

        Raises:
            ConfigurationError: there is no zen-engine, or no child process can be started.
        """
        with self._turn:
            child = self._warm_child()
            tried = Trying()
            try:
                self._converse(child, trial, tried)
            except _Gone as gone:
                tried.cut_off = str(gone)
                self._child = None
                logger.warning(
                    "The sandbox was ended by a graph: %s",
                    gone,
                    extra={"event": "rule.sandbox_ended", "reason": str(gone)},
                )
            return tried

    def close(self) -> None:
        """End the child."""
        with self._turn:
            if self._child is not None:
                self._child.kill()
                self._child = None

    def _warm_child(self) -> _Child:
        if self._child is None or not self._child.is_alive:
            if self._child is not None:
                self._child.kill()  # it died between two trials; let go of its pipes
            self._child = None
            self._child = _Child.start()
        return self._child

    def _converse(self, child: _Child, trial: Trial, tried: Trying) -> None:
        silence = trial.seconds or self.silence_seconds
        # A trial is a person's, who waits; what production asks for may take its time for each context.
        allowed = self.trial_seconds if trial.seconds is None else trial.seconds * (1 + len(trial.contexts))
        end = time.monotonic() + allowed
        is_known = child.knows(trial.key)
        request = {
            "key": trial.key,
            "graph": None if is_known else trial.graph,
            "parts": {} if is_known else dict(trial.parts),
            "contexts": list(trial.contexts),
            "probes": [[probe.kind, probe.text, list(probe.contexts)] for probe in trial.probes],
            "trace": trial.with_trace,
            "seconds": silence,
        }
        child.send(json.dumps(request).encode() + b"\n", deadline=end)
        started = self._receive(child, end, silence)
        if "error" in started:
            tried.refused = read_failure(started["error"]).reason
            return
        child.learned(trial.key)
        for _ in trial.contexts:
            answer = self._receive(child, end, silence)
            tried.evaluations.append(
                read_failure(answer["error"]) if "error" in answer else Evaluation(answer["result"], answer["trace"])
            )
        for _ in trial.probes:
            tried.raises.append(bool(self._receive(child, end, silence)["raises"]))

    def _receive(self, child: _Child, end: float, silence: float) -> dict[str, Any]:
        line = child.receive(deadline=min(end, time.monotonic() + silence))
        try:
            answer: dict[str, Any] = json.loads(line)
        except RecursionError:
            return {"error": "the output is nested too deeply"}
        return answer


class _Child:
    """The process and its two pipes, with a deadline on every word."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._in, self._out = process, process.stdin, process.stdout
        self._heard = bytearray()
        self._known: list[str] = []
        for pipe in (self._in, self._out):
            os.set_blocking(pipe.fileno(), False)

    @classmethod
    def start(cls) -> _Child:
        zen = load_zen()
        assert zen.__file__ is not None
        if os.name != "posix":
            raise ConfigurationError(f"graphs are tried in a sandbox, which needs Linux or macOS; this is {os.name!r}")
        try:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own file
                [sys.executable, "-I", "-S", str(_CHILD), str(Path(zen.__file__).parent.parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={},
                cwd="/",
                start_new_session=True,  # a Ctrl-C at the terminal is for the parent
            )
        except OSError as error:
            raise ConfigurationError(f"the sandbox for graphs cannot be started: {error}") from error
        child = cls(process)
        try:
            child.receive(deadline=time.monotonic() + _START_SECONDS)
        except _Gone as gone:
            raise ConfigurationError(f"the sandbox for graphs cannot be started: {gone}") from gone
        return child

    def knows(self, key: str | None) -> bool:
        """Whether it has kept the graph of ``key``."""
        return key in self._known

    def learned(self, key: str | None) -> None:
        """It has compiled the graph of ``key``; like the child itself, forget the oldest beyond ``_KEPT_GRAPHS``."""
        if key is not None and key not in self._known:
            self._known = [*self._known, key][-_KEPT_GRAPHS:]

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def send(self, data: bytes, *, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._in, selectors.EVENT_WRITE, deadline)
            try:
                view = view[os.write(self._in.fileno(), view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._ended() from None

    def receive(self, *, deadline: float) -> bytes:
        scanned = 0
        while (end := self._heard.find(b"\n", scanned)) < 0:
            scanned = len(self._heard)
            if scanned > _LONGEST_ANSWER:
                self.kill()
                raise _Gone(f"its output is larger than {_LONGEST_ANSWER} bytes")
            self._wait(self._out, selectors.EVENT_READ, deadline)
            chunk = os.read(self._out.fileno(), 65_536)
            if not chunk:
                raise self._ended()
            self._heard += chunk
        line = bytes(self._heard[:end])
        del self._heard[: end + 1]
        return line

    def _wait(self, pipe: Any, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self.kill()
                raise _Gone("it took longer than an evaluation may take")

    def _ended(self) -> _Gone:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1)  # its pipes close a moment before it has its exit code
        self.kill()
        code = self.process.returncode
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return _Gone(
            f"it ended its process ({name}), as an evaluation does that needs too much memory or nests too deep"
        )

    def kill(self) -> None:
        if self.is_alive:
            self.process.kill()
        self.process.wait()
        self._in.close()
        self._out.close()
