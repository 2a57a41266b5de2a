"""A file job outlives its workers: killed in the middle of a chunk, it goes on elsewhere and repeats no other chunk."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.rules.chunk_process import ROWS
from toolkit.files import File, FileLimits, FileStorages, FileStore, using
from toolkit.rules import RULE_WORKFLOWS, evaluate_file
from toolkit.storage import Database
from toolkit.workflows import Engine, EngineOptions

ROOT = Path(__file__).parents[2]
CHUNKS = 8


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[Engine]:
    """Starts jobs and leaves them to others."""
    storages = FileStorages.from_configuration({"default": f"file://{tmp_path}"}, base_folder=tmp_path, key="x")
    engine = Engine(database, workflows=RULE_WORKFLOWS, options=EngineOptions(is_worker=False, poll_seconds=0.1))
    with using(FileStore(database, storages, limits=FileLimits())):
        await engine.open()
        yield engine
        await engine.close()


async def start(database: Database, folder: Path, marks: Path, *more: str) -> asyncio.subprocess.Process:
    arguments = [database.url, str(folder), str(marks), *more]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.rules.chunk_process", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)  # another process has to get there


@pytest.mark.kill
async def test_a_worker_killed_in_the_middle_of_a_chunk_repeats_that_chunk_only(
    client: Engine, database: Database, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    rows = "".join(f"{n}\n" for n in range(1, CHUNKS * ROWS + 1))
    file = await File.upload(content=f"total\n{rows}".encode(), filename="claims.csv")

    stalling = await start(database, tmp_path, marks, "stall")
    run = await client.start(evaluate_file, "marking", file, rows_per_chunk=ROWS)
    await until(lambda: len(list(marks.iterdir())) == 2)
    stalling.kill()
    await stalling.wait()
    other = await start(database, tmp_path, marks)
    outcome = await run.result()
    other.kill()
    await other.wait()

    begun = Counter(mark.name.partition("-")[0] for mark in marks.iterdir())
    assert sorted(begun.values()) == [1] * (CHUNKS - 1) + [2], "the chunk under way, and no other, was decided twice"
    lines = [json.loads(line) for part in outcome.results for line in (await part.read()).splitlines()]
    assert [line["line"] for line in lines] == list(range(2, CHUNKS * ROWS + 2))
    assert [line["output"]["reason"] for line in lines] == [str(n) for n in range(1, CHUNKS * ROWS + 1)]
    assert (outcome.rows, outcome.failed) == (CHUNKS * ROWS, 0)
