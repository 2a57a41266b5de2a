"""A clock that stands still until it is turned."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

from toolkit.workflows import current_run

_FIRST_MOMENT = datetime(2026, 1, 1, 9, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
# A shorter pause only lets others go first (a row is locked, for instance); it passes by itself.
_SHORTEST_SECONDS = 0.01


class VirtualClock:
    """Time passes when a test turns it, and by a microsecond a look, so that no two things happen at one moment.

    Only what asks this clock is moved by it: the engine and the rooms do; ``asyncio.sleep`` and ``asyncio.timeout`` in
    the body of a step go by the machine's clock.
    """

    def __init__(self, start: datetime = _FIRST_MOMENT) -> None:
        """``start`` is an aware moment; the clock tells it, and all later ones, in UTC."""
        if start.tzinfo is None:
            raise ValueError(f"a clock starts at an aware moment, found {start!r}; give it a time zone")
        # Arithmetic in a time zone goes by the clock on the wall, which loses an hour when summer begins.
        self._start = self._now = start.astimezone(UTC)
        self._sleepers: list[tuple[datetime, int, bool, asyncio.Future[None]]] = []
        self._slept = 0

    def now(self) -> datetime:
        self._now += _TICK
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been turned this far."""
        if seconds <= _SHORTEST_SECONDS:
            await asyncio.sleep(max(seconds, 0.0))
            self.turn(max(seconds, 0.0))
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slept += 1
        sleeper = (self._now + timedelta(seconds=seconds), self._slept, current_run() is not None, future)
        heapq.heappush(self._sleepers, sleeper)
        await future

    def turn(self, by: timedelta | float) -> None:
        """Let time pass at once, as if the machine had been asleep; whoever slept for less wakes up, in order."""
        self.turn_to(self._now + (by if isinstance(by, timedelta) else timedelta(seconds=by)))

    def turn_to(self, moment: datetime) -> None:
        """Like :meth:`turn`, to an aware moment; one that has passed changes nothing."""
        self._now = max(self._now, moment).astimezone(UTC)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            *_, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    @property
    def next_step(self) -> datetime | None:
        """When the next piece of a run goes on that sleeps now: a step between two attempts, for instance."""
        return min(
            (moment for moment, _, is_run, future in self._sleepers if is_run and not future.done()), default=None
        )
