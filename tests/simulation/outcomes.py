"""What must come of a program, whatever happens around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.simulation.programs import Operation, Program

_NO, _YES, _EITHER = frozenset({False}), frozenset({True}), frozenset({False, True})
_BRANCHED = frozenset({"gather", "each", "race", "limit", "try"})


def raises(program: Program) -> frozenset[bool]:
    """Whether the program ends with an error: what is possible."""
    found = [_operation_raises(operation) for operation in program]
    if any(one == _YES for one in found):
        return _YES
    return _EITHER if any(True in one for one in found) else _NO


def _operation_raises(operation: Operation) -> frozenset[bool]:
    match operation:
        case ["fail", _]:
            return _YES
        case ["gather", branches]:
            return raises([["child", branch] for branch in branches])
        case ["race", _, branches]:
            return frozenset().union(*(raises(branch) for branch in branches))
        case ["limit", _, program]:
            return raises(program) | _NO
        case ["child", program] | ["policy", _, program] | ["continue", program]:
            return raises(program)
        case ["saga", _, _, program, fails]:
            return _YES if fails else raises(program)
    return _NO


def last_of(program: Program) -> Program:
    """The program of the run that goes on in place of this one, and so on, to the last."""
    while program and program[-1][0] == "continue":
        program = program[-1][1]
    return program


def keys_awaited(program: Program) -> Counter[str]:
    """How often each key is awaited, at most, by the run of ``program`` itself and those that go on in its place."""
    return Counter(operation[1] for operation in own(program) if operation[0] in {"wait", "late"})


def runs_below(program: Program) -> Iterator[Program]:
    """The programs of the runs that ``program`` brings about, at any depth."""
    for operation in own(program):
        if operation[0] in {"child", "start", "await", "policy", "bound", "linked"}:
            yield operation[-1]
            yield from runs_below(operation[-1])


def own(program: Program) -> Iterator[Operation]:
    """Every operation of the run itself, in its branches and in its continuations as well."""
    for operation in program:
        yield operation
        match operation:
            case ["gather", branches] | ["each", branches] | ["race", _, branches]:
                for branch in branches:
                    yield from own(branch)
            case ["try", inner] | ["shield", inner] | ["limit", _, inner] | ["saga", _, _, inner, _]:
                yield from own(inner)
            case ["continue", inner]:
                yield from own(inner)


def sections(program: Program) -> Iterator[tuple[Operation, bool]]:
    """The shields and sagas of the run itself, not of its continuation; and whether each stands in a branch."""
    outer = [operation for operation in program if operation[0] != "continue"]
    in_sequence = {id(operation) for operation in _in_sequence(outer)}
    for operation in own(outer):
        if operation[0] in {"shield", "saga"}:
            yield operation, id(operation) not in in_sequence


def _in_sequence(program: Program) -> Iterator[Operation]:
    for operation in program:
        yield operation
        match operation:
            case ["try", inner] | ["shield", inner] | ["saga", _, _, inner, _]:
                yield from _in_sequence(inner)


def is_straight(program: Program) -> bool:
    """Whether nothing in the program, and in what goes on in its place, can be given up."""
    return not any(operation[0] in _BRANCHED for operation in own(program))


def paths_before(program: Program, path: str) -> list[str]:
    """The places of what the run itself has done before it comes to ``path``, as far as that can be told."""
    counts: Counter[str] = Counter()
    before: list[str] = []
    for operation in program:
        match operation:
            case [("work" | "hasty" | "patient" | "growing" | "beat" | "book" | "deal" | "message") as name, *_]:
                pass
            case ["sleep", _]:
                name = "suspend"
            case [("wait" | "late"), name, *_]:
                pass
            case _:
                return []
        before.append(f"{name}/{counts[name]}")
        counts[name] += 1
        if before[-1] == path:
            return before[:-1]
    return []


# Results -----------------------------------------------------------------------------------------------------------


def find_fault(program: Program, result: Any) -> str | None:
    """What is wrong with the result of a run that succeeded, or ``None``."""
    heard: dict[str, list[int]] = {}
    fault = _compare(last_of(program), result, heard)
    if fault is not None:
        return fault
    for key, numbers in heard.items():
        if len(set(numbers)) < len(numbers):
            return f"event {key!r} was delivered twice: {numbers}"
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
        case [("work" | "hasty" | "patient" | "growing" | "beat" | "book" | "deal"), label, _]:
            return None if value == f"did {label}" else f"step {label} gave {value!r}"
        case [("sleep" | "emit" | "message" | "progress" | "check"), *_]:
            return None if value is None else f"{operation} gave {value!r}"
        case ["poll", _, wanted]:
            return None if value == wanted else f"polling for {wanted} gave {value!r}"
        case ["ask", label, limit]:
            is_right = value == f"answer to {label}" or (limit >= 0 and value == "timeout")
            return None if is_right else f"question {label} gave {value!r}"
        case [("wait" | "late"), *_]:
            return _compare_wait(operation, value, heard)
        case [("start" | "linked"), *_]:
            return None if isinstance(value, str) else f"a start gave {value!r}"
    return _compare_nested(operation, value, heard)


def _compare_wait(operation: Operation, value: Any, heard: dict[str, list[int]]) -> str | None:
    key, limit = operation[1], operation[-1]
    if value == "timeout":
        return None if limit >= 0 else f"a wait for {key!r} without a limit timed out"
    if key.startswith("pair-"):
        return None if value == f"from {key}" else f"a wait for {key!r} gave {value!r}"
    if not isinstance(value, int):
        return f"a wait for {key!r} gave {value!r}"
    heard.setdefault(key, []).append(value)
    return None


def _compare_nested(operation: Operation, value: Any, heard: dict[str, list[int]]) -> str | None:
    match operation:
        case ["child", program] | ["policy", _, program]:
            return find_fault(program, value)
        case ["bound", _, program]:
            was_cut = isinstance(value, str) and value.startswith("cut short")
            return None if was_cut else find_fault(program, value)
        case ["await", program]:
            return _compare_either(program, value, error="it failed", heard={}, is_run=True)
        case ["try", program]:
            return _compare_either(program, value, error="caught", heard=heard)
        case ["limit", _, program]:
            return None if value == "out of time" else _compare(program, value, heard)
        case ["shield", program] | ["saga", _, _, program, _]:
            return _compare(program, value, heard)
        case ["race", _, branches]:
            if not isinstance(value, list) or len(value) != 2 or not 0 <= value[0] < len(branches):
                return f"a race of {len(branches)} gave {value!r}"
            return _compare(branches[value[0]], value[1], heard)
        case ["gather", branches] | ["each", branches]:
            if not isinstance(value, list) or len(value) != len(branches):
                return f"a gather of {len(branches)} gave {value!r}"
            for branch, found in zip(branches, value, strict=True):
                is_each = operation[0] == "each"
                compare = _compare_either(branch, found, error="caught", heard=heard) if is_each else None
                fault = compare if is_each else _compare(branch, found, heard)
                if fault is not None:
                    return fault
            return None
    return f"unknown operation {operation!r}"


def _compare_either(
    program: Program, value: Any, *, error: str, heard: dict[str, list[int]], is_run: bool = False
) -> str | None:
    """``value`` is the program's result, or says that it ended with an error, whichever is possible."""
    possible = raises(program)
    if isinstance(value, str):
        return None if True in possible and value.startswith(error) else f"expected no error, found {value!r}"
    if False not in possible:
        return f"expected {error!r}, found {value!r}"
    return find_fault(program, value) if is_run else _compare(program, value, heard)
