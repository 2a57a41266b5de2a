"""Between a task and the run that waits for it: how the wait begins, and what happens to the task when it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from toolkit.access import SYSTEM
from toolkit.errors import WrongContext
from toolkit.human.answers import Answer
from toolkit.human.calendars import moment_after
from toolkit.human.cursors import NEVER
from toolkit.human.human import Question, Reply
from toolkit.human.ladders import Rung, actor_of, build_ladder, encode_ladder
from toolkit.human.statements import (
    CLEAR_INBOX,
    CLOSE_TASKS,
    INSERT_CHANGES,
    INSERT_INBOX,
    INSERT_NOTIFICATIONS,
    INSERT_TASKS,
    NOTE_CLOSED,
)
from toolkit.human.states import TaskState
from toolkit.ids import new_id
from toolkit.serialization import storable
from toolkit.workflows import AttachedRows, current_engine, current_run, next_wait_id, wait_for

if TYPE_CHECKING:
    from toolkit.workflows import Engine, RunContext

KIND = "human"
_CLOSED = "its run was cancelled or no longer asks"


async def ask(question: Question) -> Reply:
    """Open a task in the commit that registers the wait for it, and wait.

    The wait itself has no limit: the task's ladder has, and whoever climbs it ends the wait like any answer does.

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
    outcome = await wait_for(
        name=question.human.name,
        kind=KIND,
        deadline_at=None,
        reference=task_id,
        wait_id=task_id,  # one question, one wait, one id
        arguments=question.input,
        display_name=question.human.title,
        attached=_rows(question, run, engine, task_id=task_id),
    )
    assert outcome.payload is not None, "a task's wait has no limit of its own"
    answer = Answer.decode(outcome.payload)
    # After a replay the task on record is another than the one that this call would have opened.
    return Reply(task_id=answer.task_id, answer=answer, run_id=run.run_id, path=outcome.path)


def _rows(question: Question, run: RunContext, engine: Engine, *, task_id: str) -> list[AttachedRows]:
    """The task, in front of whom it is, and the news of it."""
    human = question.human
    asked_at = engine.runtime.clock.now()
    rungs = build_ladder(
        asked_at,
        reminders=human.reminders,
        escalation=human.escalation,
        timeout=human.timeout,
        calendar=human.calendar,
    )
    due_at = _due_at(question, rungs, asked_at)
    candidates = [actor_of(candidate) for candidate in question.candidates]
    # Of a retry or a fork the task is still for whoever began; whoever made it of that has had a hand in it, too.
    starters = run.starters
    assigned_to = question.assigned_to and storable(question.assigned_to)
    task = (
        task_id,
        human.name,
        human.title,
        human.description,
        question.message and storable(question.message),
        run.workflow,
        run.run_id,
        TaskState.OPEN.value,
        question.input,
        question.suggested_data,
        question.confidence,
        question.files,
        human.output_schema_digest,
        assigned_to,
        json.dumps(candidates),
        json.dumps([*question.prepared_by, *starters[1:]]),
        int(human.four_eyes),
        _quorum(question),
        human.priority,
        due_at,
        due_at or NEVER,
        encode_ladder(rungs),
        rungs[0].at if rungs else None,
        asked_at,
        next(iter(starters), None),
        1,
    )
    opened = (new_id(), task_id, asked_at, run.started_by or SYSTEM.id, "opened", None, "{}")
    attached = [AttachedRows(INSERT_TASKS, [task]), AttachedRows(INSERT_CHANGES, [opened])]
    # A quorum asks all its candidates, whoever else it is assigned to.
    first = [f"user:{assigned_to}"] if assigned_to else []
    actors = first + candidates if human.quorum else first or candidates
    if actors:
        rows = [(task_id, actor, due_at or NEVER, human.priority) for actor in dict.fromkeys(actors)]
        attached.append(AttachedRows(INSERT_INBOX, rows))
    if _is_told(engine):
        news = (engine.new_id(), task_id, "task.opened", "{}", "pending", 0, asked_at, asked_at)
        attached.append(AttachedRows(INSERT_NOTIFICATIONS, [news]))
    return attached


def _is_told(engine: Engine) -> bool:
    """Whether this installation has channels to tell people by."""
    from toolkit.human.service import TaskService

    service: Any = engine.resources.get(TaskService)
    return service is not None and service.is_telling


def _due_at(question: Question, rungs: Sequence[Rung], asked_at: datetime) -> datetime | None:
    if question.due_in is not None:
        return moment_after(asked_at, question.due_in, calendar=question.human.calendar)
    return next((rung.at for rung in rungs if rung.do == "expire"), None)


def _quorum(question: Question) -> str | None:
    quorum = question.human.quorum
    if quorum is None:
        return None
    return json.dumps(
        {
            "needed": quorum.needed,
            "one_of_each": quorum.one_of_each,
            "rejections_allowed": quorum.rejections_allowed,
        }
    )


def close_tasks(ended: Sequence[tuple[str, str, datetime]]) -> Sequence[AttachedRows]:
    """What to write when waits of tasks end without an answer: rows of (task id, state of the wait, moment).

    A withdrawn or cancelled wait cancels its task. An answered task stays as it is.
    """
    if not ended:
        return []
    tasks = [(task_id, TaskState.CANCELLED.value, moment) for task_id, _, moment in ended]
    changes = [(new_id(), task_id, moment, _CLOSED) for task_id, _, moment in ended]
    return [
        AttachedRows(NOTE_CLOSED, changes),
        AttachedRows(CLOSE_TASKS, tasks),
        AttachedRows(CLEAR_INBOX, [(task_id,) for task_id, _, _ in ended]),
    ]
