"""Stored cases: what every version must still decide, and the gate that they are."""

from __future__ import annotations

import pytest

from tests.rules.installation import CLAIM, Install, decide_side_by_side
from tests.rules.policies import LIMITS, STRICT, Claim, Verdict, approval, encode
from toolkit.access import Principal, acting_as, list_audit
from toolkit.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from toolkit.rules import RuleService, rule
from toolkit.storage import Database

ADA, BOB = (Principal(id=name, kind="person", display_name=name) for name in ("ada", "bob"))


@rule(needs_second_person=True)
def careful(input: Claim) -> Verdict:
    return Verdict(approved=False)


async def put(service: RuleService, name: str, input: str, expected: str) -> None:
    await service.workbench.put_case("approval", name, input=input, expected=expected)


async def test_a_case_is_kept_changed_and_deleted_with_a_trail(service: RuleService, database: Database) -> None:
    await put(service, "small", '{"total": "5"}', '{"approved": false}')
    await put(service, "small", '{"total": "5"}', '{"approved": true}')

    (case,) = await service.workbench.list_cases("approval")
    assert (case.input, case.expected) == ({"total": "5"}, {"approved": True})
    await service.workbench.delete_case("approval", "small")
    assert await service.workbench.list_cases("approval") == []
    with pytest.raises(NotFound):
        await service.workbench.delete_case("approval", "small")
    actions = [entry.action for entry in await list_audit(database, object_id="approval")]
    assert actions == ["rule.case_deleted", "rule.case_changed", "rule.case_changed"]


@pytest.mark.parametrize(
    ("input", "expected", "place"),
    [
        ('{"total": "much"}', '{"approved": true}', "input.total"),
        ('{"total": 5}', '{"reason": "x"}', "expected.approved"),
    ],
)
async def test_a_case_that_does_not_fit_the_models_is_refused(
    service: RuleService, input: str, expected: str, place: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await put(service, "wrong", input, expected)

    assert [error["loc"] for error in caught.value.errors] == [place]


async def test_cases_tell_what_differs_and_which_rows_they_never_reach(service: RuleService) -> None:
    await service.upload("approval", encode(LIMITS))
    await put(service, "a small meal", '{"total": "99.99", "category": "meals"}', '{"approved": true}')
    await put(service, "a journey", '{"total": 5001, "category": "travel"}', '{"approved": true, "reason": "ask"}')

    by_version = await service.workbench.run_cases("approval", version=1)
    by_function = await service.workbench.run_cases("approval", version=None)

    assert (by_version.passed, by_version.failed) == (1, 1)
    journey, meal = by_version.results
    assert journey.differences == ["approved: expected True, found False"]
    assert (meal.passed, meal.rows) == (True, ["node1/r2"])
    assert by_version.coverage is not None
    assert (by_version.coverage.percent, by_version.coverage.never_hit) == (66, ["node1/r1"])
    assert (by_function.passed, by_function.coverage) == (1, None)


async def test_a_version_that_fails_a_case_is_activated_by_force_with_a_reason_only(
    service: RuleService, database: Database
) -> None:
    await service.upload("approval", encode(STRICT))
    await put(service, "small", '{"total": "99"}', '{"approved": true}')

    with pytest.raises(Conflict, match="1 of 1 stored cases fail") as caught:
        await service.activate("approval", 1)
    assert caught.value.details["failing"] == ["small"]
    with pytest.raises(InvalidInput, match="needs a reason"):
        await service.activate("approval", 1, force=True)
    assert service.active_version("approval") is None

    await service.activate("approval", 1, force=True, reason="the limit is meant to be lower")
    assert service.active_version("approval") == 1
    (entry, *_) = await list_audit(database, action="rule.activated")
    assert entry.details["forced"] == ["small"]


async def test_nobody_activates_their_own_version_where_a_second_person_is_asked_for(service: RuleService) -> None:
    service.register(careful)
    with acting_as(ADA):
        await service.upload("careful", encode(LIMITS))
        with pytest.raises(PermissionDenied, match="second person"):
            await service.activate("careful", 1)
    with acting_as(BOB):
        assert (await service.activate("careful", 1)).active_version == 1


async def test_production_covers_rows_too(install: Install) -> None:
    here = await install()
    await here.activate(LIMITS)
    run = await here.engine.start(decide_side_by_side, CLAIM)
    await run.result()

    coverage = await here.rules.workbench.coverage(approval.name, 1)

    assert coverage.hits == {"node1/r3": 5}
    assert coverage.never_hit == ["node1/r1", "node1/r2"]
