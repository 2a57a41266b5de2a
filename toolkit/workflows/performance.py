"""Performing a run: the author's function, from its first line or from where its journal leads it, to its end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from toolkit.access import Principal, acting_as
from toolkit.storage import MARK, DataRejected, Unencoded, is_encoded
from toolkit.workflows.continuations import ContinuedAsNew, successor_of
from toolkit.workflows.failures import RunCancelled, RunParked, RunUndecoded, record_error, summary_of
from toolkit.workflows.operations import FinishRun
from toolkit.workflows.outcomes import Fate, Finished
from toolkit.workflows.scopes import Scope, entered
from toolkit.workflows.states import RunState
from toolkit.workflows.upcasters import decode_recorded

if TYPE_CHECKING:
    from toolkit.workflows.executions import Execution

logger = logging.getLogger(__name__)


async def perform(execution: Execution) -> None:
    """Run the workflow's function and put its end on record; never raises for the author's code.

    A run whose end cannot be put on record would be taken up again and again: it is parked.
    """
    try:
        try:
            state, result, error = await _call(execution)
        except ContinuedAsNew as continued:
            if not execution.is_dead:
                await _continue(execution, continued)
            return
        if execution.is_dead:
            return
        await _finish(execution, state, result=result, error=error)
    except asyncio.CancelledError:
        if not execution.is_dead:
            raise
    except Exception as failure:
        logger.exception(
            "The end of a run could not be put on record",
            extra={"event": "run.not_ended", "run_id": execution.run.id, "workflow": execution.run.workflow},
        )
        parked = RunParked(f"the end of the run could not be put on record: {type(failure).__name__}")
        await _finish(execution, RunState.PARKED, result=None, error=record_error(parked))
    finally:
        execution.engine.residents.dismiss(execution)


async def _call(execution: Execution) -> tuple[RunState, str | None, str | None]:
    """The function's outcome: its state, and the result or the error as JSON text."""
    workflow = execution.workflow
    place = Scope(execution, task=asyncio.current_task())
    run = Principal(id=f"run:{execution.run.id}", kind="service", permissions="*")  # not whoever happened to start it
    try:
        with acting_as(run), entered(place):
            execution.check_alive()
            if execution.run.prior_epoch == 0:  # a run that was begun before hears of a cancel where it stands
                execution.check()
            check_readable(execution)
            text = workflow.upcasters.input(execution.run.input, version=execution.run.version)
            arguments = decode_recorded(workflow.signature, text, what="the input of the run")
            value: Any = await workflow.function(**arguments)
            return RunState.SUCCEEDED, workflow.signature.result.encode(value), None
    except RunCancelled:
        return RunState.CANCELLED, None, None
    except RunUndecoded as parked:
        # Readable for whoever is to release it, also where this process has another key than the others.
        return RunState.PARKED, None, Unencoded(record_error(parked))
    except RunParked as parked:
        return RunState.PARKED, None, record_error(parked)
    except asyncio.CancelledError:
        if execution.is_dead:
            raise
        return RunState.PARKED, None, record_error(execution.foreign_cancellation())
    except (ContinuedAsNew, KeyboardInterrupt, GeneratorExit):  # the last two are for whoever runs this process
        raise
    except BaseException as error:  # noqa: BLE001 - the author's code, whatever it raises
        return RunState.FAILED, None, record_error(error)


def check_readable(execution: Execution) -> None:
    """See that this process can decode all that is on record of a run before its code begins.

    Raises:
        RunParked: it cannot. A wrong key is no failure of the run.
    """
    if is_encoded(execution.run.input):
        raise RunUndecoded("the input of the run")
    for step in execution.journal.values():  # each at each replay; what ended a step was written at once
        given, ending = step.arguments, step.result or step.error
        if (given is not None and given.startswith(MARK)) or (ending is not None and ending.startswith(MARK)):
            raise RunUndecoded(f"the record of the step at {step.path}")
    for step in execution.sightings.values():
        if is_encoded(step.arguments) or is_encoded(step.details):
            raise RunUndecoded(f"the record of the step at {step.path}")
    for wait in execution.waits.values():
        if is_encoded(wait.arguments):
            raise RunUndecoded(f"the record of the wait at {wait.path}")


async def _continue(execution: Execution, continued: ContinuedAsNew) -> None:
    """End the run and begin the one that goes on in its place."""
    try:
        successor = successor_of(execution, continued)
    except Exception as error:  # noqa: BLE001 - arguments that do not fit their types: the author's
        await _finish(execution, RunState.FAILED, result=None, error=record_error(error))
        return
    await _finish(execution, RunState.SUCCEEDED, result=None, error=None, continued=successor)


async def _finish(
    execution: Execution,
    state: RunState,
    *,
    result: str | None,
    error: str | None,
    is_last_try: bool = False,
    **more: Any,
) -> None:
    run = execution.run
    operation = FinishRun(
        run.id,
        execution.epoch,
        state,
        result=result,
        error=error,
        parent_id=run.parent_id,
        parent_wait=run.parent_wait,
        has_open_waits=bool(execution.waits),
        child_ids=execution.child_ids,
        **more,
    )
    try:
        outcome: Finished = await execution.commit(operation)
    except DataRejected as rejected:
        if is_last_try or (result is None and error is None):
            raise  # not for a value of the author's
        await _finish(execution, RunState.FAILED, result=None, error=record_error(rejected), is_last_try=True)
        return
    if outcome.fate is Fate.KEPT:
        _log(execution, outcome.state or state, error)
        if execution.engine.options.replays_finished and outcome.state in {RunState.SUCCEEDED, RunState.FAILED}:
            from toolkit.workflows.replays import replay_at_once

            execution.engine.spawn(replay_at_once(execution, outcome.state, result=result, error=error))


def _log(execution: Execution, state: RunState, error: str | None) -> None:
    fields = {"event": f"run.{state}", "run_id": execution.run.id, "workflow": execution.run.workflow}
    if state is RunState.SUCCEEDED and (unread := execution.journal.unread):
        logger.warning(
            "A run has ended without asking for all that is on its record; was a step taken out of its code?",
            extra={**fields, "event": "run.steps_not_asked_for", "paths": unread[:20]},
        )
    if state is RunState.PARKED:
        logger.error("A run was parked; it needs an operator", extra={**fields, "reason": summary_of(error or "{}")})
    elif state is RunState.FAILED:
        logger.warning("A run failed", extra={**fields, "error_type": summary_of(error or "{}").split(":")[0]})
    else:
        logger.debug("A run ended", extra=fields)
