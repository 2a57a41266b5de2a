"""Going on as a new run: for processes without an end, whose journal would grow for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

from toolkit.workflows.operations import NewRun
from toolkit.workflows.scopes import require_scope


class ContinuedAsNew(BaseException):
    """Raised through the author's code to the engine: the run ends here, and ``arguments`` go on in a new one."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.arguments = (args, kwargs)


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this run and go on in a new one of the same workflow, with these arguments and an empty journal.

    Both happen in one commit. Whoever waits for the run (a parent, ``result()``) waits for the last of the chain; a
    cancel follows it, and so do events that are meant for this run. What this run has had of an event key, the new one
    does not get again. It has the priority of this run, and its deadline: the same moment, for the whole chain. Never
    returns.

    Raises:
        WrongContext: outside a workflow, or in a branch of ``gather`` or ``race``.
        TypeError: the arguments do not fit the workflow.
    """
    scope = require_scope("continue_as_new")
    if scope.parent is not None or scope.step is not None:
        from toolkit.errors import WrongContext

        raise WrongContext(
            "continue_as_new was called in a branch or a step; call it in the workflow itself, after the branches"
        )
    scope.check()
    scope.execution.workflow.signature.bind(args, kwargs)  # an error of the caller's shows here
    raise ContinuedAsNew(args, kwargs)


def successor_of(execution: Any, continued: ContinuedAsNew) -> NewRun:
    """The run that goes on."""
    run, workflow, engine = execution.run, execution.workflow, execution.engine
    args, kwargs = continued.arguments
    successor: NewRun = workflow.new_run(
        engine,
        workflow.signature.bind(args, kwargs),
        parent_id=run.parent_id,
        parent_wait=run.parent_wait,
        **run.starters,
        continued_from=run.id,
        priority=run.priority,
    )
    # To everybody outside the chain is one run, so a deadline is not put off by going on.
    return successor if run.deadline_at is None else replace(successor, deadline_at=run.deadline_at)
