"""A short form of the simulation; `python -m tests.simulation --seeds 20000` is the longer one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.histories import play_history
from tests.simulation.planted import PLANTED, find_planted

_SEEDS, _AT_ONCE = 1000, 50

# A process that dies leaves coroutines that it never began.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("first", range(1, _SEEDS, _AT_ONCE))
def test_every_promise_holds_in_every_history(first: int) -> None:
    for seed in range(first, first + _AT_ONCE):
        faults = play_history(seed).faults
        assert not faults, f"replay with `python -m tests.simulation --seed {seed}`: {faults[:5]}"


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_bug_is_found(what: str) -> None:
    assert find_planted(what, seeds=1000) is not None


def test_a_seed_plays_the_same_history_every_time() -> None:
    assert [play_history(seed).digest for seed in (3, 4, 5)] == [play_history(seed).digest for seed in (3, 4, 5)]


def test_the_order_of_hashes_decides_nothing() -> None:
    code = "from tests.simulation.histories import play_history as p; print(*(p(s).digest for s in (6, 7, 8)))"
    digests = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert digests[0] == digests[1]
