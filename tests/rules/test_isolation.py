"""Graphs that could harm the process decide outside of it, and only so often if they do harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.rules.installation import RULES, lenient
from tests.rules.policies import (
    Claim,
    Verdict,
    approval,
    chain,
    encode,
    expression_node,
    table_node,
)
from toolkit.access import list_audit
from toolkit.errors import Conflict, RuleEvaluationError, RuleNoMatch
from toolkit.rules import RuleService, rule
from toolkit.storage import Database

# Forty doublings that no dry run sees: only a long vendor sets them off.
BOMB = chain(
    expression_node(
        {
            "x0": "len(vendor) > 40 ? 'aaaaaaaaaaaaaaaa' : 'a'",
            **{f"x{n}": f"len(vendor) > 40 ? $.x{n - 1} + $.x{n - 1} : 'a'" for n in range(1, 41)},
            "approved": "len($.x40) > 0",
        }
    )
)
HARMLESS = '{"total": 5}'
DEADLY = '{"total": 5, "vendor": "' + "v" * 50 + '"}'


async def activated(service: RuleService, graph: dict[str, Any], name: str = "approval") -> None:
    version = await service.upload(name, encode(graph))
    await service.activate(name, version.number)


async def test_a_graph_that_would_kill_the_process_kills_its_sandbox_three_times_at_most(service: RuleService) -> None:
    await activated(service, BOMB)
    assert (await service.evaluate("approval", HARMLESS)).output["approved"] is True

    for _ in range(3):
        with pytest.raises(RuleEvaluationError, match="its evaluation was ended"):
            await service.evaluate("approval", DEADLY)

    started = time.monotonic()
    with pytest.raises(RuleEvaluationError, match="not evaluated any more"):
        await service.evaluate("approval", HARMLESS)
    assert time.monotonic() - started < 1


async def test_others_go_on_while_a_graph_runs_wild(service: RuleService) -> None:
    await activated(service, BOMB)
    await service.evaluate("approval", HARMLESS)
    longest, wild = 0.0, asyncio.ensure_future(service.evaluate_batch("approval", [{"total": 5, "vendor": "v" * 50}]))
    while not wild.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        longest = max(longest, time.monotonic() - before)

    (item,) = wild.result()
    assert item.error is not None
    assert longest < 0.5


async def test_an_isolated_version_decides_as_it_would_in_the_process(service: RuleService) -> None:
    isolated = chain(table_node([["<= 5000", "'travel'", "true", "`${vendor}`"], ["<= 100", "", "true", "'small'"]]))
    await activated(service, isolated)
    inputs = [{"total": str(Decimal(n) * 37 / 2), "category": ["travel", "meals"][n % 2]} for n in range(400)]
    apart = await service.evaluate_batch("approval", inputs)

    await service.trust("approval", 1, reason="measured")
    here = await service.evaluate_batch("approval", inputs)

    assert here == apart
    assert any(item.error for item in here)
    assert any(item.output for item in here)


async def test_who_answers_for_a_version_is_on_record_and_can_take_it_back(
    service: RuleService, database: Database
) -> None:
    await activated(service, BOMB)
    override = await service.override("approval", 1)
    assert override.isolated is not None
    assert override.record["isolated"] is True

    assert (await service.trust("approval", 1, reason="vendors are short")).trusted is True
    assert (await service.override("approval", 1)).isolated is None
    with pytest.raises(Conflict):
        await service.trust("approval", 1, reason="again")

    assert (await service.distrust("approval", 1)).trusted is False
    assert (await service.override("approval", 1)).isolated is not None
    with pytest.raises(Conflict):
        await service.distrust("approval", 1)
    actions = [entry.action for entry in await list_audit(database, object_id="approval", limit=2)]
    assert actions == ["rule.distrusted", "rule.trusted"]


@pytest.fixture
async def other(database: Database) -> AsyncIterator[RuleService]:
    """Another process on the same database."""
    service = RuleService(database, RULES, refresh_seconds=3600)
    await service.open()
    yield service
    await service.close()


async def test_other_processes_hear_of_trust(service: RuleService, other: RuleService) -> None:
    await activated(service, BOMB)
    await other.refresh()
    assert (await other.override("approval", 1)).isolated is not None

    await service.trust("approval", 1, reason="vendors are short")
    await other.refresh()

    assert (await other.override("approval", 1)).isolated is None
    assert other.active_version("approval") == 1


@rule(on_no_match="default")
def forgiving(input: Claim) -> Verdict:
    return Verdict(approved=False, reason="by the function")


async def test_an_isolated_version_falls_back_like_any_other(service: RuleService) -> None:
    service.register(forgiving)
    service.register(lenient)
    graph = chain(table_node([["<= 10", "", "true", "`${vendor}`"]]))
    for name in ("approval", "forgiving"):
        await activated(service, graph, name)

    assert (await service.evaluate("forgiving", '{"total": 500}')).output["reason"] == "by the function"
    with pytest.raises(RuleNoMatch):
        await service.evaluate(approval.name, '{"total": 500}')
