"""Playing a reference workflow with one crash, and what must hold whatever the point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.crashes.references import (
    REFERENCES,
    WORKFLOWS,
    CrashEntry,
    Reference,
    count_entries,
    do_what_people_do,
    employ_people,
    outside,
)
from toolkit.storage import Database, Query, both
from toolkit.testing import Crash, Process, VirtualClock, crash_everywhere

_SUCCEEDED = both("succeeded steps", "SELECT run_id, path FROM toolkit_step WHERE state = 'succeeded'")
_LEFT = both(
    "left over",
    """SELECT w.run_id, w.path FROM toolkit_wait AS w JOIN toolkit_run AS r ON r.id = w.run_id
       WHERE w.state IN ('open', 'resolved') AND r.finished_at IS NOT NULL
       UNION ALL SELECT id, state FROM toolkit_run WHERE finished_at IS NULL""",
)


@dataclass
class Series:
    """One reference workflow, played with a crash at each of its points."""

    name: str
    faults: list[str] = field(default_factory=list)
    points: int = 0
    repeated: int = 0
    """Effects outside of the database that a crash had done again; always under the same key."""

    @property
    def reference(self) -> Reference:
        return REFERENCES[self.name]


async def play_series(name: str, url: str, *, every: int = 1) -> Series:
    """Crash before and after every commit of one reference workflow, or each third; ``url`` is an empty database."""
    await make_ledger(url)
    series = Series(name)
    booked = 0

    async def play(process: Process, key: str) -> Any:
        process.people = do_what_people_do
        finished = {f"{run_id}:{path}" for run_id, path in await process.engine.read(Query(_SUCCEEDED))}
        began: list[str] = []
        outside.on_call = began.append
        reference = series.reference
        run = await process.start(reference.workflow, reference.argument(key), idempotency_key=key)
        result = await process.result(run)
        series.faults += [f"{key}: {step} was performed after its checkpoint" for step in finished.intersection(began)]
        if result != reference.result(key):
            series.faults.append(f"{key}: came to {result!r}")
        return await _judge(process, key)

    async def _judge(process: Process, key: str) -> Any:
        nonlocal booked
        before, booked = booked, await count_entries(process)
        if booked - before != series.reference.booked:
            series.faults.append(f"{key}: booked {booked - before} instead of {series.reference.booked}")
        series.faults += [f"{key}: left over {tuple(row)}" for row in await process.engine.read(Query(_LEFT))]
        return key

    outside.calls.clear()
    played = await crash_everywhere(play, url, *WORKFLOWS, clock=VirtualClock(), prepare=employ_people, every=every)
    series.points = len(played) - 2  # the last of each series is played to its end without a crash
    series.repeated = outside.repeated
    return series


async def make_ledger(url: str) -> None:
    """Make the table in which steps book."""
    database = Database(url)
    await database.open()
    async with database.session() as session:
        connection = await session.connection()
        await connection.run_sync(CrashEntry.metadata.create_all, tables=[CrashEntry.metadata.tables["crash_entry"]])
    await database.close()


__all__ = ["Crash", "Series", "play_series"]
