"""Writing random programs from a seed."""

from __future__ import annotations

from random import Random

from tests.simulation.programs import NEVER, Operation, Program

_PLAIN = ["work"] * 6 + ["hasty", "patient", "growing", "beat", "sleep", "sleep", "wait", "wait", "wait", "late"]
_PLAIN += ["message", "progress", "check", "poll", "pair", "deal", "deal"]
_NESTED = ["gather"] * 3 + ["twins"] * 3 + ["failing"] * 2 + ["race"] * 3 + ["limit", "limit", "each", "try", "fail"]
_NESTED += ["child", "child", "policy", "bound", "start", "linked", "linked", "await"]
_SECTIONS = ["shield", "shield", "saga", "saga", "saga"]
_IN_SESSIONS = ["book"] * 8 + ["ask"] * 4


class Author:
    """Writes programs; ``has_sessions`` says whether their steps may write to the database and ask people.

    ``has_deep_sections``: sections stand in branches as well, not in the workflow itself alone, and await children.
    """

    def __init__(self, random: Random, *, has_sessions: bool = False, has_deep_sections: bool = False) -> None:
        self._random = random
        self._has_sessions = has_sessions
        self._has_deep_sections = has_deep_sections
        self._made = 0

    def program(self, *, depth: int = 2, own_keys: bool = True, is_run: bool = True) -> Program:
        """A few operations. ``own_keys``: events may be sent to this very run. ``is_run``: it is a run's whole input."""
        random = self._random
        program = [
            self._operation(depth, own_keys=own_keys, is_run=is_run) for _ in range(random.choice((1, 1, 2, 2, 3)))
        ]
        if is_run and depth > 0 and random.random() < 0.12:
            program.append(["continue", self.program(depth=depth - 1, own_keys=own_keys)])
        elif is_run and random.random() < 0.05:
            program.append(["progress", random.randint(1, 100)])
        return program

    def _label(self) -> str:
        self._made += 1
        return f"{self._made}"

    def _operation(self, depth: int, *, own_keys: bool, is_run: bool = False) -> Operation:
        kinds = list(_PLAIN)
        if depth > 0:
            kinds += _NESTED
        if self._has_sessions:
            kinds += _IN_SESSIONS
        if is_run or self._has_deep_sections:
            kinds += _SECTIONS
        if self._has_deep_sections:
            kinds += _SECTIONS
        kind = self._random.choice(kinds)
        if kind in _NESTED:
            return self._nested(kind, depth - 1, own_keys=own_keys)
        if kind in _SECTIONS:
            return self._section(kind, own_keys=own_keys)
        return self._plain(kind, own_keys=own_keys)

    def _plain(self, kind: str, *, own_keys: bool) -> Operation:
        random, label = self._random, self._label()
        match kind:
            case "work":
                return ["work", label, random.choice((0.0, 0.0, 0.01, 0.1, 0.6, 2.0))]
            case "hasty" | "patient" | "growing":
                return [kind, label, random.choice((0, 1, 1, 2, 3))]
            case "beat":
                return ["beat", label, random.choice((0, 0, 1))]
            case "sleep":
                return ["sleep", random.choice((0, 0.1, 0.3, 1))]
            case "wait":
                return ["wait", self._random_key(own_keys), random.choice((-1, -1, 0, 0.05, 0.5))]
            case "late":
                return ["late", "late-a", random.choice(("run_start", "now")), random.choice((0.05, 0.5, 1))]
            case "message":
                return ["message", label]
            case "progress":
                return ["progress", random.randint(1, 100)]
            case "check":
                return ["check"]
            case "poll":
                return ["poll", label, random.randint(1, 3)]
            case "deal":
                return ["deal", label, random.choice((1, 2, 2, 3))]
            case "book":
                return ["book", label, random.randint(1, 2)]
            case "ask":
                return ["ask", label, random.choice((-1, -1, 0.05, 0.5))]
        # A pair: one branch waits for what the other says.
        key = f"pair-{label}"
        return ["gather", [[["wait", key, -1]], [["sleep", random.choice((0, 0.2))], ["emit", key]]]]

    def _nested(self, kind: str, depth: int, *, own_keys: bool) -> Operation:
        random = self._random
        match kind:
            case "gather" | "each":
                return [kind, self._branches(depth, own_keys=own_keys)]
            case "twins":  # several branches wait for one key; one of them may be late, and find that one came before
                return ["gather", [self._twin(key) for key in [self._random_key(own_keys)] * random.choice((2, 3))]]
            case "race":
                return ["race", self._label(), self._branches(depth, own_keys=own_keys)]
            case "failing":  # a branch fails while others are at work or wait; the same keys are awaited after
                branches = [self._part(depth, own_keys=own_keys), [["fail", self._label()]]]
                random.shuffle(branches)
                return ["try", [["gather", branches], self._operation(0, own_keys=own_keys)]]
            case "limit":
                program = self._part(depth, own_keys=own_keys)
                endless: Program = [["wait", NEVER, -1]] if random.random() < 0.4 else []
                return ["limit", random.choice((0.0, 0.1, 0.6)), program + endless]
            case "try":
                return ["try", self._part(depth, own_keys=own_keys)]
            case "fail":
                return ["try", [["fail", self._label()]]]
            case "child" | "start" | "await":
                return [kind, self.program(depth=depth, own_keys=False)]
            case "policy":
                return [
                    kind,
                    random.choice(("cancel", "request", "abandon")),
                    self.program(depth=depth, own_keys=False),
                ]
            case "linked":
                program = [*self.program(depth=depth, own_keys=False), ["sleep", random.choice((0, 0.5))]]
                return [kind, random.choice(("cancel", "request", "abandon")), _last(program)]
        program = self.program(depth=depth, own_keys=False)
        if random.random() < 0.5:
            program = [["wait", NEVER, -1]]
        return ["bound", random.choice((0.01, 0.3, 2.0)), program]

    def _section(self, kind: str, *, own_keys: bool) -> Operation:
        random = self._random
        if kind == "saga":
            inner: Program = [self._operation(0, own_keys=own_keys) for _ in range(random.randint(0, 2))]
            inner += self._awaited()
            saga = ["saga", self._label(), random.randint(1, 3), inner, random.random() < 0.3]
            return ["try", [saga]] if saga[-1] else saga
        pause: Program = [["sleep", random.choice((0.1, 0.5))]] if random.random() < 0.6 else []
        steps: Program = [["work", self._label(), random.choice((0.0, 0.05))] for _ in range(2)]
        return ["shield", [steps[0], *pause, *self._awaited(), steps[1]]]

    def _awaited(self) -> Program:
        """A child that a section awaits, by itself or beside a step."""
        kind = self._random.choice(("none", "child", "gather")) if self._has_deep_sections else "none"
        if kind == "none":
            return []
        pause = ["sleep", self._random.choice((0, 0.1, 0.5))]
        child: Operation = ["child", [pause, ["work", self._label(), 0.05]]]
        return [child] if kind == "child" else [["gather", [[child], [["work", self._label(), 0.0]]]]]

    def _random_key(self, own_keys: bool) -> str:
        return self._random.choice(("own-a", "own-b", "news-a", "news-b") if own_keys else ("news-a", "news-b"))

    def _twin(self, key: str) -> Program:
        before = self._plain(self._random.choice(("work", "work", "sleep", "check")), own_keys=False)
        return [before, ["wait", key, -1]]

    def _part(self, depth: int, *, own_keys: bool) -> Program:
        return self.program(depth=depth, own_keys=own_keys, is_run=False)

    def _branches(self, depth: int, *, own_keys: bool) -> list[Program]:
        return [self._part(depth, own_keys=own_keys) for _ in range(self._random.choice((2, 2, 3)))]


def _last(program: Program) -> Program:
    """The program with its continuation, if it has one, at its end."""
    return [o for o in program if o[0] != "continue"] + [o for o in program if o[0] == "continue"]
