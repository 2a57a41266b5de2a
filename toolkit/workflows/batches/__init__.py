"""One transaction of the engine: many operations, one commit, the same order of locks everywhere.

1. the keys of events and of keyed starts are locked (on PostgreSQL tried, in order);
2. every run that the batch may touch is locked in one statement; reading it is the fence and the cancel check;
3. then, in later statements, come the looks and after them the writes. A look in the statement that takes the lock
   would see what stood there before the lock.

Everything is decided here, on the rows that are locked; the writes at the end are plain. A run that is locked elsewhere
is put off: its operations come back :data:`~toolkit.storage.Deferred.DEFERRED` and go into the next batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from toolkit.storage import Script
from toolkit.workflows.batches.at_once import commit_at_once
from toolkit.workflows.batches.claims import Claims
from toolkit.workflows.batches.events import Events
from toolkit.workflows.batches.locks import Locks
from toolkit.workflows.batches.schedules import Schedules
from toolkit.workflows.batches.state import Closer, Worker
from toolkit.workflows.batches.waits import ending_of
from toolkit.workflows.batches.writes import Writes
from toolkit.workflows.operations import Operation
from toolkit.workflows.outcomes import Effects

__all__ = ["Batch", "Closer", "Worker", "commit", "ending_of"]


class Batch(Locks, Events, Claims, Schedules, Writes):
    """One batch, put together from its parts."""


def commit(
    operations: Sequence[Operation], *, worker: Worker, own_now: datetime | None
) -> Script[tuple[list[Any], Effects]]:
    """The script of one batch: returns an outcome an operation, in order, and the batch's effects.

    ``own_now`` is the moment where the database has no clock of its own to be trusted (SQLite, a turned clock).
    """
    kept = yield from commit_at_once(operations, worker=worker, own_now=own_now)
    if kept is not None:
        return kept
    batch = Batch(operations, worker=worker)
    yield from batch.lock(own_now)
    batch.make_room()
    yield from batch.begin_runs()
    yield from batch.fire_schedules()
    batch.record_steps()
    batch.note_progress()  # before the end of a run: its last word is often said just before that
    yield from batch.open_waits()
    yield from batch.deliver_events()
    yield from batch.end_waits()
    yield from batch.finish()
    yield from batch.cancel()
    yield from batch.clean_up()
    batch.suspend()  # after whatever may have given the run something to do, or ended it
    batch.release()
    yield from batch.take_over()
    yield from batch.claim()
    yield from batch.write()
    return batch.outcomes, batch.effects
