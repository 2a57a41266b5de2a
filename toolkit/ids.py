"""Ids: UUID version 7 as text, so that sorting by id is sorting by time.

Source: RFC 9562, section 5.7; the twelve bits after the version hold the fraction of the millisecond
(section 6.2, method 3), which keeps ids of one process in order below a millisecond too.
"""

from __future__ import annotations

import os
import random
import secrets
import struct
from collections.abc import Callable
from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POOL: list[int] = []
os.register_at_fork(after_in_child=_POOL.clear)  # else parent and child would draw the same


class PooledRandom(random.SystemRandom):
    """The machine's randomness, fetched for 512 draws at once: asking for it takes longer than making an id of it."""

    def getrandbits(self, k: int, /) -> int:
        if not 0 < k <= 64:
            return super().getrandbits(k)
        while True:
            try:
                return _POOL.pop() >> (64 - k)  # one step for all threads: no two draw the same
            except IndexError:
                _POOL.extend(struct.unpack("512Q", os.urandom(4096)))


def uuid7(now: datetime, random_bits: int) -> str:
    """The id for ``now`` with ``random_bits`` (62 of them are used), as 36 characters."""
    since = now - _EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    milliseconds, rest = divmod(microseconds, 1000)
    fraction = rest * 4096 // 1000
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random_bits & (1 << 62) - 1
    text = f"{value:032x}"  # as str(UUID(int=value)), in a third of the time
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_id() -> str:
    """A fresh id from the machine's clock and randomness; the engine makes its own from what it was handed."""
    return uuid7(datetime.now(UTC), secrets.randbits(62))


def id_source(now: Callable[[], datetime], random_bits: Callable[[int], int]) -> Callable[[], str]:
    """A maker of ids that reads time and randomness only through what it is given."""
    return lambda: uuid7(now(), random_bits(62))
