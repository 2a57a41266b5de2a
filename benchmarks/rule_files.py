"""A file of inputs as a durable job, on one worker process and on two: ``python -m benchmarks.rule_files``.

Prints the rows a second, how much faster two are than one, the most memory that a worker took (its sandbox counted in)
and how many processors were busy: on a machine that does other things besides, the ratio says little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.rules import graph, pricing
from toolkit.files import File, FileLimits, FileStorages, FileStore, using
from toolkit.rules import RULE_WORKFLOWS, RuleService, evaluate_file
from toolkit.serialization import codec_for
from toolkit.storage import Database
from toolkit.workflows import Engine, EngineOptions

ROOT = Path(__file__).parents[1]
WORKER = EngineOptions(poll_seconds=0.2)
CLIENT = EngineOptions(is_worker=False)


@asynccontextmanager
async def installation(url: str, folder: Path, options: EngineOptions) -> AsyncIterator[Engine]:
    """The rooms that a job needs, in this process."""
    database = Database(url)
    await database.open()
    storages = FileStorages.from_configuration({"default": f"file://{folder}"}, base_folder=folder, key="benchmark")
    store = FileStore(database, storages, limits=FileLimits(max_bytes=500_000_000))
    rules = RuleService(database, [pricing])
    await rules.open()
    engine = Engine(database, workflows=RULE_WORKFLOWS, options=options)
    engine.resources[RuleService], engine.resources[FileStore] = rules, store
    try:
        with using(store):
            await engine.open()
            yield engine
    finally:
        await engine.close()
        await rules.close()
        await database.close()


async def work(url: str, folder: Path) -> None:
    """Be a worker until the process is asked to stop."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with installation(url, folder, WORKER):
        print("ready", flush=True)
        await stopped.wait()


@dataclass
class Watch:
    """What the processes of a job take, looked up a few times a second."""

    workers: list[int]
    most_bytes: int = 0
    processor_seconds: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        for worker in self.workers:
            family = [worker, *_children_of(worker)]
            self.most_bytes = max(self.most_bytes, sum(_resident_bytes(pid) for pid in family))
            for pid in family:
                self.processor_seconds[pid] = _processor_seconds(pid)


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()] + [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*")
        if task.name != str(pid)
        for child in _read(f"{task}/children").split()
    ]


def _resident_bytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", _read(f"/proc/{pid}/status"))
    return int(found[1]) * 1024 if found else 0


def _processor_seconds(pid: int) -> float:
    fields = _read(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if len(fields) > 12 else 0.0


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:  # it ended between two looks
        return ""


@contextmanager
def workers(count: int, url: str, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many worker processes, ready."""
    command = [sys.executable, "-m", "benchmarks.rule_files", "--worker", url, str(folder)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        yield running
    finally:
        for process in running:
            process.terminate()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


async def measure(count: int, rows: int, url: str, folder: Path) -> float:
    """The rows a second that so many workers decide."""
    async with installation(url, folder, CLIENT) as client:
        rules = client.resources[RuleService]
        assert isinstance(rules, RuleService)
        if rules.active_version("pricing") is None:
            version = await rules.upload("pricing", codec_for(dict).encode(graph()).encode())
            await rules.activate("pricing", version.number)
        lines = ("amount,country\n", *(f"{n % 1500}.{n % 100:02},{('DE', 'FR')[n % 2]}\n" for n in range(rows)))
        file = await File.upload(content="".join(lines).encode(), filename="orders.csv")
        del lines
        with workers(count, url, folder) as running:
            watch = Watch([process.pid for process in running])
            started = time.perf_counter()
            run = await client.start(evaluate_file, "pricing", file)
            ended = asyncio.ensure_future(run.result())
            while not ended.done():
                watch.look()
                await asyncio.wait([ended], timeout=0.2)
            seconds = time.perf_counter() - started
        outcome = ended.result()
    assert (outcome.rows, outcome.failed) == (rows, 0)
    spent = sum(watch.processor_seconds.values())
    print(
        f"{count} worker(s): {rows / seconds:,.0f} rows a second ({seconds:.1f} s), at most "
        f"{watch.most_bytes / 1e6:.0f} MB a worker, {spent / seconds:.2f} processors busy, "
        f"{rows / spent:,.0f} rows a second of processor time"
    )
    return rows / seconds


async def main(rows: int, database_url: str | None) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        url = database_url or f"sqlite:///{folder / 'benchmark.db'}"
        one = await measure(1, rows, url, folder)
        two = await measure(2, rows, url, folder)
        print(f"two workers / one worker: {two / one:.2f}   (target: at least 1.6 on two processors)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", help="A PostgreSQL URL; SQLite unless given.")
    parser.add_argument("--worker", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        asyncio.run(work(chosen.worker[0], Path(chosen.worker[1])))
    else:
        asyncio.run(main(chosen.rows, chosen.database))
