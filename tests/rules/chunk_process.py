"""A worker for files of inputs, until it is killed: ``python -m tests.rules.chunk_process URL FOLDER MARKS [stall]``.

Each chunk that begins leaves a file in MARKS, named by its first row and this process. With ``stall`` the second chunk
never ends, so that a kill finds it half done.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.rules.policies import Claim, Verdict
from toolkit.files import FileLimits, FileStorages, FileStore, using
from toolkit.rules import RULE_WORKFLOWS, RuleService, rule
from toolkit.storage import Database
from toolkit.workflows import Engine, EngineOptions

ROWS = 5  # of a chunk
OPTIONS = EngineOptions(lease_seconds=1, poll_seconds=0.1, concurrency=2)
begun: list[int] = []


@rule()
def marking(input: Claim) -> Verdict:
    """Says no more than that it was asked."""
    row = int(input.total)
    if row % ROWS == 1:
        begun.append(row)
        (Path(sys.argv[3]) / f"{row}-{os.getpid()}").touch()
    elif "stall" in sys.argv and len(begun) == 2:
        signal.pause()
    return Verdict(approved=True, reason=str(row))


async def main(url: str, folder: Path) -> None:
    database = Database(url)
    await database.open()
    storages = FileStorages.from_configuration({"default": f"file://{folder}"}, base_folder=folder, key="x")
    store = FileStore(database, storages, limits=FileLimits())
    rules = RuleService(database, [marking])
    await rules.open()
    engine = Engine(database, workflows=RULE_WORKFLOWS, options=OPTIONS)
    engine.resources[RuleService], engine.resources[FileStore] = rules, store
    with using(store):
        await engine.open()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
