"""Random programs, the one workflow that plays them, and what must come out.

A program is a list of operations, plain JSON, and is the input of its run; so the code that replays is always the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random
from typing import Any

from toolkit.errors import WaitTimeout
from toolkit.workflows import (
    RetryPolicy,
    current_engine,
    emit_event,
    gather,
    step,
    step_context,
    suspend,
    wait_for_event,
    workflow,
)

Operation = list[Any]
Program = list[Operation]

# Set by the history that is played: told when the body of a step begins and ends.
Observer = Callable[[str, str, str, int], None]
observers: list[Observer] = []


@step()
async def work(label: str, seconds: float) -> str:
    _observe("begin")
    try:
        await asyncio.sleep(seconds)
    finally:
        _observe("end")
    return f"did {label}"


async def _struggle(label: str, failures: int) -> str:
    context = step_context()
    assert context is not None
    _observe("begin")
    try:
        await asyncio.sleep(0.01)
        if context.attempt <= failures:
            raise ConnectionError(f"{label}, attempt {context.attempt}")
    finally:
        _observe("end")
    return f"did {label}"


# Its pauses are short: they pass in memory.
hasty = step(name="hasty", retry=RetryPolicy(max_retries=3, first_delay=0.5, jitter=0.0))(_struggle)
# Its pauses are timers on record.
patient = step(name="patient", retry=RetryPolicy(max_retries=3, first_delay=8.0, jitter=0.1))(_struggle)
# Short ones first, then one on record.
growing = step(name="growing", retry=RetryPolicy(max_retries=3, first_delay=3.0, jitter=0.0))(_struggle)
_STRUGGLING = {"hasty": hasty, "patient": patient, "growing": growing}


@step()
async def fail(label: str) -> None:
    _observe("begin")
    try:
        await asyncio.sleep(0.005)
    finally:
        _observe("end")
    raise ValueError(label)


def _observe(moment: str) -> None:
    context, engine = step_context(), current_engine()
    assert context is not None
    assert engine is not None
    for observer in observers:
        observer(moment, engine.worker_id, f"{context.run_id}:{context.path}", context.attempt)


@workflow()
async def play(program: Program) -> list[Any]:
    return [await _perform(operation) for operation in program]


async def _perform(operation: Operation) -> Any:
    match operation:
        case ["work", label, seconds]:
            return await work(label, seconds)
        case [("hasty" | "patient" | "growing") as kind, label, failures]:
            return await _STRUGGLING[kind](label, failures)
        case ["fail", label]:
            return await fail(label)
        case ["sleep", seconds]:
            return await suspend(interval=timedelta(seconds=seconds))
        case ["wait", key, limit]:
            try:
                return await wait_for_event(key, max_wait_time=limit)
            except WaitTimeout:
                return "timeout"
        case ["emit", key]:
            return await emit_event(key, f"from {key}")
        case ["child", program]:
            return await play(program)
        case ["start", program]:
            return (await play.start(program)).id
        case ["try", program]:
            try:
                return [await _perform(inner) for inner in program]
            except Exception as error:  # noqa: BLE001 - whatever the program raises, and nothing of the engine's
                return f"caught {type(error).__name__}"
        case ["gather", branches]:
            return list(await gather(*(_branch(branch) for branch in branches)))
    raise AssertionError(f"unknown operation {operation!r}")


async def _branch(program: Program) -> list[Any]:
    return [await _perform(operation) for operation in program]


# Making programs ---------------------------------------------------------------------------------------------------


class Author:
    """Writes random programs from a seed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._made = 0

    def program(self, *, depth: int = 3, own_keys: bool = True) -> Program:
        """A few operations; ``own_keys`` says that events may be sent to this very run."""
        return [self._operation(depth, own_keys=own_keys) for _ in range(self._random.randint(1, 4))]

    def _label(self) -> str:
        self._made += 1
        return f"{self._made}"

    def _operation(self, depth: int, *, own_keys: bool) -> Operation:
        random = self._random
        kinds = ["work"] * 4 + ["hasty", "patient", "growing", "sleep", "sleep", "wait", "wait", "wait", "pair"]
        if depth > 0:
            kinds += ["gather"] * 3 + ["race"] * 2 + ["child", "child", "start", "try", "fail"]
        match random.choice(kinds):
            case "work":
                return ["work", self._label(), random.choice((0.0, 0.01, 0.2, 1.5, 8.0))]
            case ("hasty" | "patient" | "growing") as kind:
                return [kind, self._label(), random.randint(0, 3)]
            case "sleep":
                return ["sleep", random.choice((0, 0.5, 3, 12))]
            case "wait":
                keys = ["own-a", "own-b", "news-a", "news-b"] if own_keys else ["news-a", "news-b"]
                return ["wait", random.choice(keys), random.choice((-1, -1, 0, 0.2, 4))]
            case "pair":  # one branch waits for what the other says
                key = f"pair-{self._label()}"
                return ["gather", [[["wait", key, -1]], [["sleep", random.choice((0, 0.3))], ["emit", key]]]]
            case "gather":
                branches = [self.program(depth=depth - 1, own_keys=own_keys) for _ in range(random.randint(2, 3))]
                return ["gather", branches]
            case "race":  # a branch fails while others are at work or wait; the same keys are awaited after
                branches = [self.program(depth=depth - 1, own_keys=own_keys), [["fail", self._label()]]]
                random.shuffle(branches)
                return ["try", [["gather", branches], self._operation(0, own_keys=own_keys)]]
            case ("child" | "start") as kind:
                return [kind, self.program(depth=depth - 1, own_keys=False)]
            case "try":
                return ["try", self.program(depth=depth - 1, own_keys=own_keys)]
            case _:
                return ["try", [["fail", self._label()]]]


