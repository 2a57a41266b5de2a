"""Each workload: how it is measured on a backend, which figure is compared, and what it is to reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.engine.servers import Databases

_LONGEST_SECONDS = 900
Figures = dict[str, Any]


@dataclass
class Result:
    """The medians of some runs. ``ratio`` is how many times faster than the peer; ``targets`` says what was reached."""

    workload: str
    backend: str
    unit: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    targets: dict[str, bool] = field(default_factory=dict)
    details: Figures = field(default_factory=dict)


def call(module: str, *arguments: str) -> Figures:
    """The figures that a process of its own measures and prints as its last line."""
    command = [sys.executable, "-m", f"benchmarks.engine.{module}", *arguments]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_LONGEST_SECONDS, check=True)
    figures: Figures = json.loads(ran.stdout.splitlines()[-1])
    return figures


def medians(runs: list[Figures]) -> Figures:
    """The median of each figure."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def against_peer(
    databases: Databases, workload: str, *, repeats: int, figure: str, is_rate: bool
) -> tuple[Result, Figures, Figures]:
    """Ours and the peer in turn, so that both meet the same weather."""
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(call("ours", workload, databases.new()))
        theirs.append(call("peer", workload, databases.new()))
    us, them = medians(ours), medians(theirs)
    ratio = us[figure] / them[figure] if is_rate else them[figure] / us[figure]
    result = Result(workload, databases.backend, figure, us[figure], them[figure], ratio)
    result.details = {"ours": us, "peer": them}
    return result, us, them


def throughput(databases: Databases, repeats: int) -> Result:
    result, _, _ = against_peer(databases, "throughput", repeats=repeats, figure="steps_per_second", is_rate=True)
    wanted = 25 if databases.backend == "sqlite" else 20
    result.targets = {f"at least {wanted} times the peer": _at_least(result.ratio, wanted)}
    return result


def latency(databases: Databases, repeats: int) -> Result:
    result, us, _ = against_peer(databases, "latency", repeats=repeats, figure="p50_ms", is_rate=False)
    floor = medians([call("floors", databases.new()) for _ in range(repeats)])
    result.details |= {"floor": floor, "times_floor": us["p50_ms"] / floor["p50_ms"]}
    result.targets = {
        "5 times faster than the peer": _at_least(result.ratio, 5),
        "within 2.5 times the bare commits": us["p50_ms"] <= 2.5 * floor["p50_ms"],
    }
    return result


def wakeup(databases: Databases, repeats: int) -> Result:
    result, us, _ = against_peer(databases, "wakeup", repeats=repeats, figure="p50_ms", is_rate=False)
    if databases.backend == "sqlite":
        result.targets = {"3 ms or less": us["p50_ms"] <= 3}
    else:
        result.targets = {"3 times faster than the peer": _at_least(result.ratio, 3)}
    return result


def waiting(databases: Databases, repeats: int) -> Result:
    result, us, _ = against_peer(databases, "waiting", repeats=repeats, figure="completions_per_second", is_rate=True)
    result.targets = {"under 0.2 KiB a waiting run": us["bytes_per_run"] < 0.2 * 1024}
    if databases.backend == "sqlite":
        result.targets |= {
            "5,000 started a second": us["starts_per_second"] >= 5000,
            "3,000 completed a second": us["completions_per_second"] >= 3000,
        }
    return result


def long(databases: Databases, repeats: int) -> Result:
    return _steps(databases, "long", repeats=repeats, wanted=5)


def long_wait(databases: Databases, repeats: int) -> Result:
    return _steps(databases, "long_wait", repeats=repeats, wanted=8)


def _steps(databases: Databases, workload: str, *, repeats: int, wanted: float) -> Result:
    result, us, _ = against_peer(databases, workload, repeats=repeats, figure="ms_per_step", is_rate=False)
    result.targets = {
        f"{wanted:g} times faster than the peer": _at_least(result.ratio, wanted),
        "the last 100 steps at most 1.1 times the first": us["growth"] <= 1.1,
    }
    return result


def fanout(databases: Databases, repeats: int) -> Result:
    result, _, _ = against_peer(databases, "fanout", repeats=repeats, figure="children_per_second", is_rate=True)
    result.targets = {"20 times the peer": _at_least(result.ratio, 20)}
    return result


def claim(databases: Databases, repeats: int) -> Result:
    """Once: filling the table takes longer than all the rest, and each figure is the median of sixty claims."""
    found = call("claims", databases.new(), databases.new())
    result = Result("claim", databases.backend, "full_ms", found["full_ms"], details=found)
    result.targets = {
        "within 1.5 times the claim from an empty table": found["times_empty"] <= 1.5,
        "by an index": found["uses_index"],
    }
    return result


def workers(databases: Databases, repeats: int) -> Result:
    """Two processes beside one. On SQLite they take turns at one file; there it is shown, not asked for."""
    one, two = [], []
    for _ in range(repeats):
        one.append(call("workers", databases.new(), "1"))
        two.append(call("workers", databases.new(), "2"))
    of_one, of_two = medians(one), medians(two)
    scaling = of_two["steps_per_second"] / of_one["steps_per_second"]
    result = Result("workers", databases.backend, "steps_per_second", of_two["steps_per_second"])
    result.details = {"one": of_one, "two": of_two, "times_one": scaling, "cores": os.cpu_count()}
    if databases.backend == "postgresql":
        result.targets = {"1.6 times one worker": scaling >= 1.6}
    return result


def cold_start(databases: Databases, repeats: int) -> Result:
    imports = [_seconds_until_line("-c", "import toolkit; print()") for _ in range(repeats)]
    python = [_seconds_until_line("-c", "print()") for _ in range(repeats)]
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(_seconds_until_line("-m", "benchmarks.engine.cold", "ours", databases.new()))
        theirs.append(_seconds_until_line("-m", "benchmarks.engine.cold", "peer", databases.new()))
    us, them, importing = median(ours) * 1000, median(theirs) * 1000, median(imports) * 1000
    result = Result("cold_start", databases.backend, "ms", us, them, them / us)
    result.details = {"import_ms": importing, "python_ms": median(python) * 1000}
    result.targets = {"import in 150 ms": importing <= 150}
    if databases.backend == "sqlite":
        result.targets |= {"a first run in 400 ms": us <= 400}
    return result


def _seconds_until_line(*arguments: str) -> float:
    """How long a new Python process takes to print its first line."""
    began = perf_counter()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return perf_counter() - began


def _at_least(ratio: float | None, wanted: float) -> bool:
    return ratio is not None and ratio >= wanted


WORKLOADS: dict[str, Callable[[Databases, int], Result]] = {
    measure.__name__: measure
    for measure in (
        throughput,
        latency,
        wakeup,
        waiting,
        long,
        long_wait,
        fanout,
        claim,
        workers,
        cold_start,
    )
}
