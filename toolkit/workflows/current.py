"""The engine that the caller stands in: inside a run its own, elsewhere the one of the running installation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from toolkit.workflows.journal import details_of
from toolkit.workflows.scopes import current_scope

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine
    from toolkit.workflows.executions import Execution

T = TypeVar("T")

_ENGINE: ContextVar[Engine | None] = ContextVar("toolkit_engine", default=None)


@contextmanager
def using_engine(engine: Engine) -> Iterator[Engine]:
    """Make ``engine`` the caller's for the length of the block."""
    token = _ENGINE.set(engine)
    try:
        yield engine
    finally:
        _ENGINE.reset(token)


def current_engine() -> Engine | None:
    """The engine that the caller stands in, if any."""
    scope = current_scope()
    return scope.execution.engine if scope is not None else _ENGINE.get()


def resource(kind: type[T]) -> T | None:
    """What this installation has of ``kind``, such as its file store; ``None`` outside an installation."""
    engine = current_engine()
    return cast("T | None", engine.resources.get(kind)) if engine is not None else None


class RunContext:
    """What a step kind may know of the run that it stands in.

    ``memory`` lives as long as the run's coroutine does; a kind rebuilds its part on replay, through ``adopt``.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def run_id(self) -> str:
        return self._execution.run.id

    @property
    def workflow(self) -> str:
        return self._execution.run.workflow

    @property
    def started_by(self) -> str | None:
        return self._execution.run.started_by

    @property
    def starters(self) -> list[str]:
        """Who stands behind the run: first who started the run that it was made of, if any, last who made it of that.

        A retry or a fork is started by whoever retries; what it does is still done for whoever began.
        """
        earlier: list[str] = json.loads(self._execution.run.originators or "[]")
        return [*earlier, self.started_by] if self.started_by is not None else earlier

    def recorded_details(self, *, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        """The details of every step of this kind (and name) in the journal, whether the code has come to it or not.

        A branch that is performed again may ask before its sibling's record was looked at; both must choose alike.
        """
        steps = self._execution.journal.values()
        return [details_of(step) for step in steps if step.kind == kind and name in {None, step.name}]

    @property
    def memory(self) -> dict[str, object]:
        return self._execution.memory


def current_run() -> RunContext | None:
    """The run that the caller stands in, or ``None``."""
    scope = current_scope()
    return RunContext(scope.execution) if scope is not None else None