# What must come out ------------------------------------------------------------------------------------------------


def raises(program: Program) -> bool:
    """Whether the program ends with an error, whatever happens around it."""
    return any(_operation_raises(operation) for operation in program)


def _operation_raises(operation: Operation) -> bool:
    match operation:
        case ["fail", _]:
            return True
        case ["gather", branches]:
            return any(raises(branch) for branch in branches)
        case ["child", program]:
            return raises(program)
    return False


def keys_awaited(program: Program) -> Counter[str]:
    """How often each key is awaited, at most, by the run of ``program`` itself."""
    return Counter(operation[1] for operation in _own(program) if operation[0] == "wait")


def runs_below(program: Program) -> Iterator[Program]:
    """The programs of the runs that ``program`` brings about, at any depth."""
    for operation in _own(program):
        if operation[0] in {"child", "start"}:
            yield operation[1]
            yield from runs_below(operation[1])


def _own(program: Program) -> Iterator[Operation]:
    for operation in program:
        yield operation
        if operation[0] == "try":
            yield from _own(operation[1])
        elif operation[0] == "gather":
            for branch in operation[1]:
                yield from _own(branch)


def find_fault(program: Program, result: list[Any]) -> str | None:
    """What is wrong with the result of a run that succeeded, or ``None``."""
    heard: dict[str, list[int]] = {}
    fault = _compare(program, result, heard)
    if fault is not None:
        return fault
    for key, numbers in heard.items():
        if len(set(numbers)) < len(numbers):
            return f"event {key!r} was delivered twice: {numbers}"
    if not any(operation[0] in {"gather", "try"} for operation in program):
        for key, numbers in heard.items():
            if numbers != list(range(1, len(numbers) + 1)):
                return f"events of {key!r} came out of order or were lost: {numbers}"
    return None


def _compare(program: Program, result: Any, heard: dict[str, list[int]]) -> str | None:
    if not isinstance(result, list) or len(result) != len(program):
        return f"expected {len(program)} results, found {result!r}"
    for operation, value in zip(program, result, strict=True):
        fault = _compare_one(operation, value, heard)
        if fault is not None:
            return fault
    return None


def _compare_one(operation: Operation, value: Any, heard: dict[str, list[int]]) -> str | None:
    match operation:
        case [("work" | "hasty" | "patient" | "growing"), label, _]:
            return None if value == f"did {label}" else f"step {label} gave {value!r}"
        case ["sleep", _] | ["emit", _]:
            return None if value is None else f"{operation} gave {value!r}"
        case ["wait", key, limit]:
            if value == "timeout":
                return None if limit >= 0 else f"a wait for {key!r} without a limit timed out"
            if key.startswith("pair-"):
                return None if value == f"from {key}" else f"a wait for {key!r} gave {value!r}"
            if not isinstance(value, int):
                return f"a wait for {key!r} gave {value!r}"
            heard.setdefault(key, []).append(value)
            return None
        case ["child", program]:
            return find_fault(program, value)
        case ["start", _]:
            return None if isinstance(value, str) else f"a start gave {value!r}"
        case ["try", program]:
            if raises(program):
                return None if isinstance(value, str) and value.startswith("caught") else f"nothing caught: {value!r}"
            return _compare(program, value, heard)
        case ["gather", branches]:
            if not isinstance(value, list) or len(value) != len(branches):
                return f"a gather of {len(branches)} gave {value!r}"
            for branch, found in zip(branches, value, strict=True):
                fault = _compare(branch, found, heard)
                if fault is not None:
                    return fault
            return None
    return f"unknown operation {operation!r}"
