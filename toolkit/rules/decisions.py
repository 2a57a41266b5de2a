"""One decision: by the override that is active or pinned, or by the function, with a record of which and why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from toolkit.errors import RuleEvaluationError, RuleNoMatch, RuleOutputInvalid, ToolkitError
from toolkit.rules.contract import In, Out

if TYPE_CHECKING:
    from toolkit.rules.definitions import Rule
    from toolkit.rules.isolation import IsolatedEngine
    from toolkit.rules.overrides import Override

Choice: TypeAlias = "Override[In, Out] | RuleEvaluationError | None"
"""What is to decide: an override, one that cannot be run and says why, or the function."""

MOST_ROWS_RECORDED = 1_000


async def decide_apart(rule: Rule[In, Out], override: Choice[In, Out], input: In, record: dict[str, Any]) -> Out:
    """:func:`decide`, on a thread where the override is evaluated in a sandbox and so blocks."""
    if (engine := _isolated(override)) is not None:
        return await engine.apart(decide, rule, override, input, record)
    return decide(rule, override, input, record)


async def decide_many_apart(
    rule: Rule[In, Out], override: Choice[In, Out], inputs: Sequence[In], record: dict[str, Any]
) -> list[Out | Exception]:
    """:func:`decide_many`, on a thread where the override is evaluated in a sandbox and so blocks."""
    if (engine := _isolated(override)) is not None:
        return await engine.apart(decide_many, rule, override, inputs, record)
    return decide_many(rule, override, inputs, record)


def _isolated(override: Choice[In, Out]) -> IsolatedEngine | None:
    return None if override is None or isinstance(override, RuleEvaluationError) else override.isolated


def decide(rule: Rule[In, Out], override: Choice[In, Out], input: In, record: dict[str, Any]) -> Out:
    """The output for ``input``; what decided is written into ``record``, also when this raises.

    Raises:
        RuleEvaluationError: the override failed, and the rule does not let its function step in.
    """
    started = time.perf_counter()
    try:
        if override is None:
            return decide_by_function(rule, input, record)
        try:
            if isinstance(override, RuleEvaluationError):
                raise override.with_traceback(None)  # one error, raised again and again
            record |= override.record
            output, rows = override.decide(input)
            record["rows"] = rows[:MOST_ROWS_RECORDED]
        except RuleEvaluationError as error:
            if not _steps_in(rule, error):
                raise
            record["fallback"] = str(error)
            return decide_by_function(rule, input, {})
        return output
    finally:
        record["duration_ms"] = round((time.perf_counter() - started) * 1000, 3)


def decide_many(
    rule: Rule[In, Out], override: Choice[In, Out], inputs: Sequence[In], record: dict[str, Any]
) -> list[Out | Exception]:
    """For each input, in order, what :func:`decide` gives or raises; one record for all of them."""
    started = time.perf_counter()
    record["inputs"] = len(inputs)
    if override is None:
        record |= {"source": "python", "code_hash": rule.code_hash}
        decided: list[Out | Exception] = [_attempt(rule, one) for one in inputs]
    elif isinstance(override, RuleEvaluationError):
        record |= {"rows": {}, "fallbacks": 0}
        decided = [_settle(rule, one, override, record) for one in inputs]
    else:
        record |= override.record | {"rows": {}, "fallbacks": 0}
        decided = [
            _settle(rule, one, found, record) for one, found in zip(inputs, override.decide_many(inputs), strict=True)
        ]
    record["failed"] = sum(isinstance(one, Exception) for one in decided)
    record["duration_ms"] = round((time.perf_counter() - started) * 1000, 3)
    return decided


def decide_by_function(rule: Rule[In, Out], input: In, record: dict[str, Any]) -> Out:
    """What the rule's function says.

    Raises:
        RuleOutputInvalid: it returned something else than its annotation says.
    """
    record |= {"source": "python", "code_hash": rule.code_hash}
    output = rule.decide(input)
    if not isinstance(output, rule.output_type):
        found, wanted = type(output).__qualname__, rule.output_type.__qualname__
        raise RuleOutputInvalid(rule.name, f"its function returned a {found}; expected a {wanted}")
    return output


def _settle(
    rule: Rule[In, Out], input: In, found: tuple[Out, list[str]] | ToolkitError, record: dict[str, Any]
) -> Out | Exception:
    if isinstance(found, tuple):
        output, rows = found
        for row in rows:  # how often each row matched: a list a row an input would outgrow the step
            if row in record["rows"] or len(record["rows"]) < MOST_ROWS_RECORDED:
                record["rows"][row] = record["rows"].get(row, 0) + 1
        return output
    if isinstance(found, RuleEvaluationError) and _steps_in(rule, found):
        record["fallbacks"] += 1
        return _attempt(rule, input)
    return found


def _attempt(rule: Rule[In, Out], input: In) -> Out | Exception:
    try:
        return decide_by_function(rule, input, {})
    except Exception as error:  # noqa: BLE001  # the author's function: its error is the result for this input
        return error


def _steps_in(rule: Rule[Any, Any], error: RuleEvaluationError) -> bool:
    wanted = rule.on_no_match if isinstance(error, RuleNoMatch) else rule.on_error
    return wanted == "default"
