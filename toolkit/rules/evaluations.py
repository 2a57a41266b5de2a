"""Evaluations that belong to no run: JSON comes in, a decision or a presentable error goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from toolkit.errors import InvalidInput, LimitExceeded, RuleEvaluationError, ToolkitError
from toolkit.rules.decisions import Choice, decide_apart, decide_many_apart
from toolkit.rules.definitions import Rule
from toolkit.rules.summaries import BatchItem, Decision
from toolkit.serialization import codec_for

LARGEST_BATCH = 10_000
_BETWEEN_PAUSES = 500  # inputs that a batch decides before others get a turn


async def evaluate(rule: Rule[Any, Any], override: Choice[Any, Any], input_json: str | bytes) -> Decision:
    """Decide one input by ``override``.

    Raises:
        InvalidInput: the input does not fit.
        RuleEvaluationError: the override could not decide.
    """
    parsed = codec_for(rule.input_type).parse_json(input_json)
    record: dict[str, Any] = {}
    try:
        output = await decide_apart(rule, override, parsed, record)
    except Exception as error:
        raise _presentable(rule, error) from error
    return Decision(
        output=output.model_dump(mode="json", by_alias=True),
        source=record["source"],
        version=record.get("version"),
        rows=record.get("rows", []),
        duration_ms=record["duration_ms"],
        fallback=record.get("fallback"),
    )


async def evaluate_batch(rule: Rule[Any, Any], override: Choice[Any, Any], inputs: Sequence[Any]) -> list[BatchItem]:
    """Decide up to ``LARGEST_BATCH`` parsed JSON inputs; a result or an error each, in order.

    Raises:
        LimitExceeded: there are more inputs.
    """
    if len(inputs) > LARGEST_BATCH:
        raise LimitExceeded(
            f"a batch has at most {LARGEST_BATCH:,} inputs, found {len(inputs):,}; send it in parts, or as a file",
            limit=LARGEST_BATCH,
            found=len(inputs),
        )
    items: list[BatchItem] = []
    for start in range(0, len(inputs), _BETWEEN_PAUSES):
        items += await _decide_part(rule, override, inputs[start : start + _BETWEEN_PAUSES])
        await asyncio.sleep(0)
    return items


async def _decide_part(rule: Rule[Any, Any], override: Choice[Any, Any], inputs: Sequence[Any]) -> list[BatchItem]:
    parsed = [_parse(rule, one) for one in inputs]
    fitting = [one for one in parsed if not isinstance(one, InvalidInput)]
    decided = iter(await decide_many_apart(rule, override, fitting, {}))
    return [_item(rule, one if isinstance(one, InvalidInput) else next(decided)) for one in parsed]


def _parse(rule: Rule[Any, Any], value: Any) -> Any:
    try:
        return codec_for(rule.input_type).parse_json(to_json(value))
    except InvalidInput as error:
        return error


def _item(rule: Rule[Any, Any], decided: BaseModel | Exception) -> BatchItem:
    if not isinstance(decided, Exception):
        return BatchItem(output=decided.model_dump(mode="json", by_alias=True))
    error = _presentable(rule, decided)
    return BatchItem(
        error={"type": type(error).__name__, "message": str(error), "errors": getattr(error, "errors", [])}
    )


def _presentable(rule: Rule[Any, Any], error: Exception) -> ToolkitError:
    """The error as a caller may see it: what an author's function raised stays in the log of the caller's request."""
    if isinstance(error, ToolkitError):
        return error
    return RuleEvaluationError(rule.name, f"its function raised {type(error).__name__}")
