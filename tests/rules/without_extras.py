"""Runs where zen-engine, openpyxl and pyarrow cannot be imported; see ``test_extras.py``.

The database has a version of ``approval`` that is active. Prints what each call gave or raised, one a line.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from tests.rules.installation import CLAIM, decide_leniently, lenient, newest
from tests.rules.policies import LIMITS, STRICT, approval, encode
from toolkit.errors import ToolkitError
from toolkit.rules import RuleService, read_spreadsheet, write_spreadsheet
from toolkit.storage import Database
from toolkit.workflows import Engine

CLAIM_TEXT = '{"total": 500}'


async def say(name: str, call: Callable[[], Awaitable[Any]]) -> None:
    try:
        print(f"{name}: {await call()}")
    except ToolkitError as error:
        print(f"{name}: {type(error).__name__}: {error}")


async def main(url: str) -> None:
    database = Database(url)
    await database.open()
    service = RuleService(database, [approval, newest, lenient], refresh_seconds=3600)
    await service.open()
    engine = Engine(database, workflows=[decide_leniently])
    engine.resources[RuleService] = service
    await engine.open()
    handle = await engine.start(decide_leniently, CLAIM)
    await say("function in a run", handle.result)
    await say("function", lambda: output(service, "newest"))
    await say("starter graph", lambda: nodes(service))
    await say("override", lambda: output(service, "approval"))
    await say("override in a batch", lambda: batch(service))
    await say("upload", lambda: service.upload("approval", encode(STRICT)))
    await say("activate", lambda: service.activate("approval", 1))
    await say("simulate", lambda: service.workbench.simulate("approval", encode(LIMITS), CLAIM_TEXT))
    await say("deactivate", lambda: deactivate(service))
    await say("function again", lambda: output(service, "approval"))
    assert read_spreadsheet(write_spreadsheet(LIMITS, "csv"), "csv", LIMITS)
    await say("excel", lambda: asyncio.to_thread(write_spreadsheet, LIMITS, "xlsx"))
    await engine.close()
    await service.close()
    await database.close()


async def output(service: RuleService, name: str) -> str:
    return str((await service.evaluate(name, CLAIM_TEXT)).output["reason"])


async def batch(service: RuleService) -> str:
    (item,) = await service.evaluate_batch("approval", [{"total": 500}])
    return str(item.error)


async def nodes(service: RuleService) -> int:
    return len(service.starter_graph("approval")["nodes"])


async def deactivate(service: RuleService) -> str:
    return (await service.deactivate("approval")).source


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
