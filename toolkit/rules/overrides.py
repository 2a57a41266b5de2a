"""Overrides at work: a compiled version of a graph, deciding one input or many."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Generic

from toolkit.errors import InvalidInput, RuleEvaluationError, RuleNoMatch, RuleOutputInvalid, ToolkitError
from toolkit.rules.compilation import Compiled
from toolkit.rules.contract import Contract, In, Out
from toolkit.rules.engine import DecisionEngine, Evaluation, Failure, engine_version, matched_rows
from toolkit.rules.isolation import IsolatedEngine

CHUNK = 1_000
"""Inputs in one call of a loop: beyond this, a call only holds the interpreter longer."""


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

    def load(self) -> None:
        """Have the engine compile the graph.

        Raises:
            ConfigurationError: zen-engine is not installed.
            RuleEvaluationError: the engine does not take the graph.
        """
        self.engine.add(self.key, self.compiled.graph)
        if self.compiled.loop is not None:
            self.engine.add(self.loop_key, self.compiled.loop)

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
        return self.decide_encoded(self.contract.encode(input))

    def decide_encoded(self, context: str) -> tuple[Out, list[str]]:
        """As :meth:`decide`, for an input that is JSON text already."""
        found = self.engine.evaluate(self.key, context, with_trace=self.compiled.is_traced)
        return read_evaluation(self.contract, self.compiled, found)

    def decide_many(self, inputs: Sequence[In]) -> list[tuple[Out, list[str]] | ToolkitError]:
        """For each input, in order, what :meth:`decide` gives or raises."""
        decided: list[tuple[Out, list[str]] | ToolkitError] = []
        with _collection_paused() if self.isolated is None else nullcontext():
            for start in range(0, len(inputs), CHUNK):
                decided += self._decide_chunk(inputs[start : start + CHUNK])
        return decided

    def _decide_chunk(self, inputs: Sequence[In]) -> list[tuple[Out, list[str]] | ToolkitError]:
        if self.compiled.loop is not None and (decided := self._decide_at_once(inputs)) is not None:
            return decided
        encoded = [self._encode(one) for one in inputs]
        if self.compiled.loop is None or len(inputs) < 2:
            return [self._decide_alone(one) for one in encoded]
        good = [one for one in encoded if isinstance(one, str)]
        found = self.engine.evaluate(self.loop_key, self.contract.encode_many(good))
        items = found.result.get("items") if isinstance(found, Evaluation) and isinstance(found.result, dict) else None
        if not isinstance(items, list) or len(items) != len(good):
            return [self._decide_alone(one) for one in encoded]  # one bad input fails the whole call: find out which
        results = iter(items)
        return [self._read_item(next(results)) if isinstance(one, str) else one for one in encoded]

    def _decide_at_once(self, inputs: Sequence[In]) -> list[tuple[Out, list[str]] | ToolkitError] | None:
        """The whole chunk with one encoding, one evaluation and one validation; nothing where any part of it fails."""
        try:
            found = self.engine.evaluate(self.loop_key, self.contract.encode_all(inputs))
        except InvalidInput:
            return None
        items = found.result.get("items") if isinstance(found, Evaluation) and isinstance(found.result, dict) else None
        if not isinstance(items, list) or len(items) != len(inputs):
            return None
        rows: list[list[str]] = []
        for at, item in enumerate(items):
            if not isinstance(item, dict):
                return None
            matched: list[str] = []
            for table in self.compiled.tables:
                if (number := item.pop(table.mark, -1)) < 0:
                    return None  # no row: an error of this input alone
                matched.append(table.labels[number])
            if None in item.values():  # a single call leaves nulls out; a loop keeps them
                items[at] = {name: value for name, value in item.items() if value is not None}
            rows.append(matched)
        outputs = self.contract.read_all(items)
        return None if outputs is None else list(zip(outputs, rows, strict=True))

    def _encode(self, input: In) -> str | ToolkitError:
        try:
            return self.contract.encode(input)
        except ToolkitError as error:
            return error

    def _decide_alone(self, context: str | ToolkitError) -> tuple[Out, list[str]] | ToolkitError:
        if isinstance(context, ToolkitError):
            return context
        try:
            return self.decide_encoded(context)
        except RuleEvaluationError as error:
            return error

    def _read_item(self, item: Any) -> tuple[Out, list[str]] | ToolkitError:
        if isinstance(item, dict) and None in item.values():  # a single call leaves nulls out; a loop keeps them
            item = {name: value for name, value in item.items() if value is not None}
        try:
            return read_evaluation(self.contract, self.compiled, Evaluation(item))
        except RuleEvaluationError as error:
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
    rows, unmatched = matched_rows(compiled, evaluation)
    if unmatched is not None:
        raise RuleNoMatch(contract.rule, "no row fits the input", node=unmatched)
    if not isinstance(evaluation.result, dict):
        found = type(evaluation.result).__name__
        raise RuleOutputInvalid(contract.rule, f"its output is a {found}; expected an object with the output's fields")
    return contract.read(evaluation.result), rows
