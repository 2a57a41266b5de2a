"""How the engine of one process works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How one process works; the defaults suit most.

    ``concurrency`` limits the runs that are active at once, ``warm_bytes`` the estimated memory of those that wait.
    ``poll_seconds`` is how often a worker looks without being told. ``max_losses`` counts losses in a row without a
    new checkpoint, ``max_total_losses`` all of a run. ``replays_finished`` replays each run that ends here at once and
    logs an error if it would go another way: for development.
    """

    lease_seconds: float = 30.0
    poll_seconds: float = 1.0
    concurrency: int = 1000
    warm_bytes: int = 24_000_000
    max_losses: int = 5
    max_total_losses: int = 50
    unknown_grace_seconds: float = 600.0
    drain_seconds: float = 2.0
    is_worker: bool = True
    replays_finished: bool = False
