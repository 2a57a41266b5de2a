"""Ids are in the order of time, and no two are alike, in whatever thread or process they are made."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

from toolkit.ids import PooledRandom, id_source, uuid7

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_an_id_is_a_uuid_of_version_7_and_says_when_it_was_made() -> None:
    made = UUID(uuid7(_NOW, (1 << 64) - 1))

    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == int(_NOW.timestamp() * 1000)


def test_no_two_threads_draw_the_same_randomness() -> None:
    draw = PooledRandom().getrandbits

    with ThreadPoolExecutor(4) as threads:
        drawn = [bits for part in threads.map(lambda _: [draw(62) for _ in range(5000)], range(4)) for bits in part]

    assert len(set(drawn)) == len(drawn)
    assert all(bits < 1 << 62 for bits in drawn)


def test_a_forked_process_draws_randomness_of_its_own() -> None:
    draw = PooledRandom().getrandbits
    draw(62)  # there is a pool now
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, draw(62).to_bytes(8, "big"))
        os._exit(0)
    os.waitpid(child, 0)

    assert int.from_bytes(os.read(reading, 8), "big") != draw(62)


def test_ids_of_one_moment_differ() -> None:
    make = id_source(lambda: _NOW, PooledRandom().getrandbits)

    assert len({make() for _ in range(2000)}) == 2000
