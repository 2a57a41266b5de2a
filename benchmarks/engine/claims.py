"""Claiming from a table of a million waiting and a million finished runs, beside claiming from an empty one:
``python -m benchmarks.engine.claims URL EMPTY_URL``.

Half of those that wait sleep until a day next month. Timed is the claim, which is the batch that looks for due runs,
locks them and takes them, with ten runs due each time; and what a worker asks beside it: is a suspect due, and when is
the next run.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.engine import sizes
from toolkit.ids import new_id
from toolkit.storage import Database, Query, Script, Statement, both
from toolkit.workflows import statements as sql
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.operations import ClaimRuns, NewRun, StartRun

ROUNDS, DUE = 60, 10

_COLUMNS = (
    "id, workflow, state, input, input_digest, priority, epoch, losses, total_losses, created_at, finished_at, due_at"
)

FILL = Statement(
    "fill",
    sqlite=f"""WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?2)
               INSERT INTO toolkit_run ({_COLUMNS})
               SELECT ?1 || n, 'fills', ?1, '{{}}', '', 0, 1, 0, 0, ?3, CASE WHEN ?1 = 'succeeded' THEN ?3 END,
                      CASE WHEN ?1 = 'suspended' AND n % 2 THEN ?4 END
               FROM n""",
    postgresql=f"""INSERT INTO toolkit_run ({_COLUMNS})
                   SELECT $1::text || n, 'fills', $1::text, '{{}}', '', 0, 1, 0, 0, $3::timestamptz,
                          CASE WHEN $1::text = 'succeeded' THEN $3::timestamptz END,
                          CASE WHEN $1::text = 'suspended' AND n % 2 = 1 THEN $4::timestamptz END
                   FROM generate_series(1, $2::int) AS n""",
)
ANALYZE = both("analyze", "ANALYZE toolkit_run")


def fill(rows: int) -> Script[None]:
    for state in ("suspended", "succeeded"):
        now = datetime.now(UTC)
        yield Query(FILL, [state, rows, now, now + timedelta(days=30)])


async def claim_times(database: Database) -> list[float]:
    """Seconds for a claim of ten runs, again and again."""
    took = []
    for _ in range(ROUNDS):
        now = datetime.now(UTC)
        new = [StartRun(NewRun(new_id(), "claimed", "{}", "")) for _ in range(DUE)]
        away = Worker("benchmark", room=0, closers={}, new_id=new_id)  # without room, the runs stay pending
        await database.writer.run(commit(new, worker=away, own_now=now))
        here = Worker("benchmark", room=DUE, closers={}, new_id=new_id)
        began = perf_counter()
        outcomes, _ = await database.writer.run(
            commit([ClaimRuns(DUE, ["claimed", "fills"])], worker=here, own_now=datetime.now(UTC))
        )
        took.append(perf_counter() - began)
        assert outcomes == [DUE], outcomes
    return took


async def look_times(database: Database) -> list[float]:
    """Seconds for asking whether a suspect is due, and when the next run is."""
    took = []
    for _ in range(ROUNDS):
        now = datetime.now(UTC)
        began = perf_counter()
        await database.reader.read(Query(sql.DUE_SUSPECTS, [now, ["claimed", "fills"]]))
        await database.reader.read(Query(sql.NEXT_DUE, [now]))
        took.append(perf_counter() - began)
    return took


async def plan(database: Database) -> str:
    """How the database finds the runs that are due."""
    now = datetime.now(UTC)
    parameters: list[Any] = [now, "benchmark", now, ["claimed", "fills"], False, DUE]
    explain = Statement("explain", f"EXPLAIN QUERY PLAN {sql.DUE_RUNS.sqlite}", f"EXPLAIN {sql.DUE_RUNS.postgresql}")
    rows = await database.writer.read(Query(explain, parameters))
    return " | ".join(str(row[-1]).strip() for row in rows)


async def main(url: str, empty_url: str) -> None:
    full, empty = Database(url), Database(empty_url)
    await full.open()
    await empty.open()
    await full.writer.run(fill(sizes.CLAIM_ROWS))
    if full.dialect == "postgresql":  # its server does so by itself; SQLite has nobody who would
        await full.writer.read(Query(ANALYZE))
    await claim_times(full)  # every page that a claim needs has been read once, as on a server that is up
    await claim_times(empty)
    from_full, from_empty = median(await claim_times(full)), median(await claim_times(empty))
    found = await plan(full)
    looks_in_full, looks_in_empty = median(await look_times(full)), median(await look_times(empty))
    print(
        json.dumps(
            {
                "full_ms": from_full * 1000,
                "empty_ms": from_empty * 1000,
                "times_empty": from_full / from_empty,
                "look_full_ms": looks_in_full * 1000,
                "look_empty_ms": looks_in_empty * 1000,
                "uses_index": "ix_toolkit_run_due" in found,
                "plan": found,
            }
        ),
        flush=True,
    )
    await full.close()
    await empty.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
