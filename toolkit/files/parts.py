"""A part: an object while it is being written. It becomes the object at its end, or nothing."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from typing import Protocol

from toolkit.files.threads import Lane, in_thread

logger = logging.getLogger(__name__)


class Part(Protocol):
    """One write under way, in calls that block. Each raises ``StorageError``."""

    def begin(self) -> None:
        """Make the place that blocks go to."""

    def append(self, block: bytes) -> None:
        """Add ``block`` to the end."""

    def finish(self) -> None:
        """Make it the object, durably."""

    def abandon(self) -> None:
        """Take back what the others did, however far they came. Raises nothing: the first error is the one to hear."""


async def write_part(part: Part, blocks: AsyncIterable[bytes]) -> None:
    """Write all blocks, or leave nothing behind: not if the iteration fails, nor on cancellation."""
    appending = Lane(part.append)  # the next block comes in while one is being written
    try:
        await in_thread(part.begin)
        async for block in blocks:
            await appending.put(block)
        await appending.drain()
        await in_thread(part.finish)
    except BaseException:
        await appending.settle()
        await in_thread(part.abandon)
        raise


def report_leftover(error: BaseException, *, storage: str, key: str) -> None:
    """Say that bytes were left behind, and why; the sweep will find them."""
    logger.warning(
        "What is left of a failed upload could not be deleted; a sweep will try again",
        extra={"event": "file.leftover", "storage": storage, "key": key},
        exc_info=error,
    )
