"""Activations that are planned for a moment: they happen then, once, and a change by hand withdraws them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.rules.policies import LIMITS, STRICT, approval, encode
from toolkit.access import Principal, acting_as, list_audit
from toolkit.clock import SystemClock
from toolkit.rules import RuleService
from toolkit.storage import Database

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ADA = Principal(id="ada", kind="person", display_name="Ada")


class SetClock(SystemClock):
    moment = NOON

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
async def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def services(database: Database, clock: SetClock) -> AsyncIterator[tuple[RuleService, RuleService]]:
    """Two processes on one database, with two versions uploaded."""
    one, other = (RuleService(database, [approval], clock=clock, refresh_seconds=3600) for _ in range(2))
    for service in (one, other):
        await service.open()
    for graph in (LIMITS, STRICT):
        await one.upload("approval", encode(graph))
    yield one, other
    for service in (one, other):
        await service.close()


async def test_a_planned_version_takes_over_at_its_moment_once(
    services: tuple[RuleService, RuleService], clock: SetClock, database: Database
) -> None:
    one, other = services
    with acting_as(ADA):
        planned = await one.activate("approval", 1, valid_from=NOON + timedelta(hours=1), reason="new year")
    assert (planned.active_version, planned.next_version, planned.next_at) == (None, 1, NOON + timedelta(hours=1))
    await other.refresh()
    assert other.active_version("approval") is None

    clock.moment = NOON + timedelta(hours=1)
    await other.refresh()
    await one.refresh()

    assert (one.active_version("approval"), other.active_version("approval")) == (1, 1)
    assert one.get_rule("approval").next_version is None
    (entry,) = await list_audit(database, action="rule.activated")
    assert (entry.details["planned_by"], entry.details["reason"]) == ("ada", "new year")
    assert (await one.rollback("approval")).active_version is None


async def test_a_moment_that_passed_while_nothing_ran_counts_at_the_next_start(
    services: tuple[RuleService, RuleService], clock: SetClock, database: Database
) -> None:
    await services[0].activate("approval", 2, valid_from=NOON + timedelta(hours=1))
    clock.moment = NOON + timedelta(days=3)

    late = RuleService(database, [approval], clock=clock, refresh_seconds=3600)
    await late.open()

    assert late.active_version("approval") == 2
    await late.close()


async def test_a_change_by_hand_withdraws_the_plan(services: tuple[RuleService, RuleService], clock: SetClock) -> None:
    one, _ = services
    await one.activate("approval", 1)
    await one.activate("approval", 2, valid_from=NOON + timedelta(hours=1))
    await one.rollback("approval", reason="emergency")
    clock.moment = NOON + timedelta(hours=2)
    await one.refresh()

    assert one.active_version("approval") is None
    assert one.get_rule("approval").next_at is None


async def test_a_moment_in_the_past_is_now(services: tuple[RuleService, RuleService]) -> None:
    assert (await services[0].activate("approval", 1, valid_from=NOON - timedelta(1))).active_version == 1
