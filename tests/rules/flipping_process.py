"""Activates two versions in turn until it is killed: ``python -m tests.rules.flipping_process URL``."""

from __future__ import annotations

import asyncio
import sys

from tests.rules.policies import approval
from toolkit.rules import RuleService
from toolkit.storage import Database


async def main(url: str) -> None:
    database = Database(url)
    await database.open()
    service = RuleService(database, [approval], refresh_seconds=3600)
    await service.open()
    print("ready", flush=True)
    while True:
        for number in (1, 2):
            if service.active_version("approval") != number:
                await service.activate("approval", number)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
