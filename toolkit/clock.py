"""Time, as something handed in: the engine and its tests read no other clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine knows of time. A test turns its own; a simulation owns all three."""

    def now(self) -> datetime:
        """The moment, as an aware UTC datetime. May jump: never measure with it."""

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back; for measuring."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
