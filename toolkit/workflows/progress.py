"""What a run and its long steps show of themselves while they are under way."""

from __future__ import annotations

import json
from typing import Any

from toolkit.errors import WrongContext
from toolkit.serialization import codec_for, storable
from toolkit.workflows.marks import find_mark, leave_mark
from toolkit.workflows.operations import NoteProgress
from toolkit.workflows.scopes import current_scope, require_scope


def set_progress(done: float, *, total: float | None = None, note: str | None = None) -> None:
    """Show how far the run has come: ``done`` of ``total``, or a share from 0 to 1 without one.

    Costs the run no wait: the last word is written with the next commit of this process. It is never compared on
    replay. Works in the body of a step as well; outside a run it does nothing.

    Raises:
        ValueError: ``done`` is below 0 or above ``total``.
    """
    most = 1.0 if total is None else total
    if not 0 <= done <= most:
        raise ValueError(f"progress is {done!r} of {most!r}; expected a number from 0 to {most!r}")
    scope = current_scope()
    if scope is None or scope.is_dead:
        return
    text = json.dumps({"done": done, "total": total, "note": note})
    execution = scope.execution
    execution.engine.note_progress(NoteProgress(execution.run.id, execution.epoch, text))


async def message(text: str, **fields: Any) -> None:
    """Leave a line for people in the history of the run, once; ``fields`` are plain values shown with it.

    Raises:
        WrongContext: outside a workflow.
    """
    scope = require_scope("message")
    scope.check_session("message")
    path = scope.next_path("message")
    if await find_mark(scope, path, name="message") is None:
        text = storable(text)
        line = codec_for(Any).encode({"text": text, **fields})
        await leave_mark(scope, path, name="message", result=line, display_name=text[:200])


def heartbeat(details: Any = None) -> None:
    """Say from inside a long step that it still makes progress, and how far it is (plain JSON).

    With ``heartbeat_timeout=`` the step's attempt is given up when none comes for so long. What was said last is shown
    with the step, and a later attempt finds it as ``step_context().last_heartbeat``, also in another process: it may
    go on from there. May be called from the thread of a plain ``def`` step.

    Raises:
        WrongContext: outside the body of a step, while a run is under way.
        RunCancelled: the run is being cancelled.
    """
    scope = current_scope()
    if scope is None:
        return
    if scope.step is None:
        raise WrongContext("heartbeat() belongs in the body of a step")
    scope.check()
    scope.step.beat(details)
