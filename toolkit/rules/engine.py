"""The one place that talks to zen-engine: what goes in is JSON text, what comes out are plain values or our errors."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

from toolkit.errors import ConfigurationError, RuleEvaluationError
from toolkit.rules.compilation import DEEPEST_SUB_DECISIONS, Compiled, Part
from toolkit.rules.validation import Compilers

_LONGEST_REASON = 500


@lru_cache(maxsize=1)
def load_zen() -> ModuleType:
    """zen-engine, loaded when an override is first read or run.

    Raises:
        ConfigurationError: it is not installed; says what to install.
    """
    try:
        import zen
    except ImportError as error:
        raise ConfigurationError(
            "overrides of rules need zen-engine, which is not installed here: pip install 'process-toolkit[rules]' "
            "(there are no wheels for Alpine Linux); rules without an override run without it"
        ) from error
    return zen


@lru_cache(maxsize=1)
def engine_version() -> str:
    """The installed version of zen-engine, as it stands in records."""
    from importlib.metadata import version

    return version("zen-engine")


def compilers() -> Compilers:
    """The engine's two grammars, for the static checks."""
    zen = load_zen()

    def test(text: str) -> str | None:
        # `validate_unary_expression` should judge tests such as "> 5" and calls every one of them wrong (2.1.3):
        # it uses the grammar of whole expressions. Compiling uses the right one.
        try:
            zen.compile_unary_expression(text)
        except (RuntimeError, ValueError, TypeError) as error:
            return _source_of(str(error))
        return None

    def expression(text: str) -> str | None:
        found = zen.validate_expression(text)
        return None if found is None else str(found.get("source", "it does not parse"))

    return Compilers(expression=expression, test=test)


def _source_of(message: str) -> str:
    line = message.split("\n", 1)[0]  # below it stands a native stack with file paths
    try:
        return str(json.loads(line)["source"])
    except (ValueError, KeyError, TypeError):
        return line


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the engine gave for one input. ``trace`` is there only if it was asked for."""

    result: Any
    trace: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the engine gave nothing: its own first line, and the id of the node to blame."""

    reason: str
    node_id: str | None = None


def read_failure(message: str) -> Failure:
    """The engine's error message, cut to what a person may see."""
    line = message.split("\n", 1)[0]
    try:
        found = json.loads(line)
    except ValueError:
        return Failure(line or "the engine gave no reason")
    if not isinstance(found, dict):
        return Failure(line)
    reason = str(found.get("source") or found.get("type") or line)
    return Failure(reason.split("\n", 1)[0][:_LONGEST_REASON], found.get("nodeId"))  # of JavaScript the stack follows


def matched_rows(compiled: Compiled, result: Any, trace: dict[str, Any] | None) -> tuple[list[str], str | None]:
    """The rows that matched, as ``table/row id``, and the name of a first-hit table that no row of matched.

    Those of a sub-decision stand behind the name of the node that asked it: ``node/table/row id``. Takes the hidden
    fields out of the result.
    """
    rows: list[str] = []
    if compiled.is_traced:
        traced = list(_traced_rows(compiled, compiled, trace or {}))
        unmatched = (table for table, row in traced if row is None)
        return [f"{table}/{row}" for table, row in traced if row is not None], next(unmatched, None)
    if isinstance(result, dict):
        for table in compiled.tables:
            number = result.pop(table.mark, -1)
            if number < 0:
                return rows, table.name
            rows.append(table.labels[number])
    return rows, None


def _traced_rows(compiled: Compiled, part: Part, trace: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Each hit as the table and the row's id, which is nothing where a first-hit table had none."""
    for table in part.tables:
        if (traced := trace.get(table.node)) is None:
            continue  # the way led past this table
        hits = traced["traceData"] if isinstance(traced["traceData"], list) else [traced["traceData"]]
        yield from ((table.name, row_id) for row_id in _hit_ids(hits))
        if table.hit_policy == "first" and any(hit is None for hit in hits):
            yield table.name, None
    for node, key in part.calls.items():
        for inner in nested_traces(trace.get(node)):
            for name, row in _traced_rows(compiled, compiled.parts[key], inner):
                yield f"{part.names[node]}/{name}", row


def nested_traces(traced: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The traces within that of a decision node: one, or one an item where it loops."""
    data = traced["traceData"] if traced is not None else None
    return data if isinstance(data, list) else [data] if data else []


def _hit_ids(hits: Iterable[Any]) -> Iterable[str]:
    for hit in hits:
        if isinstance(hit, list):  # a collecting table inside a loop
            yield from _hit_ids(hit)
        elif isinstance(hit, dict):
            yield str(hit["rule"]["_id"])


# As deep as an upload may ask sub-decisions, and itself; the sandbox uses the same.
_UNTRACED = {"max_depth": DEEPEST_SUB_DECISIONS + 1}
_TRACED = _UNTRACED | {"trace": True}


class DecisionEngine:
    """One engine for all active graphs. A new graph replaces the table of graphs, so that no evaluation sees half."""

    def __init__(self) -> None:
        self._contents: dict[str, Any] = {}
        self._engine: Any = None

    def add(self, key: str, text: str, parts: Mapping[str, str]) -> None:
        """Compile the graph in ``text`` and keep it under ``key``, and the sub-decisions of it under theirs.

        Raises:
            ConfigurationError: zen-engine is not installed.
            RuleEvaluationError: the engine does not take the graph.
        """
        zen = load_zen()
        if self._engine is None:
            self._engine = zen.ZenEngine({"loader": self._load})
        missing = {name: one for name, one in {**parts, key: text}.items() if name not in self._contents}
        try:
            contents = {name: zen.ZenDecisionContent(one) for name, one in missing.items()}
        except (RuntimeError, ValueError, TypeError) as error:
            raise RuleEvaluationError(key.split("@", maxsplit=1)[0], read_failure(str(error)).reason) from None
        self._contents = {**self._contents, **contents}

    def _load(self, key: str) -> Any:
        return self._contents[key]

    def keep(self, keys: Container[str]) -> None:
        """Forget every graph that is not among ``keys``."""
        self._contents = {key: content for key, content in self._contents.items() if key in keys}

    def evaluate(self, key: str, context: str, *, with_trace: bool = False, inputs: int = 1) -> Evaluation | Failure:
        """Evaluate on the calling thread, which holds the interpreter meanwhile. ``context`` is JSON text.

        Text and never a dict: a dict that is deep or holds itself ends the process, and a Decimal in it is refused.
        """
        try:
            response = self._engine.evaluate(key, context, _TRACED if with_trace else _UNTRACED)
        except Exception as error:  # noqa: BLE001  # native code: RuntimeError, TypeError and bare Exception were seen
            return read_failure(str(error))
        except BaseException as error:
            # A panic of the native code derives from BaseException; like any other failure it concerns one evaluation.
            if type(error).__name__ != "PanicException":
                raise
            return Failure("the engine failed within itself")
        return Evaluation(response["result"], response.get("trace"))

    def evaluate_many(
        self, key: str, contexts: Iterable[str], *, with_trace: bool = False
    ) -> list[Evaluation | Failure]:
        """:meth:`evaluate` for each of ``contexts``, in order."""
        return [self.evaluate(key, context, with_trace=with_trace) for context in contexts]
