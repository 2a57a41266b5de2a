"""A hundred thousand open tasks: ``python -m tests.human.inbox_load --database postgresql`` fills an inbox and times it.

The time is that at the server: from the request in front of the application to the last byte of its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from sqlalchemy import text

from tests.human.office import MORE, Office, ask_by_name, until
from tests.kills.__main__ import database_in
from toolkit import Toolkit
from toolkit.config import Settings
from toolkit.human import Task
from toolkit.storage import Database

LIMIT_SECONDS = 0.05
_ROUNDS = 200


async def fill(office: Office, count: int) -> None:
    """``count`` open tasks: most for one big group, one in a thousand for Ada."""
    step = 10_000
    for first in range(1, count + 1, step):  # a transaction may not hold up others for long
        await _fill_some(office.database, first, min(first + step - 1, count))
    async with office.database.session() as session:
        await (await session.connection()).execute(text("ANALYZE"))


async def _fill_some(database: Database, first: int, last: int) -> None:
    """The tasks of these numbers, each due as many minutes after the year 2030 has begun."""
    if database.dialect == "sqlite":
        numbers = (
            f"(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last}) SELECT n FROM c)"
        )
        identity = "printf('%036d', n)"
        due = "strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', '2030-01-01', '+' || n || ' minutes')"
    else:
        numbers = f"generate_series({first}, {last}) AS s(n)"
        identity = "lpad(n::text, 36, '0')"
        due = "timestamptz '2030-01-01T00:00:00Z' + n * interval '1 minute'"
    actor = "CASE WHEN n % 1000 = 0 THEN 'user:ada' ELSE 'group:finance' END"
    async with database.session() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO toolkit_task (id, name, title, workflow, run_id, state, input, files, "
                "output_schema_digest, candidates, prepared_by, four_eyes, priority, due_at, due_order, ladder, "
                f"created_at, version) SELECT {identity}, 'claimable', 'T', 'w', 'r', 'open', 'null', '[]', 'd', '[]', "
                f"'[]', 0, 0, {due}, {due}, '[]', {due}, 1 FROM {numbers}"
            )
        )
        await connection.execute(
            text(
                "INSERT INTO toolkit_task_inbox (task_id, actor, due_order, priority) "
                f"SELECT {identity}, {actor}, {due}, 0 FROM {numbers}"
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.human.inbox_load", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--database", default="sqlite", choices=("sqlite", "postgresql"))
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="inbox-") as name,
        database_in(Path(name), arguments.database) as url,
    ):
        took = asyncio.run(_measure(url, folder=Path(name), count=arguments.tasks))
    for what, seconds in took.items():
        best, middle, worst = min(seconds), statistics.median(seconds), sorted(seconds)[int(len(seconds) * 0.95) - 1]
        print(
            f"{arguments.database}, {arguments.tasks:,} open tasks, {what}: median {middle * 1000:.1f} ms, "
            f"95 % below {worst * 1000:.1f} ms, best {best * 1000:.1f} ms"
        )
    return 0 if statistics.median(took["first page of mine"]) < LIMIT_SECONDS else 1


async def _measure(url: str, *, folder: Path, count: int) -> dict[str, list[float]]:
    """Seconds of each request: the first page of "mine, due soonest", a later one, and answering a task."""
    office = Office(url)
    await office.open()
    await office.staff()
    await fill(office, count)
    await office.close()
    app = Toolkit(title="Inbox").register_workflow(ask_by_name)
    for human in MORE.values():
        app.register_human(human)
    took: dict[str, list[float]] = {"first page of mine": [], "tenth page of mine": [], "answer to one": []}
    settings = Settings.of({"database": {"url": url}}, folder=folder)
    async with (
        app.running(settings=settings),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost", timeout=60) as http,
    ):

        async def timed(what: str, method: str, path: str, **body: object) -> httpx2.Response:
            began = time.perf_counter()
            response = await http.request(
                method,
                f"/toolkit/v1{path}",
                headers={"x-toolkit-user": "bob"},
                **body,  # type: ignore[arg-type]
            )
            took[what].append(time.perf_counter() - began)
            assert response.status_code == 200, response.text
            return response

        for _ in range(_ROUNDS):
            page = (await timed("first page of mine", "GET", "/human-tasks?mine=true&limit=50")).json()
            assert len(page["items"]) == 50
        ninth = page["next"]
        for _ in range(8):
            address = f"/toolkit/v1/human-tasks?mine=true&limit=50&after={ninth}"
            ninth = (await http.get(address, headers={"x-toolkit-user": "bob"})).json()["next"]
        for _ in range(_ROUNDS // 2):
            await timed("tenth page of mine", "GET", f"/human-tasks?mine=true&limit=50&after={ninth}")
        for _ in range(_ROUNDS // 10):
            run = await app.services.engine.start(ask_by_name, "mine", [])

            async def opened(run_id: str = run.id) -> Task | None:
                found = await app.services.tasks.list(run_id=run_id)
                return found[0] if found else None

            path = f"/human-tasks/{(await until(opened)).id}/complete"
            await timed("answer to one", "POST", path, json={"output": {"approved": True}})
    return took


if __name__ == "__main__":
    sys.exit(main())
