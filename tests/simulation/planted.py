"""Planted bugs: each takes away one guard of the engine. A simulation that does not notice proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from tests.simulation.histories import play_history
from toolkit.workflows import batches, branches
from toolkit.workflows.engine import Engine
from toolkit.workflows.operations import Suspend
from toolkit.workflows.orchestrator import Orchestrator
from toolkit.workflows.residents import Residents
from toolkit.workflows.states import RunState

Batch = batches.Batch


def _fence_without_epoch(self: Any, run_id: str, epoch: int) -> Any:
    run = self.runs.get(run_id)
    return run if run is not None and run.state is RunState.RUNNING else None


def _warm_by_id_alone(self: Residents, run_id: str, *, prior_epoch: int, epoch: int) -> bool:
    execution = self._take_warm(run_id)
    if execution is None:
        return False
    execution.epoch = epoch
    self.running[run_id] = execution
    return True


def _timers_in_memory_only(self: Engine, operation: Any) -> Any:
    return replace(operation, due_at=None) if isinstance(operation, Suspend) else operation


def _no_cursor(self: Any) -> Generator[Any, Any, dict[Any, int]]:
    yield from ()
    return {}


_HOLD = Batch._hold


def _cancel_is_not_read(self: Any, row: Any) -> None:
    _HOLD(self, [*row[:12], None, *row[13:]])


async def _waits_stay_open(*_: Any, **__: Any) -> None:
    return None


def _see_nothing(self: Any, by_key: Any) -> Generator[Any, Any, dict[str, Any]]:
    yield from ()
    return {}


# What is wrong -> how to make it so.
PLANTED: dict[str, Callable[[], Any]] = {
    "a write is not fenced by the epoch": lambda: patch.object(Batch, "_fenced", _fence_without_epoch),
    "a warm copy goes on whatever its epoch": lambda: patch.object(Residents, "_go_on", _warm_by_id_alone),
    "timers are in memory only": lambda: patch.object(Engine, "_refresh", _timers_in_memory_only),
    "a cursor is what memory says": lambda: patch.object(Batch, "_delivered_numbers", _no_cursor),
    "a cancel is not read under the lock": lambda: patch.object(Batch, "_hold", _cancel_is_not_read),
    "a withdrawn branch keeps its waits": lambda: patch.object(branches, "_withdraw_waits", _waits_stay_open),
    "a wait does not look for what is there": lambda: patch.object(Batch, "_numbered_events", _see_nothing),
    "a run that has work to do is suspended": lambda: patch.object(Engine, "_is_idle", lambda *_: True),
    "a step begins without a lease": lambda: patch.object(Orchestrator, "is_leased", property(lambda _: True)),
}


@contextmanager
def planted(what: str) -> Iterator[None]:
    """The engine with the bug ``what``."""
    with PLANTED[what]():
        yield


def find_planted(what: str, *, seeds: int, first: int = 1) -> int | None:
    """The first seed whose history shows the bug ``what``; ``None`` if none does."""
    with planted(what):
        for seed in range(first, first + seeds):
            try:
                if play_history(seed).faults:
                    return seed
            except Exception:  # noqa: BLE001 - a broken engine may break anything
                return seed
    return None
