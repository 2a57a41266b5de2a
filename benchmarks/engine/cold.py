"""From nothing to the end of a first run: ``python -m benchmarks.engine.cold ours|peer URL`` prints when it is done."""

from __future__ import annotations

import asyncio
import sys


async def ours(url: str) -> None:
    from toolkit.storage import Database
    from toolkit.workflows import Engine, step, workflow

    @step()
    async def greet(name: str) -> str:
        return f"Hello {name}"

    @workflow()
    async def welcome(name: str) -> str:
        return await greet(name)

    database = Database(url)
    await database.open()
    engine = Engine(database, workflows=[welcome])
    await engine.open()
    handle = await engine.start(welcome, "Ada")
    print(await handle.result(), flush=True)
    await engine.close()
    await database.close()


async def peer(url: str) -> None:
    from dbos import DBOS, DBOSConfig

    @DBOS.step()
    async def greet(name: str) -> str:
        return f"Hello {name}"

    @DBOS.workflow()
    async def welcome(name: str) -> str:
        return await greet(name)

    config: DBOSConfig = {"name": "benchmark", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    print(await welcome("Ada"), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run({"ours": ours, "peer": peer}[sys.argv[1]](sys.argv[2]))
