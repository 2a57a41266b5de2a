"""The one place that talks to zen-engine: what goes in is JSON text, what comes out are plain values or our errors."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

from toolkit.errors import ConfigurationError, RuleEvaluationError
from toolkit.rules.compilation import Compiled
from toolkit.rules.validation import Compilers


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
            "overrides of rules need zen-engine, which is not installed here: pip install 'zen-engine>=2.1.3,<2.2' "
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
    reason = found.get("source") or found.get("type") or line
    return Failure(str(reason), found.get("nodeId"))


def matched_rows(compiled: Compiled, evaluation: Evaluation) -> tuple[list[str], str | None]:
    """The rows that matched, as ``table/row id``, and the name of a first-hit table that no row of matched.

    Takes the hidden fields out of the result.
    """
    rows: list[str] = []
    if compiled.is_traced:
        return _traced_rows(compiled, evaluation.trace or {})
    if isinstance(evaluation.result, dict):
        for table in compiled.tables:
            number = evaluation.result.pop(table.mark, -1)
            if number < 0:
                return rows, table.name
            rows.append(table.labels[number])
    return rows, None


def _traced_rows(compiled: Compiled, trace: dict[str, Any]) -> tuple[list[str], str | None]:
    rows: list[str] = []
    unmatched: str | None = None
    for table in compiled.tables:
        traced = trace.get(table.node)
        if traced is None:
            continue  # the way led past this table
        hits = traced["traceData"] if isinstance(traced["traceData"], list) else [traced["traceData"]]
        rows += [f"{table.name}/{row_id}" for row_id in _hit_ids(hits)]
        if table.hit_policy == "first" and any(hit is None for hit in hits):
            unmatched = unmatched or table.name
    return rows, unmatched


def _hit_ids(hits: Iterable[Any]) -> Iterable[str]:
    for hit in hits:
        if isinstance(hit, list):  # a collecting table inside a loop
            yield from _hit_ids(hit)
        elif isinstance(hit, dict):
            yield str(hit["rule"]["_id"])


class DecisionEngine:
    """One engine for all active graphs. A new graph replaces the table of graphs, so that no evaluation sees half."""

    def __init__(self) -> None:
        self._contents: dict[str, Any] = {}
        self._engine: Any = None

    def add(self, key: str, text: str) -> None:
        """Compile the graph in ``text`` and keep it under ``key``.

        Raises:
            ConfigurationError: zen-engine is not installed.
            RuleEvaluationError: the engine does not take the graph.
        """
        if key in self._contents:
            return
        zen = load_zen()
        if self._engine is None:
            self._engine = zen.ZenEngine({"loader": self._load})
        try:
            content = zen.ZenDecisionContent(text)
        except (RuntimeError, ValueError, TypeError) as error:
            raise RuleEvaluationError(key.split("@", maxsplit=1)[0], read_failure(str(error)).reason) from None
        self._contents = {**self._contents, key: content}

    def _load(self, key: str) -> Any:
        return self._contents[key]

    def keep(self, keys: Container[str]) -> None:
        """Forget every graph that is not among ``keys``."""
        self._contents = {key: content for key, content in self._contents.items() if key in keys}

    def evaluate(self, key: str, context: str, *, with_trace: bool = False) -> Evaluation | Failure:
        """Evaluate on the calling thread, which holds the interpreter meanwhile. ``context`` is JSON text.

        Text and never a dict: a dict that is deep or holds itself ends the process, and a Decimal in it is refused.
        """
        try:
            response = self._engine.evaluate(key, context, {"trace": True} if with_trace else None)
        except Exception as error:  # noqa: BLE001  # native code: RuntimeError, TypeError and bare Exception were seen
            return read_failure(str(error))
        except BaseException as error:
            # A panic of the native code derives from BaseException; like any other failure it concerns one evaluation.
            if type(error).__name__ != "PanicException":
                raise
            return Failure("the engine failed within itself")
        return Evaluation(response["result"], response.get("trace"))
