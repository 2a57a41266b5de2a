"""A worker that is told to end does so within two seconds, whatever its steps are doing, and gives its runs back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.test_serving import toolkit
from toolkit.storage import Database, Query, Script, both
from toolkit.workflows import Engine, EngineOptions

MAIN = """
import asyncio
import threading

from toolkit import Toolkit
from toolkit.workflows import gather, step, workflow

@step()
async def ask_the_world() -> None:
    print("begun: async", flush=True)
    await asyncio.sleep(600)

@step()
def block_a_thread() -> None:
    print("begun: thread", flush=True)
    threading.Event().wait(600)

@step()
async def cling() -> None:
    print("begun: clinging", flush=True)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

@step()
async def be_quick() -> str:
    print("begun: quick", flush=True)
    await asyncio.sleep(0.2)
    return "done"

@workflow()
async def do(what: str) -> None:
    if what == "stuck":
        await gather(ask_the_world(), block_a_thread(), cling())
    await be_quick()
    await ask_the_world()

app = Toolkit(title="Drained").register_workflow(do)
"""
CONFIG = "database: {{url: '{url}'}}\nworker: {{lease_seconds: 60, drain_seconds: 0.5}}\n"
_RUNS = both("runs", "SELECT r.state, r.worker_id FROM toolkit_run AS r ORDER BY r.id")
_STEPS = both("steps", "SELECT path FROM toolkit_step WHERE state = 'succeeded'")


@pytest.mark.parametrize("what", ["stuck", "quick"])
async def test_a_worker_ends_within_two_seconds_and_gives_its_run_back(
    database: Database, tmp_path: Path, what: str
) -> None:
    (tmp_path / "main.py").write_text(MAIN, "utf-8")
    (tmp_path / "toolkit.yaml").write_text(CONFIG.format(url=database.url), "utf-8")
    engine = Engine(database, options=EngineOptions(is_worker=False))
    await engine.open()
    with toolkit("worker", "--env", "dev", cwd=tmp_path) as served:
        await asyncio.to_thread(served.wait_for, "The worker is ready")
        await start(database, what)
        for begun in ["async", "thread", "clinging"] if what == "stuck" else ["quick"]:
            await asyncio.to_thread(served.wait_for, f"begun: {begun}")

        code, seconds = await asyncio.to_thread(served.stop)

    assert code == 0, served.printed
    assert seconds < 2
    assert await database.reader.read(Query(_RUNS)) == [("pending", None)], "nobody has to wait for its lease"
    done = [path for (path,) in await database.reader.read(Query(_STEPS))]
    assert done == (["be_quick/0"] if what == "quick" else [])
    await engine.close()


async def start(database: Database, what: str) -> None:
    """Leave a run for the worker, as a program would that knows the workflow by its name alone."""
    insert = both(
        "leave run",
        "INSERT INTO toolkit_run (id, workflow, state, input, input_digest, priority, epoch, due_at, losses, "
        "total_losses, created_at) SELECT 'the run', 'do', 'pending', $1, '', 0, 0, moment, 0, 0, moment "
        f"FROM (SELECT {'?2' if database.dialect == 'sqlite' else '$2::timestamptz'} AS moment) AS m",
    )
    await database.writer.run(_write(Query(insert, [f'{{"what": "{what}"}}', database.clock.now()])))


def _write(query: Query) -> Script[None]:
    yield query
