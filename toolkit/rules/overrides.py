"""Overrides at work: a compiled version of a graph, deciding one input or many."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeAlias

from toolkit.errors import InvalidInput, RuleEvaluationError, RuleNoMatch, RuleOutputInvalid, ToolkitError
from toolkit.rules.compilation import WRAPPED, Compiled
from toolkit.rules.contract import Contract, In, Out
from toolkit.rules.engine import DecisionEngine, Evaluation, Failure, engine_version, matched_rows
from toolkit.rules.isolation import IsolatedEngine

CHUNK = 1_000
"""Inputs in one call of a loop: beyond this, a call only holds the interpreter longer."""


_Decided: TypeAlias = tuple[Out, list[str]] | ToolkitError
"""What came of one input: the output and the rows that matched, or the error."""


class Override(Generic[In, Out]):
    """One version, ready to decide. Raises what the single calls raise; a batch returns the errors in their places."""

    def __init__(
        self,
        contract: Contract[In, Out],
        compiled: Compiled,
        engine: DecisionEngine | IsolatedEngine,
        *,
        number: int,
        sha256: str,
    ) -> None:
        self.contract, self.compiled, self.engine = contract, compiled, engine
        self.number, self.sha256 = number, sha256
        self.key = f"{contract.rule}@{compiled.sha256}"
        self.loop_key = f"{self.key}#loop"

    @property
    def isolated(self) -> IsolatedEngine | None:
        """Where it is evaluated, if that is outside of this process: deciding blocks then."""
        return self.engine if isinstance(self.engine, IsolatedEngine) else None

    @property
    def keys(self) -> tuple[str, ...]:
        """Everything that it has the engine keep."""
        return (self.key, self.loop_key, *self.compiled.parts)

    def load(self) -> None:
        """Have the engine compile the graph.

        Raises:
            ConfigurationError: zen-engine is not installed.
            RuleEvaluationError: the engine does not take the graph.
        """
        self.engine.add(self.key, self.compiled.graph, self.compiled.texts)
        if self.compiled.loop is not None:
            self.engine.add(self.loop_key, self.compiled.loop, {})

    @property
    def record(self) -> dict[str, Any]:
        """What a step keeps about the version that decided."""
        return {"source": "override", "version": self.number, "sha256": self.sha256, "engine": engine_version()} | (
            {"isolated": True} if self.isolated else {}
        )

    def decide(self, input: In) -> tuple[Out, list[str]]:
        """The output for ``input``, and the rows that matched.

        Raises:
            RuleNoMatch: a first-hit table on the way has no row for the input.
            RuleOutputInvalid: what came out does not fit the output model.
            RuleEvaluationError: the engine failed.
        """
        found = self.engine.evaluate(self.key, self.contract.encode(input), with_trace=self.compiled.is_traced)
        return read_evaluation(self.contract, self.compiled, found)

    def decide_many(self, inputs: Sequence[In]) -> list[_Decided[Out]]:
        """For each input, in order, what :meth:`decide` gives or raises."""
        decided: list[_Decided[Out]] = []
        with _collection_paused() if self.isolated is None else nullcontext():
            for start in range(0, len(inputs), CHUNK):
                decided += self._decide_chunk(inputs[start : start + CHUNK])
        return decided

    def _decide_chunk(self, inputs: Sequence[In]) -> list[_Decided[Out]]:
        if self.compiled.loop is not None and len(inputs) > 1 and (decided := self._decide_in_loop(inputs)) is not None:
            return decided
        return self._decide_alone([self._encode(one) for one in inputs])

    def _decide_in_loop(self, inputs: Sequence[In]) -> list[_Decided[Out]] | None:
        """All of them in one call; nothing where one of them has failed the whole call."""
        wrong: dict[int, ToolkitError] = {}
        try:
            text = self.contract.encode_all(inputs)
        except InvalidInput:  # of one input: find out of which
            encoded = [self._encode(one) for one in inputs]
            wrong = {at: one for at, one in enumerate(encoded) if not isinstance(one, str)}
            text = self.contract.encode_many(one for one in encoded if isinstance(one, str))
        found = self.engine.evaluate(self.loop_key, text, inputs=len(inputs))
        items = found.result.get("items") if isinstance(found, Evaluation) and isinstance(found.result, dict) else None
        if not isinstance(items, list) or len(items) != len(inputs) - len(wrong):
            return None
        decided = iter(self._read_items(items))
        return [wrong[at] if at in wrong else next(decided) for at in range(len(inputs))]

    def _decide_alone(self, encoded: Sequence[str | ToolkitError]) -> list[_Decided[Out]]:
        good = [one for one in encoded if isinstance(one, str)]
        found = iter(self.engine.evaluate_many(self.key, good, with_trace=self.compiled.is_traced))
        return [self._read(next(found)) if isinstance(one, str) else one for one in encoded]

    def _read(self, evaluation: Evaluation | Failure) -> _Decided[Out]:
        try:
            return read_evaluation(self.contract, self.compiled, evaluation)
        except RuleEvaluationError as error:
            return error

    def _read_items(self, items: Sequence[Any]) -> list[_Decided[Out]]:
        """What a loop gave, with one validation for all of it; one by one where any part of it does not fit."""
        opened = [self._open(item) for item in items]
        good = [one for one in opened if isinstance(one, tuple)]
        if len(good) == len(opened) and (outputs := self.contract.read_all([item for item, _ in good])) is not None:
            return [(output, rows) for output, (_, rows) in zip(outputs, good, strict=True)]
        return [self._fit(*one) if isinstance(one, tuple) else one for one in opened]

    def _open(self, item: Any) -> tuple[dict[str, Any], list[str]] | RuleEvaluationError:
        """One item as a single call would give it, which leaves nulls out where a loop keeps them, and its rows."""
        try:
            result, rows = open_result(self.contract, self.compiled, item)
        except RuleEvaluationError as error:
            return error
        if None in result.values() and not self.compiled.is_wrapped:
            result = {name: value for name, value in result.items() if value is not None}
        return result, rows

    def _fit(self, result: dict[str, Any], rows: list[str]) -> _Decided[Out]:
        try:
            return self.contract.read(result), rows
        except RuleEvaluationError as error:
            return error

    def _encode(self, input: In) -> str | ToolkitError:
        try:
            return self.contract.encode(input)
        except ToolkitError as error:
            return error


@contextmanager
def _collection_paused() -> Iterator[None]:
    """No garbage collection within the block: all that is made here is kept, and looking through it takes a third."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_evaluation(
    contract: Contract[In, Out], compiled: Compiled, evaluation: Evaluation | Failure
) -> tuple[Out, list[str]]:
    """What the engine gave, as the rule's output and the rows that matched; raises as :meth:`Override.decide` does."""
    if isinstance(evaluation, Failure):
        node = compiled.names.get(evaluation.node_id or "", "")
        raise RuleEvaluationError(contract.rule, evaluation.reason, node=node)
    result, rows = open_result(contract, compiled, evaluation.result, evaluation.trace)
    return contract.read(result), rows


def open_result(
    contract: Contract[Any, Any], compiled: Compiled, result: Any, trace: dict[str, Any] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What came out without what is hidden in it, and the rows that matched. It is not held against the model yet."""
    if compiled.is_wrapped and isinstance(result, dict):
        result = result.get(WRAPPED)
    rows, unmatched = matched_rows(compiled, result, trace)
    if unmatched is not None:
        raise RuleNoMatch(contract.rule, "no row fits the input", node=unmatched)
    if not isinstance(result, dict):
        found = type(result).__name__
        raise RuleOutputInvalid(contract.rule, f"its output is a {found}; expected an object with the output's fields")
    return contract.without_loose_nulls(result) if compiled.is_wrapped else result, rows
