"""JavaScript in a graph: refused unless an operator allows it, and then never outside the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import pytest

from tests.rules.hostile import JAVASCRIPT_THAT_WAITS, javascript, waiting
from tests.rules.policies import Claim, approval, encode
from toolkit.errors import Conflict, RuleEvaluationError, RuleGraphInvalid, RuleVersionRefused
from toolkit.rules import RuleService, Sandbox
from toolkit.rules.isolation import IsolatedEngine
from toolkit.rules.overrides import Override
from toolkit.rules.uploads import check_upload
from toolkit.rules.validation import Surroundings
from toolkit.storage import Database

DOUBLE = javascript("return {approved: input.total * 2 > 10, reason: input.vendor.toUpperCase()}")
CLAIM = '{"total": 6}'


@pytest.fixture
async def allowing(database: Database) -> AsyncIterator[RuleService]:
    service = RuleService(database, [approval], refresh_seconds=3600, allows_functions=True)
    await service.open()
    yield service
    await service.close()


async def test_javascript_is_refused_unless_an_operator_allows_it(service: RuleService) -> None:
    with pytest.raises(RuleGraphInvalid, match=r"an operator may allow it: `rules\.function_nodes: true`"):
        await service.upload("approval", encode(DOUBLE))


async def test_allowed_it_decides_in_the_sandbox_and_nobody_can_answer_for_it(allowing: RuleService) -> None:
    version = await allowing.upload("approval", encode(DOUBLE))
    await allowing.activate("approval", version.number)

    decided = await allowing.evaluate("approval", CLAIM)

    assert decided.output == {"approved": True, "reason": "ACME", "limit": None}
    assert "inexact_numbers" in [issue.code for issue in version.report.issues]
    assert (await allowing.override("approval", 1)).isolated is not None
    with pytest.raises(Conflict, match="never leaves the sandbox"):
        await allowing.trust("approval", 1, reason="we wrote it")


async def test_a_version_with_javascript_is_refused_where_it_is_not_allowed_any_more(
    allowing: RuleService, database: Database
) -> None:
    await allowing.upload("approval", encode(DOUBLE))
    await allowing.activate("approval", 1)
    service = RuleService(database, [approval], refresh_seconds=3600)
    await service.open()

    with pytest.raises(RuleVersionRefused, match="does not allow any more"):
        await service.evaluate("approval", CLAIM)
    await service.close()


@pytest.fixture(scope="module")
def isolated() -> Iterator[IsolatedEngine]:
    engine = IsolatedEngine(size=1)
    yield engine
    engine.close()


@pytest.mark.parametrize("attack", JAVASCRIPT_THAT_WAITS)
def test_what_javascript_does_stays_in_the_sandbox(attack: str, sandbox: Sandbox, isolated: IsolatedEngine) -> None:
    compiled = check_upload(approval, encode(waiting(attack)), sandbox, Surroundings(allows_functions=True)).compiled
    override = Override(approval.contract, compiled, isolated, number=1, sha256="")
    override.load()

    with pytest.raises(RuleEvaluationError) as refused:
        override.decide(Claim(total=Decimal(6), vendor="somebody else"))

    assert "\n" not in refused.value.reason
    assert override.decide(Claim(total=Decimal(6)))[0].approved is True
