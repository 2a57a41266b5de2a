"""What an operator does to a run: pause it, let it go on, release it when it was parked.

Each is one statement that checks the present state and makes the change at once. It locks the run's row as every batch
does, so that it comes before or after what the run's owner writes, never in between. A pause is a moment on the run and
no state: a paused run is not claimed; events and answers are kept for it, and its timers run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from toolkit.storage import Query, Script, Statement, both, read_moment
from toolkit.workflows.statements import NOTIFY
from toolkit.workflows.states import FINAL, RunState

_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL))

_PAUSE = Statement(
    "pause run",
    sqlite=f"""UPDATE toolkit_run SET paused_at = ?3, paused_by = ?2
               WHERE id = ?1 AND paused_at IS NULL AND state NOT IN ({_FINAL}) RETURNING state, paused_at""",  # noqa: S608
    postgresql=f"""UPDATE toolkit_run SET paused_at = coalesce($3::timestamptz, clock_timestamp()), paused_by = $2
                   WHERE id = $1 AND paused_at IS NULL AND state NOT IN ({_FINAL}) RETURNING state, paused_at""",  # noqa: S608
)
_RESUME = both(
    "resume run",
    f"""UPDATE toolkit_run SET paused_at = NULL, paused_by = NULL
        WHERE id = $1 AND paused_at IS NOT NULL AND state NOT IN ({_FINAL}) RETURNING state, paused_at""",  # noqa: S608
)
# It begins anew with its journal: why it was parked is forgotten, and so are the losses that led there.
_RELEASE = Statement(
    "release run",
    sqlite="""UPDATE toolkit_run SET state = 'pending', due_at = ?2, warm_worker = NULL, error = NULL,
              error_summary = NULL, losses = 0, total_losses = 0
              WHERE id = ?1 AND state = 'parked' RETURNING state, paused_at""",
    postgresql="""UPDATE toolkit_run SET state = 'pending', due_at = coalesce($2::timestamptz, clock_timestamp()),
                  warm_worker = NULL, error = NULL, error_summary = NULL, losses = 0, total_losses = 0
                  WHERE id = $1 AND state = 'parked' RETURNING state, paused_at""",
)
_FIND = both("standing of run", "SELECT state, paused_at, continued_as FROM toolkit_run WHERE id = $1")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands after a request; ``is_changed`` says whether the request has changed that.

    ``continued_as`` is the run that goes on in its place, if it has ended so.
    """

    state: RunState
    paused_at: datetime | None
    is_changed: bool
    continued_as: str | None = None


def pause_run(run_id: str, *, by: str | None, own_now: datetime | None) -> Script[Standing | None]:
    """Note the pause, unless the run is paused or has ended; ``None`` if there is no such run."""
    return (yield from _change(run_id, Query(_PAUSE, [run_id, by, own_now])))


def resume_run(run_id: str) -> Script[Standing | None]:
    """End the pause of a run that has one; ``None`` if there is no such run."""
    return (yield from _change(run_id, Query(_RESUME, [run_id])))


def release_run(run_id: str, *, own_now: datetime | None) -> Script[Standing | None]:
    """Make a parked run due again; ``None`` if there is no such run."""
    return (yield from _change(run_id, Query(_RELEASE, [run_id, own_now])))


def _change(run_id: str, change: Query) -> Script[Standing | None]:
    rows = yield change
    if rows:
        yield Query(NOTIFY)  # the worker that has the run, or any that takes it, learns of it at once
        return Standing(RunState(rows[0][0]), read_moment(rows[0][1]), is_changed=True)
    found = yield Query(_FIND, [run_id])
    if not found:
        return None
    state, paused_at, continued_as = found[0]
    return Standing(RunState(state), read_moment(paused_at), is_changed=False, continued_as=continued_as)
