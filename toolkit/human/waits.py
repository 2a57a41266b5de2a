"""Between a task and the run that waits for it: how the wait begins, and what happens to the task when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from toolkit.errors import WaitTimeout, WrongContext
from toolkit.human.answers import Answer
from toolkit.human.human import Question, Reply
from toolkit.human.statements import CLOSE_TASKS, INSERT_TASKS
from toolkit.human.states import TaskState
from toolkit.workflows import AttachedRows, current_engine, current_run, next_wait_id, wait_for

if TYPE_CHECKING:
    from toolkit.workflows import RunContext

KIND = "human"
_KEY_PREFIX = "task:"


async def ask(question: Question) -> Reply:
    """Open a task in the commit that registers the wait for it, and wait.

    Raises:
        WrongContext: outside a workflow.
    """
    run, engine = current_run(), current_engine()
    if run is None or engine is None:
        raise WrongContext(
            f"human task {question.human.name!r} was asked outside a running workflow; await it in a function "
            "decorated with @workflow"
        )
    task_id = next_wait_id()
    asked_at = engine.runtime.clock.now()
    limit = question.human.timeout
    due_at = asked_at + limit.limit if limit is not None else None
    outcome = await wait_for(
        name=question.human.name,
        kind=KIND,
        event_key=_KEY_PREFIX + task_id,
        deadline_at=due_at,
        reference=task_id,
        wait_id=task_id,  # one question, one wait, one id
        arguments=question.input,
        display_name=question.human.title,
        attached=[_row(question, run, task_id=task_id, asked_at=asked_at, due_at=due_at)],
    )
    # After a replay the task on record is another than the one that this call would have opened.
    if outcome.payload is not None:
        answer = Answer.decode(outcome.payload)
        return Reply(task_id=answer.task_id, answer=answer, ended_at=answer.at)
    assert isinstance(outcome.error, WaitTimeout)
    return Reply(task_id=outcome.error.key.removeprefix(_KEY_PREFIX), answer=None, ended_at=outcome.ended_at)


def _row(
    question: Question, run: RunContext, *, task_id: str, asked_at: datetime, due_at: datetime | None
) -> AttachedRows:
    """The task, in the order of ``INSERT_TASKS``."""
    human = question.human
    values = (
        task_id,
        human.name,
        human.title,
        human.description,
        _storable(question.message),
        run.workflow,
        run.run_id,
        TaskState.OPEN.value,
        question.input,
        question.suggested_data,
        question.files,
        human.output_schema_digest,
        _storable(question.assigned_to),
        due_at,
        asked_at,
        run.started_by,
        1,
    )
    return AttachedRows(INSERT_TASKS, [values])


def _storable(text: str | None) -> str | None:
    """``text`` without what no database keeps: NUL characters and halves of surrogate pairs, as scanners leave them."""
    return text and text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def close_tasks(ended: Sequence[tuple[str, str, datetime]]) -> Sequence[AttachedRows]:
    """What to write when waits of tasks end without an answer: rows of (task id, state of the wait, moment).

    A limit that has passed expires its task; a withdrawn or cancelled wait cancels it. An answered task stays as it is.
    """
    rows = [
        (task_id, (TaskState.EXPIRED if state == "expired" else TaskState.CANCELLED).value, moment)
        for task_id, state, moment in ended
    ]
    return [AttachedRows(CLOSE_TASKS, rows)] if rows else []
