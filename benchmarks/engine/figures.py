"""What both sides measure alike."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import time
from pathlib import Path
from statistics import median

Figures = dict[str, float]


def spread(took: list[float]) -> Figures:
    """The middle and the slow end of some times in seconds, in milliseconds."""
    ordered = sorted(took)
    return {"p50_ms": median(ordered) * 1000, "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000}


def per_step(took: list[float], total: float) -> Figures:
    """``growth`` compares the time of the last 100 steps with that of the first 100."""
    return {"ms_per_step": total * 1000 / len(took), "growth": sum(took[-100:]) / sum(took[:100])}


async def a_millisecond() -> None:
    """Let one pass; an event loop rounds its own timers up, so that ``asyncio.sleep`` may take two."""
    await asyncio.to_thread(time.sleep, 0.001)


def resident_bytes() -> int:
    """The memory in use, without what the allocator keeps for later."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
