"""``python -m tests.simulation --seeds 20000 [--from 1]`` looks for a seed that breaks a promise; ``--seed N`` shows one.

``--planted`` breaks one guard of the engine after the other and looks for the seed that notices.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.simulation.histories import play_history
from tests.simulation.planted import PLANTED, find_planted

Job = TypeVar("Job")
Result = TypeVar("Result")

_AT_ONCE = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many histories to play")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="play one history and print what happened in it")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failing seeds")
    parser.add_argument("--planted", action="store_true", help="plant each known bug and see that it is found")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many play at once")
    options = parser.parse_args()
    if options.seed is not None:
        return _show(options.seed)
    if options.planted:
        return _plant(first=options.first, seeds=options.seeds, processes=options.processes)
    return _search(first=options.first, seeds=options.seeds, processes=options.processes, is_greedy=options.keep_going)


def _show(seed: int) -> int:
    report = play_history(seed)
    print(*report.trace, sep="\n")
    print(f"digest {report.digest}, {report.seconds:.0f} virtual seconds")
    print(*(f"FAULT {fault}" for fault in report.faults), sep="\n")
    return 1 if report.faults else 0


def _plant(*, first: int, seeds: int, processes: int) -> int:
    found: dict[str, int | None] = {}
    jobs = [(what, first, seeds) for what in PLANTED]
    for what, seed in _in_processes(_find, jobs, processes=processes):
        found[what] = seed
        print(f"{seed or 'NOT FOUND':>10}  {what}", flush=True)
    print(f"{sum(seed is not None for seed in found.values())} of {len(PLANTED)} planted bugs found")
    return 0 if all(found.values()) else 1


def _find(job: tuple[str, int, int]) -> tuple[str, int | None]:
    what, first, seeds = job
    return what, find_planted(what, seeds=seeds, first=first)


def _search(*, first: int, seeds: int, processes: int, is_greedy: bool) -> int:
    began, played, virtual = time.perf_counter(), 0, 0.0
    failing: list[int] = []
    kinds: Counter[str] = Counter()
    end = first + seeds
    chunks = [range(at, min(at + _AT_ONCE, end)) for at in range(first, end, _AT_ONCE)]
    for count, seconds, broken in _in_processes(_play, chunks, processes=processes):
        before, played, virtual = played, played + count, virtual + seconds
        for seed, faults in broken:
            failing.append(seed)
            kinds.update({_kind_of(fault) for fault in faults})
            print(f"seed {seed} fails:", *faults[:4], sep="\n  ", flush=True)
        if before // 1000 < played // 1000:
            print(f"… {played} after {time.perf_counter() - began:.0f} s, failing: {failing or 'none'}", flush=True)
        if failing and not is_greedy:
            break
    took = time.perf_counter() - began
    print(
        f"{played} histories ({virtual / 3600:.1f} virtual hours) in {took:.0f} s ({played / took:.0f} a second); "
        f"failing seeds: {sorted(failing) or 'none'}"
    )
    for kind, count in kinds.most_common():
        print(f"  {count:5} {kind}")
    return 1 if failing else 0


def _play(seeds: range) -> tuple[int, float, list[tuple[int, list[str]]]]:
    """How many histories, how long they were, and those that broke a promise."""
    gc.disable()  # a history makes little garbage in cycles; once for all of them is enough
    virtual, broken = 0.0, []
    for seed in seeds:
        report = play_history(seed)
        virtual += report.seconds
        if report.faults:
            broken.append((seed, report.faults))
    gc.collect()
    return len(seeds), virtual, broken


def _kind_of(fault: str) -> str:
    return re.sub(r"[0-9a-f-]{20,}|\d+", "…", fault.split("\n", maxsplit=1)[0])[:90]


def _in_processes(function: Callable[[Job], Result], jobs: list[Job], *, processes: int) -> Iterator[Result]:
    if processes == 1:
        yield from map(function, jobs)
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap_unordered(function, jobs)


if __name__ == "__main__":
    sys.exit(main())
