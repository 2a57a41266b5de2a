"""A family that grows between the look for it and its locks is cancelled whole."""

from __future__ import annotations

from typing import Any

from tests.workflows.test_batches import NOW, run_batch, start
from toolkit.storage import Database, Deferred
from toolkit.workflows import statements as sql
from toolkit.workflows.batches import Worker, commit
from toolkit.workflows.operations import CancelRun, NewRun, StartRun


async def test_a_cancel_waits_for_a_child_that_began_after_the_family_was_read(database: Database) -> None:
    await run_batch(database, start())
    await run_batch(database, StartRun(NewRun("child", "w", "{}", "digest", parent_id="run")))
    worker = Worker("worker", room=10, closers={}, new_id=lambda: "")

    def without_the_first_look() -> Any:
        script = commit([CancelRun("run", reason=None, by=None)], worker=worker, own_now=NOW)
        request, is_first = next(script), True
        try:
            while True:
                rows = yield request
                if is_first and getattr(request, "statement", None) is sql.FAMILIES:
                    rows, is_first = [row for row in rows if row[1] == "run"], False
                request = script.send(rows)
        except StopIteration as end:
            return end.value

    (outcome,), _ = await database.writer.run(without_the_first_look())

    assert outcome is Deferred.DEFERRED
