"""One action on many runs: a run of the toolkit's own, which goes through them page by page.

It is as durable as any run: ended at any instant, it goes on with the page that it had begun, and since every action is
safe to repeat, nothing is done twice. It begins with the newest run that exists then; what is started later, its own
retries and forks among them, is not met.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from toolkit.errors import Conflict, InvalidInput, NotFound, RunStateError, StorageError, WrongContext
from toolkit.workflows.current import current_engine, current_run
from toolkit.workflows.definitions import workflow
from toolkit.workflows.keys import OwnKey
from toolkit.workflows.progress import set_progress
from toolkit.workflows.queries import list_run_ids
from toolkit.workflows.retries import RetryPolicy
from toolkit.workflows.searches import RunFilter
from toolkit.workflows.states import FINAL, RunState
from toolkit.workflows.steps import step

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

BULK_WORKFLOW = "toolkit.change_runs"
"""The name of the workflow that does it; its runs are never meant by a filter."""

_RUNS_PER_PAGE = 200
_MOST_REFUSALS = 100
_LIVE = tuple(state for state in RunState if state not in FINAL)


class BulkAction(StrEnum):
    """What may be done to many runs at once."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RELEASE = "release"
    RETRY = "retry"
    FORK = "fork"


_PAST = {
    BulkAction.CANCEL: "run.cancelled",
    BulkAction.PAUSE: "run.paused",
    BulkAction.RESUME: "run.resumed",
    BulkAction.RELEASE: "run.released",
    BulkAction.RETRY: "run.retried",
    BulkAction.FORK: "run.forked",
}
_STATES: dict[BulkAction, Sequence[RunState]] = {
    BulkAction.CANCEL: _LIVE,
    BulkAction.PAUSE: _LIVE,
    BulkAction.RESUME: _LIVE,
    BulkAction.RELEASE: (RunState.PARKED,),
    BulkAction.RETRY: (RunState.FAILED,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOrder:
    """What is to be done to which runs, by whom and why; ``from_step`` and ``input`` (JSON text) are for a fork."""

    action: BulkAction
    where: RunFilter
    by: str | None = None
    by_kind: str = "person"
    reason: str | None = None
    from_step: str | None = None
    input: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A run to which it could not be done."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What came of it: runs that were changed, runs that were so already, and the first of those that refused."""

    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.changed + self.unchanged + self.refused

    def plus(self, other: BulkOutcome) -> BulkOutcome:
        """Both together."""
        return BulkOutcome(
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.refused + other.refused,
            [*self.refusals, *other.refusals][:_MOST_REFUSALS],
        )


def meant_by(action: BulkAction, where: RunFilter) -> RunFilter | None:
    """Of the runs that a filter means, those to which the action can be done; ``None`` if there can be none.

    Without a state a retry means failed runs; cancelled ones are retried when the filter names them.
    """
    if action is BulkAction.RETRY and where.states:
        possible: Sequence[RunState] = (RunState.FAILED, RunState.CANCELLED)
    else:
        possible = _STATES.get(action, tuple(RunState))
    states = [RunState(state) for state in where.states or possible if state in possible]
    is_paused = {BulkAction.PAUSE: False, BulkAction.RESUME: True}.get(action, where.is_paused)
    if not states or where.is_paused not in {None, is_paused}:
        return None
    return replace(where, states=states, is_paused=is_paused)


@step()
async def find_page(order: BulkOrder, after: str | None) -> list[str]:
    where = meant_by(order.action, order.where)
    if where is None:
        return []
    reader = _engine().database.reader
    return await list_run_ids(reader, where, after=after, limit=_RUNS_PER_PAGE, but_not=[BULK_WORKFLOW])


@step(retry=RetryPolicy(max_retries=-1, retry_on=(StorageError,)))
async def change_page(order: BulkOrder, ids: list[str]) -> BulkOutcome:
    engine, job = _engine(), current_run()
    assert job is not None
    found = await asyncio.gather(*(_change(engine, order, run_id, job_id=job.run_id) for run_id in ids))
    await _audit(order, dict(zip(ids, found, strict=True)), job_id=job.run_id)
    refusals = [each for each in found if isinstance(each, Refusal)]
    changed = sum(each is True for each in found)
    return BulkOutcome(changed, len(found) - changed - len(refusals), len(refusals), refusals[:_MOST_REFUSALS])


@workflow(name=BULK_WORKFLOW)
async def change_runs(order: BulkOrder, count: int) -> BulkOutcome:
    """Do one thing to every run that a filter means."""
    outcome = BulkOutcome()
    after: str | None = None
    while ids := await find_page(order, after):
        outcome = outcome.plus(await change_page(order, ids))
        after = ids[-1]
        set_progress(outcome.total, total=max(count, outcome.total))
    return outcome


async def _change(engine: Engine, order: BulkOrder, run_id: str, *, job_id: str) -> bool | Refusal:
    """Whether the run was changed now; false if it was so already."""
    control = engine.control
    try:
        match order.action:
            case BulkAction.CANCEL:
                await engine.cancel(run_id, reason=order.reason, by=order.by)
                return True
            case BulkAction.PAUSE:
                return (await control.pause(run_id, by=order.by)).is_changed
            case BulkAction.RESUME:
                return (await control.resume(run_id)).is_changed
            case BulkAction.RELEASE:
                return (await control.release(run_id)).is_changed
            case BulkAction.RETRY:
                return (await control.retry(run_id, by=order.by)).is_new
            case BulkAction.FORK:
                forked = await control.fork(
                    run_id,
                    from_step=order.from_step,
                    input=order.input,
                    by=order.by,
                    idempotency_key=OwnKey(f"bulk:{job_id}:{run_id}"),
                )
                return forked.is_new
    except RunStateError as error:
        if order.action is BulkAction.CANCEL and error.state == RunState.CANCELLED:
            return False
        return Refusal(run_id, str(error))
    except (Conflict, NotFound, InvalidInput) as error:
        return Refusal(run_id, str(error))


async def _audit(order: BulkOrder, found: dict[str, bool | Refusal], *, job_id: str) -> None:
    """An entry for each run, in the transaction of the step's checkpoint.

    Also for those that were so already: a process that ended between the change and its entry has left them.
    """
    from toolkit.access import Principal, acting_as, record_audit
    from toolkit.workflows.sessions import get_session

    session = get_session()
    kind = "service" if order.by_kind == "service" or order.by is None else "person"
    with acting_as(Principal(id=order.by or "system", kind=kind)):  # type: ignore[arg-type]  # one of the two
        for run_id, outcome in found.items():
            if not isinstance(outcome, Refusal):
                details = {"job": job_id, "changed": outcome, "reason": order.reason}
                await record_audit(
                    session,
                    action=_PAST[order.action],
                    object_kind="run",
                    object_id=run_id,
                    details={key: value for key, value in details.items() if value is not None},
                )


def _engine() -> Engine:
    engine = current_engine()
    if engine is None:
        raise WrongContext("the runs of an installation are changed by its engine; nothing runs here")
    return engine
