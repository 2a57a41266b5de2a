"""Workflows that ask rules, and installations of them on one database, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.rules.policies import Claim, Verdict, approval, encode
from tests.workflows.conftest import until_state
from toolkit.errors import RuleNoMatch
from toolkit.rules import RuleService, rule
from toolkit.workflows import Engine, RunHandle, RunState, StepRecord, gather, wait_for_event, workflow


@rule(pin="latest")
def newest(input: Claim) -> Verdict:
    return Verdict(approved=False, reason="by the function")


@rule(on_no_match="default", on_error="default")
def lenient(input: Claim) -> Verdict:
    if input.vendor == "unknown":
        raise ValueError("nobody knows this vendor")
    return Verdict(approved=False, reason="by the function")


RULES = (approval, newest, lenient)
CLAIM = Claim(total=Decimal(500), category="meals")


@workflow()
async def decide_twice(claim: Claim) -> list[str]:
    first = await approval(claim)
    await wait_for_event("go on")
    second = await approval(claim)
    return [first.reason, second.reason]


@workflow()
async def decide_twice_by_the_newest(claim: Claim) -> list[str]:
    first = await newest(claim)
    await wait_for_event("go on")
    second = await newest(claim)
    return [first.reason, second.reason]


@workflow()
async def decide_after_an_error(claim: Claim) -> list[str]:
    try:
        await approval(claim)
    except RuleNoMatch as error:
        first = f"{type(error).__name__} at {error.node}"
    await wait_for_event("go on")
    second = await approval(claim)
    return [first, second.reason]


@workflow()
async def decide_all(claims: list[Claim]) -> list[str]:
    found = await lenient.batch(claims, return_exceptions=True)
    await wait_for_event("go on")
    return [one.reason if isinstance(one, Verdict) else f"{type(one).__name__}: {one}" for one in found]


@workflow()
async def decide_side_by_side(claim: Claim) -> list[str]:
    decided = await gather(*(approval(claim) for _ in range(5)))
    return [one.reason for one in decided]


@workflow()
async def decide_leniently(claim: Claim) -> str:
    return (await lenient(claim)).reason


WORKFLOWS = (
    decide_twice,
    decide_twice_by_the_newest,
    decide_after_an_error,
    decide_all,
    decide_side_by_side,
    decide_leniently,
)


@dataclass
class Installation:
    """One process: an engine and its rules."""

    engine: Engine
    rules: RuleService

    async def activate(self, graph: dict[str, Any], *, name: str = "approval") -> None:
        version = await self.rules.upload(name, encode(graph))
        await self.rules.activate(name, version.number)

    async def suspended(self, run_id: str) -> None:
        await until_state(self.engine, run_id, RunState.SUSPENDED)

    async def result(self, run: RunHandle[Any]) -> Any:
        """The result of a run that an installation before this one may have started."""
        return await RunHandle(self.engine, run.id, run.workflow).result()

    async def rule_steps(self, run_id: str) -> list[StepRecord]:
        return [step for step in await self.engine.list_steps(run_id) if step.kind == "rule"]


Install = Callable[[], Awaitable[Installation]]
