"""Scorers: how good an output is, against what was expected. Plain data, so that they travel by REST and in files.

A field is a path into the output as JSON: ``total``, ``vendor.name``, ``positions.0.price``; left out, it is all of it.
What no scorer here can say, a function of the author's says (``Agent(scorers=[...])``), or an evaluator of
pydantic-evals, or another model.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json, to_jsonable_python

from toolkit.errors import DefinitionError, InvalidInput

_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One output to be judged. ``output`` and ``expected`` are JSON values; ``raw`` is what the agent gave."""

    name: str
    input: Any
    output: Any
    expected: Any
    raw: Any = None


class Score(BaseModel):
    """What one scorer says about one output."""

    model_config = ConfigDict(frozen=True)

    scorer: str
    value: Annotated[Decimal, Field(ge=0, le=1)]
    """From 0, useless, to 1, as wanted."""
    passed: bool
    reason: str = ""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Exact(_Spec):
    """The field is what was expected."""

    kind: Literal["exact"] = "exact"
    field: str | None = None


class CaseInsensitive(_Spec):
    """The field is what was expected, whatever the case of its letters and the white space around and between words."""

    kind: Literal["case_insensitive"] = "case_insensitive"
    field: str | None = None


class Near(_Spec):
    """The field is a number that differs from what was expected by no more than ``tolerance``."""

    kind: Literal["near"] = "near"
    field: str | None = None
    tolerance: Annotated[Decimal, Field(ge=0)] = Decimal(0)


class Custom(_Spec):
    """A function of the author's, or an evaluator of pydantic-evals; ``name`` is one of the agent's ``scorers``."""

    kind: Literal["custom"] = "custom"
    name: str


class Judge(_Spec):
    """Another model reads input, expected and output, and says how far the output meets the ``rubric``."""

    kind: Literal["judge"] = "judge"
    model: str
    rubric: str
    passes_at: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.7")


Scorer = Annotated[Exact | CaseInsensitive | Near | Custom | Judge, Field(discriminator="kind")]

Verdict = bool | int | float | Decimal | Score
CustomScorer = Callable[[Scored], Verdict | Awaitable[Verdict]]


class _Judging(Protocol):
    async def __call__(self, judge: Judge, scored: Scored) -> Score: ...


def name_of(scorer: Scorer) -> str:
    """By which a report names it: ``exact total``, ``near total``, ``custom polite``."""
    what = getattr(scorer, "field", None) or getattr(scorer, "name", None) or getattr(scorer, "model", None)
    return f"{scorer.kind} {what}" if what else scorer.kind


async def score(scorer: Scorer, scored: Scored, *, customs: Mapping[str, CustomScorer], judging: _Judging) -> Score:
    """What ``scorer`` says about one output.

    Raises:
        InvalidInput: it names a function that the agent does not have.
    """
    name = name_of(scorer)
    match scorer:
        case Judge():
            return await judging(scorer, scored)
        case Custom():
            return await _by_function(scorer.name, scored, customs)
        case _:
            found, wanted = _at(scored.output, scorer.field), _at(scored.expected, scorer.field)
            if found is _MISSING or wanted is _MISSING:
                where = "the output" if found is _MISSING else "what was expected"
                return _verdict(name, is_met=False, reason=f"{where} has no {scorer.field!r}")
            is_met = _compare(scorer, found, wanted)
            return _verdict(
                name, is_met=is_met, reason="" if is_met else f"expected {_short(wanted)}, found {_short(found)}"
            )


def custom_scorers(found: Iterable[Any], *, agent: str) -> dict[str, CustomScorer]:
    """An agent's own scorers by name: functions, and evaluators of pydantic-evals.

    Raises:
        DefinitionError: one is neither, or two have one name.
    """
    named: dict[str, CustomScorer] = {}
    for one in found:
        is_evaluator = hasattr(one, "evaluate_async")
        name = type(one).__name__ if is_evaluator else getattr(one, "__name__", "")
        if not name.isidentifier() or not (is_evaluator or callable(one)):
            raise DefinitionError(f"agent {agent!r}: scorer {one!r} is neither a named function nor an evaluator")
        if name in named:
            raise DefinitionError(f"agent {agent!r} has two scorers called {name!r}; give one another name")
        named[name] = _by_evaluator(one) if is_evaluator else one
    return named


def _compare(scorer: Exact | CaseInsensitive | Near, found: Any, wanted: Any) -> bool:
    match scorer:
        case Exact():
            return bool(found == wanted)
        case CaseInsensitive():
            return " ".join(str(found).casefold().split()) == " ".join(str(wanted).casefold().split())
        case Near():
            try:
                return abs(Decimal(str(found)) - Decimal(str(wanted))) <= scorer.tolerance
            except InvalidOperation:
                return False


def _at(value: Any, path: str | None) -> Any:
    """What stands in ``value`` at ``path``."""
    for name in path.split(".") if path else ():
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _MISSING
    return value


async def _by_function(name: str, scored: Scored, customs: Mapping[str, CustomScorer]) -> Score:
    if name not in customs:
        raise InvalidInput(
            f"there is no scorer {name!r}; the agent has: {', '.join(sorted(customs)) or 'none'}",
            errors=[{"loc": "scorers", "msg": f"unknown: {name}", "type": "scorer"}],
        )
    said = customs[name](scored)
    verdict = await said if inspect.isawaitable(said) else said
    if isinstance(verdict, Score):
        return verdict.model_copy(update={"scorer": f"custom {name}"})
    if isinstance(verdict, bool):
        return _verdict(f"custom {name}", is_met=verdict)
    value = min(max(Decimal(str(verdict)), Decimal(0)), Decimal(1))
    return Score(scorer=f"custom {name}", value=value, passed=value == 1)


def _by_evaluator(evaluator: Any) -> CustomScorer:
    """An evaluator of pydantic-evals as one of ours: all that it says must hold, numbers are averaged."""

    async def evaluate(scored: Scored) -> Score:
        library: Any = import_module("pydantic_evals.evaluators")
        otel: Any = import_module("pydantic_evals.otel")
        said = await evaluator.evaluate_async(
            library.EvaluatorContext(
                name=scored.name,
                inputs=scored.input,
                metadata=None,
                expected_output=scored.expected,
                output=scored.output,
                duration=0.0,
                _span_tree=otel.SpanTree(),
                attributes={},
                metrics={},
            )
        )
        parts = list(said.values()) if isinstance(said, Mapping) else [said]
        reasons = [part.reason for part in parts if isinstance(part, library.EvaluationReason) and part.reason]
        values = [part.value if isinstance(part, library.EvaluationReason) else part for part in parts]
        numbers = [Decimal(str(float(value))) for value in values if isinstance(value, bool | int | float)]
        value = sum(numbers, Decimal(0)) / len(numbers) if numbers else Decimal(1)  # labels judge nothing
        passed = all(value for value in values if isinstance(value, bool))
        return Score(scorer="", value=min(max(value, Decimal(0)), Decimal(1)), passed=passed, reason="; ".join(reasons))

    return evaluate


def as_json(value: Any) -> Any:
    """``value`` as the JSON that fields are looked up in; numbers that are exact stay text."""
    return to_jsonable_python(value, fallback=str)


def _verdict(name: str, *, is_met: bool, reason: str = "") -> Score:
    return Score(scorer=name, value=Decimal(int(is_met)), passed=is_met, reason=reason)


def _short(value: Any) -> str:
    text = to_json(value, fallback=str).decode()
    return text if len(text) <= 200 else f"{text[:200]}…"
