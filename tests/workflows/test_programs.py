"""A program that fails with its engine open ends, and what it began goes on in the next one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.workflows.conftest import until
from toolkit.storage import Database
from toolkit.workflows import Engine, EngineOptions, RunFilter, RunState, step, workflow

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, sys
from tests.workflows.test_programs import count, done, engine_at

async def main():
    engine = engine_at(sys.argv[1])
    await engine.database.open()
    await engine.open()
    for run in range(20):
        await engine.start(count, 100, idempotency_key=f"run-{run}")
    while len(done) < 100:
        await asyncio.sleep(0)
    raise LookupError("the program failed")

asyncio.run(main())
"""

done: list[int] = []


@step()
async def add(number: int) -> int:
    done.append(number)
    return number + 1


@workflow()
async def count(steps: int) -> int:
    number = 0
    for _ in range(steps):
        number = await add(number)
    return number


def engine_at(url: str) -> Engine:
    return Engine(Database(url), workflows=[count], options=EngineOptions(lease_seconds=1.0))


async def test_a_program_that_fails_during_commits_ends_and_loses_nothing(database_url: str) -> None:
    async with asyncio.timeout(60):
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, database_url, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await program.communicate()
    assert b"LookupError: the program failed" in errors
    assert program.returncode == 1

    engine = engine_at(database_url)
    await engine.database.open()
    await engine.open()
    try:

        async def all_have_succeeded() -> bool:
            return await engine.count_runs(RunFilter(states=[RunState.SUCCEEDED])) == 20

        await until(all_have_succeeded)
    finally:
        await engine.close()
        await engine.database.close()
