"""Runs that wait in the database, taken by one worker process or by two: ``python -m benchmarks.engine.workers URL N``.

The workers are up before the first run may be taken. Timed is the work on record: from the first run that was taken to
the last one that ended.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from time import process_time
from typing import Any

from benchmarks.engine import sizes
from benchmarks.engine.ours import WORKFLOWS, Reading, five_steps
from toolkit.garbage import collect_rarely
from toolkit.storage import Database, Query, both, read_moment
from toolkit.workflows import Engine, EngineOptions

_SPAN = both("span", "SELECT count(*), min(started_at), max(finished_at) FROM toolkit_run WHERE state = 'succeeded'")


async def measure(url: str, workers: int) -> dict[str, Any]:
    database = Database(url)
    await database.open()
    # A process that starts runs and takes none.
    engine = Engine(database, workflows=WORKFLOWS, options=EngineOptions(is_worker=False))
    await engine.open()
    await asyncio.gather(*(engine.start(five_steps, Reading(number=at)) for at in range(sizes.WORKERS_RUNS)))
    await engine.close()
    processes = [
        subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here
            [sys.executable, "-m", "benchmarks.engine.workers", "--worker", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(workers)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    while True:
        await asyncio.sleep(0.2)
        ((done, first, last),) = await database.reader.read(Query(_SPAN))
        if done == sizes.WORKERS_RUNS:
            break
    used = []
    for process in processes:
        output, _ = process.communicate("stop\n")
        used.append(json.loads(output.splitlines()[-1]))
    await database.close()
    began, ended = read_moment(first), read_moment(last)
    assert began is not None
    assert ended is not None
    seconds = (ended - began).total_seconds()
    return {
        "steps_per_second": sizes.WORKERS_RUNS * sizes.STEPS / seconds,
        "cpu_us_per_step": sum(used) * 1e6 / (sizes.WORKERS_RUNS * sizes.STEPS),
    }


async def work(url: str) -> None:
    """A worker: it says that it is ready, goes when it is told, and ends when it is told."""
    database = Database(url)
    await database.open()
    engine = Engine(database, workflows=WORKFLOWS)
    collect_rarely()
    print("ready", flush=True)
    sys.stdin.readline()
    await engine.open()
    before = process_time()
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(process_time() - before), flush=True)
    await engine.close()
    await database.close()


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        asyncio.run(work(sys.argv[2]))
    else:
        print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
