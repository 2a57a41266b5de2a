"""Activations under load and under fire: no run mixes versions, and no kill leaves a rule without one."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from tests.rules.installation import CLAIM, Install, decide_side_by_side, decide_twice
from tests.rules.policies import LIMITS, STRICT, approval, encode
from toolkit.access import list_audit
from toolkit.rules import RuleService
from toolkit.storage import Database

ROOT = Path(__file__).parents[2]


async def test_an_activation_while_a_hundred_runs_are_under_way_is_mixed_into_none(install: Install) -> None:
    here = await install()
    await here.activate(LIMITS)
    version = await here.rules.upload("approval", encode(STRICT))
    waiting = [await here.engine.start(decide_twice, CLAIM) for _ in range(50)]
    busy = [await here.engine.start(decide_side_by_side, CLAIM) for _ in range(25)]
    await here.rules.activate("approval", version.number)
    busy += [await here.engine.start(decide_side_by_side, CLAIM) for _ in range(25)]

    for run in waiting:
        await here.suspended(run.id)
        await here.engine.emit_event("go on", run_id=run.id)
    results = [await run.result() for run in [*waiting, *busy]]

    assert all(len(set(reasons)) == 1 for reasons in results)
    assert {reasons[0] for reasons in results} == {"ask", "strict"}


async def test_a_kill_in_the_middle_of_an_activation_leaves_the_old_or_the_new_version(database: Database) -> None:
    chance = random.Random(1)
    service = RuleService(database, [approval], refresh_seconds=3600)
    await service.open()
    for graph in (LIMITS, STRICT):
        await service.upload("approval", encode(graph))
    await service.activate("approval", 1)

    for _ in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.rules.flipping_process", database.url, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(chance.uniform(0.05, 0.3))  # any moment will do: that is what is tested
        process.kill()
        await process.wait()

        await service.refresh()
        (last, *_) = await list_audit(database, action="rule.activated", limit=1)
        assert service.active_version("approval") in {1, 2}
        assert service.active_version("approval") == last.details["version"], "the pointer and its trail are one"
        assert (await service.evaluate("approval", '{"total": 5}')).source == "override"
    await service.close()
