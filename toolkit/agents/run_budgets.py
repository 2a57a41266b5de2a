"""Budgets of whole runs: what all agents of a run may use together, whichever of them uses it.

The journal is the ledger: what counts is on record, so a request counts once however often the run is resumed. A limit
that a person raised is on record too. So is where it was reached: a run that is gone through again stops there again,
and finds its question answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from toolkit.agents.limits import Limits
from toolkit.agents.model_registry import is_doubled
from toolkit.agents.results import Spending, Usage
from toolkit.errors import RunBudgetExceeded
from toolkit.workflows import RunContext, current_run

_RUN_LIMITS: ContextVar[Limits | None] = ContextVar("toolkit_agents_run_limits", default=None)


@contextmanager
def run_limits(limits: Limits) -> Iterator[None]:
    """Within the block, in a workflow: what all agents of the run may use together, from the run's beginning.

    ``wall`` counts from the first agent's first attempt, without the time that people take. With ``on_reached="ask"``
    the run is suspended until a person raises the limit; an agent below a step or a tool cannot ask, and fails.
    Agents side by side may each go over by one request.
    """
    token = _RUN_LIMITS.set(limits)
    try:
        yield
    finally:
        _RUN_LIMITS.reset(token)


def current_run_limits() -> Limits | None:
    """What holds for all agents of the run together, as the code says it."""
    return _RUN_LIMITS.get()


def used_by_request(details: Mapping[str, Any]) -> tuple[Usage, Decimal | None]:
    """What one request used, as its checkpoint says."""
    usage = Usage(requests=1, input_tokens=details["input_tokens"], output_tokens=details["output_tokens"])
    return usage, None if details["cost"] is None else Decimal(details["cost"])


def answered_by(details: Mapping[str, Any]) -> str | None:
    """The key of the model that answered a request, as its checkpoint says; before there were keys in it, its name."""
    return details.get("model_key") or details.get("model")


def check_request(agent: str, *, path: str, now: datetime) -> None:
    """Before a request at ``path`` that is not on record.

    Raises:
        RunBudgetExceeded: the run has used what it may.
        ConfigurationError: there is a limit on money, and nobody knows what the run has spent.
    """
    run, limits = current_run(), _RUN_LIMITS.get()
    if run is None or limits is None:
        return
    limits = _raised(limits, run)
    spent = Spending()
    for details in run.recorded_details(kind="model_call"):
        spent.add(*used_by_request(details), model=answered_by(details))
    if not is_doubled():
        limits.check_price(spent, whose="this run has")
    _check("requests", limits.requests, spent.usage.requests, agent=agent, at=path)
    _check("tokens", limits.tokens, spent.usage.tokens, agent=agent, at=path)
    _check("cost", limits.cost, spent.cost, agent=agent, at=path)
    if limits.wall is not None:
        worked = _worked(run, now=now).total_seconds()
        _check("wall", limits.wall.total_seconds(), round(worked, 3), agent=agent, at=path)


def check_tool_calls(agent: str, *, path: str, step: str, keys: Sequence[str]) -> None:
    """Before the tool calls (``keys``) that the answer at ``path`` asks for together: all are made, or none.

    Raises:
        RunBudgetExceeded: together with those on record they are more than the run may make.
    """
    run, limits = current_run(), _RUN_LIMITS.get()
    if run is None or limits is None or limits.tool_calls is None or not keys:
        return
    calls = run.recorded_details(kind="tool_call")
    if any(details.get("step") == step and details.get("key") in keys for details in calls):
        return  # it was let through before
    allowed = _raised(limits, run).tool_calls
    assert allowed is not None
    if len(calls) + len(keys) > allowed:
        raise RunBudgetExceeded(agent, limit="tool_calls", allowed=allowed, used=len(calls), at=path)


@dataclass
class Stops:
    """Where a run that is gone through again reached a limit before, by path."""

    found: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def recall_stop(*, step: str, key: str) -> None:
    """At the beginning of a pass of ``step``: see whether it ended at a limit of the run, with the question ``key``."""
    run = current_run()
    if run is None:
        return
    for details in run.recorded_details(kind="compute", name=key):
        if details.get("step") == step and details.get("at"):
            _stops(run).found[details["at"]] = details


def stop_again(agent: str, *, path: str, is_after: bool) -> None:
    """Before what is at ``path`` (or after it, for tool calls): stop where the pass stopped before.

    Raises:
        RunBudgetExceeded: the same as then.
    """
    run = current_run()
    if run is None:
        return
    stops = _stops(run).found
    details = stops.get(path)
    if details is None or (details["limit"] == "tool_calls") != is_after:
        return
    del stops[path]  # the next pass goes on
    allowed, used = Decimal(details["allowed"]), Decimal(details["used"])
    raise RunBudgetExceeded(agent, limit=details["limit"], allowed=allowed, used=used, at=path)


def _stops(run: RunContext) -> Stops:
    found = run.memory.setdefault("stops at limits of the run", Stops())
    assert isinstance(found, Stops)
    return found


def _check(limit: str, allowed: Any, used: Any, *, agent: str, at: str) -> None:
    if allowed is not None and used is not None and used >= allowed:
        raise RunBudgetExceeded(agent, limit=limit, allowed=allowed, used=used, at=at)


def _raised(limits: Limits, run: RunContext) -> Limits:
    """``limits`` with what people have raised since."""
    if limits.on_reached == "fail":
        return limits
    for details in run.recorded_details(kind="compute"):
        limit = details.get("raised_for_run")
        before = getattr(limits, limit) if limit else None
        if limit and before is not None and Decimal(details["to"]) > _number(before):
            limits = limits.raised(limit, Decimal(details["to"]))
    return limits


def _worked(run: RunContext, *, now: datetime) -> timedelta:
    """Since the first agent began, without the time that people took."""
    began = [details["started_at"] for details in run.recorded_details(kind="compute") if "started_at" in details]
    waited = sum(details.get("waited_seconds", 0.0) for details in run.recorded_details(kind="compute"))
    if not began:
        return timedelta(0)
    return now - min(map(datetime.fromisoformat, began)) - timedelta(seconds=waited)


def _number(value: Any) -> Decimal:
    return Decimal(str(value.total_seconds() if isinstance(value, timedelta) else value))
