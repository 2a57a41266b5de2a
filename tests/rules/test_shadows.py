"""Shadow mode: a version beside the one that decides, counted and never used."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.rules.installation import Install, decide_side_by_side
from tests.rules.policies import LIMITS, STRICT, Claim, chain, encode, table_node
from toolkit.errors import Conflict, NotFound
from toolkit.rules.shadows import MOST_WAITING


async def test_a_shadow_counts_what_it_would_have_decided_otherwise(install: Install) -> None:
    here = await install()
    await here.activate(LIMITS)
    await here.rules.upload("approval", encode(STRICT))
    with pytest.raises(NotFound):
        await here.rules.shadow("approval")
    await here.rules.start_shadow("approval", 2)
    with pytest.raises(Conflict):
        await here.rules.start_shadow("approval", 2)

    for total in ("5000", "50"):
        run = await here.engine.start(decide_side_by_side, Claim(total=Decimal(total), category="meals"))
        await run.result()
    await here.rules.shadows.settle()
    shadow = await here.rules.shadow("approval")

    assert (shadow.version, shadow.compared, shadow.changed, shadow.failed) == (2, 10, 10, 0)
    assert {tuple(one.fields) for one in shadow.differences} == {("reason",), ("approved", "reason")}
    told = await here.rules.workbench.explain(shadow.differences[0].decision)
    assert told.version == 1, "what decided is the version before"

    ended = await here.rules.stop_shadow("approval")
    assert ended.ended_at is not None
    run = await here.engine.start(decide_side_by_side, Claim(total=Decimal(1)))
    await run.result()
    await here.rules.shadows.settle()
    assert (await here.rules.shadow("approval")).compared == 10
    with pytest.raises(Conflict):
        await here.rules.stop_shadow("approval")


async def test_a_shadow_goes_on_after_a_restart_and_beside_the_function(install: Install) -> None:
    here = await install()
    await here.rules.upload("approval", encode(chain(table_node([["> 10", "", "true", "'much'"]]))))
    await here.rules.start_shadow("approval", 1)
    here = await install()

    run = await here.engine.start(decide_side_by_side, Claim(total=Decimal(5)))
    assert await run.result() == ["by the function"] * 5
    await here.rules.shadows.settle()

    shadow = await here.rules.shadow("approval")
    assert (shadow.compared, shadow.changed, shadow.failed, shadow.skipped) == (5, 0, 5, 0)


async def test_decisions_that_come_too_fast_are_left_out_and_counted(install: Install) -> None:
    here = await install()
    version = await here.rules.upload("approval", encode(LIMITS))
    await here.rules.start_shadow("approval", version.number)
    rule = here.rules.find("approval")
    claim = Claim(total=Decimal(5))

    for number in range(MOST_WAITING + 3):
        here.rules.shadows.offer(rule, claim, rule.decide(claim), run_id="r", path=f"approval/{number}")
    await here.rules.shadows.settle()

    shadow = await here.rules.shadow("approval")
    assert (shadow.compared, shadow.skipped) == (MOST_WAITING, 3)
    assert len(shadow.differences) == 200
