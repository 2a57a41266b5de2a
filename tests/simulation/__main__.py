"""``python -m tests.simulation --seeds 2000 [--from 1]`` looks for a seed that breaks a promise; ``--seed N`` shows one.

``--planted`` breaks one guard of the engine after the other and looks for the seed that notices.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.histories import play_history
from tests.simulation.planted import PLANTED, find_planted


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many histories to play")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="play one history and print what happened in it")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failing seed")
    parser.add_argument("--planted", action="store_true", help="plant each known bug and see that it is found")
    options = parser.parse_args()
    if options.planted:
        found = {what: find_planted(what, seeds=options.seeds, first=options.first) for what in PLANTED}
        print(*(f"{seed or 'NOT FOUND':>10}  {what}" for what, seed in found.items()), sep="\n")
        return 0 if all(found.values()) else 1
    if options.seed is not None:
        report = play_history(options.seed)
        print(*report.trace, sep="\n")
        print(f"digest {report.digest}, {report.seconds:.0f} virtual seconds")
        print(*(f"FAULT {fault}" for fault in report.faults), sep="\n")
        return 1 if report.faults else 0
    began, kinds = time.perf_counter(), Counter[str]()
    failing: list[int] = []
    for seed in range(options.first, options.first + options.seeds):
        report = play_history(seed)
        if seed % 100 == 0:
            print(f"… {seed} after {time.perf_counter() - began:.0f} s, failing: {failing or 'none'}", flush=True)
        if report.faults:
            failing.append(seed)
            kinds.update({fault.split(":")[0][:60] for fault in report.faults})
            print(f"seed {seed} fails:", *report.faults[:4], sep="\n  ", flush=True)
            if not options.keep_going:
                break
    seconds = time.perf_counter() - began
    played = seed - options.first + 1
    print(
        f"{played} histories in {seconds:.0f} s ({played / seconds:.0f} a second); failing seeds: {failing or 'none'}"
    )
    for kind, count in kinds.most_common():
        print(f"  {count:5} {kind}")
    return 1 if failing else 0


sys.exit(main())
