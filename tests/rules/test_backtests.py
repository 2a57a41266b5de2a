"""Back-tests: recorded inputs decided again by a version that decides nothing yet."""

from __future__ import annotations

from decimal import Decimal

from tests.rules.installation import Install, decide_all, decide_side_by_side
from tests.rules.policies import LIMITS, STRICT, Claim, chain, encode, expression_node, table_node


async def test_a_back_test_lists_the_decisions_that_change(install: Install) -> None:
    here = await install()
    await here.activate(LIMITS)
    for total in ("5", "50", "500"):
        run = await here.engine.start(decide_side_by_side, Claim(total=Decimal(total), category="meals"))
        await run.result()
    await here.rules.upload("approval", encode(STRICT))

    same = await here.rules.workbench.back_test("approval", 1)
    other = await here.rules.workbench.back_test("approval", 2)

    assert (same.compared, same.changed, same.failed) == (15, 0, 0)
    assert (other.compared, other.changed) == (15, 15)
    assert other.text == "Of the last 15 decisions 15 change with version 2."
    small = [one for one in other.decisions if one.input["total"] == "50"]
    assert (small[0].before["approved"], small[0].after["approved"]) == (True, False)
    assert small[0].fields == ["approved", "reason"]
    told = await here.rules.workbench.explain(small[0].decision)
    assert told.version == 1


async def test_the_limit_counts_the_latest_and_errors_are_changes(install: Install) -> None:
    here = await install()
    run = await here.engine.start(decide_side_by_side, Claim(total=Decimal(5)))
    await run.result()
    await here.rules.upload("approval", encode(chain(table_node([["> 10", "", "true", "'much'"]]))))

    found = await here.rules.workbench.back_test("approval", 1, limit=3)

    assert (found.compared, found.changed, found.failed) == (3, 3, 3)
    assert found.decisions[0].error is not None


async def test_the_inputs_of_a_batch_are_looked_at_one_by_one(install: Install) -> None:
    here = await install()
    run = await here.engine.start(decide_all, [Claim(total=Decimal(n)) for n in range(4)])
    await here.suspended(run.id)
    await here.rules.upload(
        "lenient", encode(chain(expression_node({"approved": "total > 1", "reason": "'by the function'"})))
    )

    found = await here.rules.workbench.back_test("lenient", 1)

    assert (found.compared, [one.item for one in found.decisions]) == (4, [2, 3])
