"""``python -m benchmarks.engine [--json] [--workload NAME ...] [--backend sqlite|postgresql] [--repeats 3]``.

Needs the ``bench`` extra. With ``--json`` each workload is one line as soon as it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.engine.servers import databases
from benchmarks.engine.workloads import WORKLOADS, Result

REPEATS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="measure only this one; may be repeated")
    parser.add_argument("--backend", choices=("sqlite", "postgresql"), help="measure only on this one")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="how many runs the medians are of")
    options = parser.parse_args()
    is_met = True
    if not options.json:
        print(f"{'workload':<11} {'on':<11} {'ours':>10} {'peer':>10} {'ratio':>7}  unit, and what was to be reached")
    for backend in [options.backend] if options.backend else ["sqlite", "postgresql"]:
        with databases(backend) as made:
            for name in options.workload or WORKLOADS:
                load = os.getloadavg()[0]
                result = WORKLOADS[name](made, options.repeats)
                is_met = is_met and all(result.targets.values())
                print(as_json(result, load=load) if options.json else as_text(result), flush=True)
    return 0 if is_met else 1


def as_json(result: Result, *, load: float) -> str:
    return json.dumps(_rounded({**asdict(result), "load_before": load}))


def as_text(result: Result) -> str:
    met = "; ".join(f"{'✓' if reached else '✗'} {target}" for target, reached in result.targets.items())
    peer = "" if result.peer is None else f"{result.peer:,.2f}"
    ratio = "" if result.ratio is None else f"{result.ratio:,.1f}"
    head = f"{result.workload:<11} {result.backend:<11} {result.ours:>10,.2f} {peer:>10} {ratio:>7}"
    return f"{head}  {result.unit}  {met}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
