"""The contest: tasks are opened, fought over in batches, processes killed in between, and the record is read at the end."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.human.office import until
from tests.human.rivals.contest import Arena, contest, entered
from toolkit.human import TaskState

ROOT = Path(__file__).parents[3]
_LONGEST_WAIT = 300


@dataclass
class Report:
    """What became of the contest; ``faults`` is empty where every promise was kept."""

    tasks: int
    attempts: int = 0
    kills: int = 0
    conflicts: int = 0
    faults: list[str] = field(default_factory=list)


class Contestant:
    """A process that can be ended without warning and begun again."""

    def __init__(self, role: str, url: str) -> None:
        self._command = [sys.executable, "-m", "tests.human.rivals.contestant", role, url]

    async def begin(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, cwd=ROOT)
        assert (await self.line()) == "ready"

    async def line(self) -> str | None:
        """The next line it writes; ``None`` when it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_LONGEST_WAIT):
            read = await self._process.stdout.readline()
        return read.decode().strip() if read.endswith(b"\n") else None

    def ask(self, wanted: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wanted).encode() + b"\n")

    async def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def run_contest(
    url: str, *, tasks: int, rivals: int = 50, answerers: int = 5, batch: int = 10, kills: int = 0, seed: int = 1
) -> Report:
    """Let ``rivals``, spread over ``answerers`` processes, answer each of ``tasks``; ``kills`` of them are real."""
    chance, report = random.Random(seed), Report(tasks)
    async with entered(url, is_worker=False) as arena:
        async with arena.database.session() as session:
            table = "CREATE TABLE resumption (number INTEGER, winner TEXT, amount INTEGER)"
            await (await session.connection()).execute(text(table))
        worker = Contestant("worker", url)
        processes = [Contestant("answerer", url) for _ in range(answerers)]
        await asyncio.gather(worker.begin(), *(process.begin() for process in processes))
        try:
            runs = [(await arena.engine.start(contest, number)).id for number in range(tasks)]
            open_tasks = await _opened(arena, runs)
            batches = [open_tasks[at : at + batch] for at in range(0, tasks, batch)]
            doomed = Counter(chance.randrange(len(batches)) for _ in range(kills))
            heard: list[dict[str, Any]] = []
            for at, ids in enumerate(batches):
                shares = {process: list(range(rivals))[n::answerers] for n, process in enumerate(processes)}
                victims = {chance.choice(processes): chance.randrange(1, len(ids) * 2) for _ in range(doomed[at])}
                if at % 7 == 3 and kills:
                    await worker.kill()
                    await worker.begin()
                    report.kills += 1
                report.kills += len(victims)
                for said in await asyncio.gather(
                    *(_fight(process, ids, shares[process], dies_after=victims.get(process)) for process in processes)
                ):
                    heard += said
            await _finished(arena, runs)
            await _judge(arena, report, runs=runs, heard=heard)
        finally:
            await asyncio.gather(worker.end(), *(process.end() for process in processes))
    return report


async def _fight(
    process: Contestant, ids: Sequence[str], rivals: Sequence[int], *, dies_after: int | None
) -> list[dict[str, Any]]:
    """Every attempt that ``process`` told of; killed once on the way where ``dies_after`` says so, and begun again."""
    heard: list[dict[str, Any]] = []
    process.ask({"tasks": list(ids), "rivals": list(rivals)})
    while (line := await process.line()) != "":
        if line is None:
            raise RuntimeError("an answerer has ended by itself; its standard error says why")
        heard.append(json.loads(line))
        if len(heard) == dies_after:
            await process.kill()
            await process.begin()
            process.ask({"tasks": list(ids), "rivals": list(rivals)})
    return heard


async def _opened(arena: Arena, runs: Sequence[str]) -> list[str]:
    """The ids of the tasks, once every run has asked."""

    async def look() -> list[str] | None:
        rows = await _read(arena, "SELECT id FROM toolkit_task WHERE state = 'open' ORDER BY id")
        found = [str(row[0]) for row in rows]
        return found if len(found) == len(runs) else None

    return await until(look, seconds=_LONGEST_WAIT)


async def _finished(arena: Arena, runs: Sequence[str]) -> None:
    async def look() -> bool | None:
        query = "SELECT count(*) FROM toolkit_run WHERE state IN ('succeeded', 'failed', 'parked')"
        ((found,),) = await _read(arena, query)
        return found == len(runs) or None

    await until(look, seconds=_LONGEST_WAIT)


async def _read(arena: Arena, query: str) -> Sequence[Any]:
    async with arena.database.session() as session:
        return (await (await session.connection()).execute(text(query))).all()


async def _judge(arena: Arena, report: Report, *, runs: Sequence[str], heard: Sequence[dict[str, Any]]) -> None:
    """Compare what the rivals were told with what is on record, and that with what the runs went on with."""
    told: dict[str, set[str]] = {}
    wins = Counter(said["task"] for said in heard if said.get("has_won"))
    for said in heard:
        told.setdefault(said["task"], set()).add(said["winner"])
    report.attempts, report.conflicts = len(heard), sum(not said.get("has_won") for said in heard)
    resumed = await _read(arena, "SELECT number, winner, amount FROM resumption")
    audit = await _read(arena, "SELECT object_id FROM toolkit_audit WHERE action = 'task.completed'")
    audited = Counter(row[0] for row in audit)
    resumptions = Counter(row[0] for row in resumed)
    went_on = {row[0]: (row[1], row[2]) for row in resumed}
    for number, run_id in enumerate(runs):
        (listed,) = await arena.tasks.list(run_id=run_id)
        task = await arena.tasks.get(listed.id)
        winner, run = task.completed_by, (await arena.engine.get_run(run_id))
        checks = {
            "is not completed": task.state is TaskState.COMPLETED,
            "was won more than once": wins[task.id] <= 1,
            f"told of other winners than {winner!r}: {told.get(task.id)}": told.get(task.id) == {winner},
            "has not the winner's data": f"rival-{(task.output or {}).get('amount')}" == winner,
            f"has {audited[task.id]} entries in the audit trail": audited[task.id] == 1,
            f"let its run go on {resumptions[number]} times": resumptions[number] == 1,
            "let its run go on with another's data": went_on.get(number) == (winner, (task.output or {}).get("amount")),
            f"left its run {run.summary.state}": run.summary.state == "succeeded",
        }
        report.faults += [f"task {task.id} {fault}" for fault, is_fine in checks.items() if not is_fine]
