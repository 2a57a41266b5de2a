"""Where in a run the code stands: the path so far, the task that may speak for it, and the step around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.errors import WrongContext
from toolkit.workflows.failures import RunCancelled

if TYPE_CHECKING:
    from toolkit.workflows.executions import Execution
    from toolkit.workflows.sessions import StepSession


class BranchWithdrawn(RunCancelled):
    """The branch is given up; raised at its next verb if it has something to end. It passes as a cancel does."""


@dataclass(slots=True)
class StepContext:
    """What the body of a step may know of itself; see :func:`step_context`.

    ``attempt`` counts from 1. ``idempotency_key`` is the same in every attempt, after every crash and in a retry of the
    run: hand it to whatever the step calls outside. ``details`` is stored with the step; fill it with plain JSON
    values.
    ``last_heartbeat`` is what an earlier attempt said last, in this process or another.
    """

    run_id: str
    path: str
    attempt: int = 1
    details: dict[str, Any] = field(default_factory=dict)
    session: StepSession | None = None
    last_heartbeat: Any = None
    on_beat: Callable[[Any], None] | None = None
    key_run_id: str | None = None

    @property
    def idempotency_key(self) -> str:
        return f"{self.key_run_id or self.run_id}:{self.path}"

    def beat(self, details: Any) -> None:
        """The step still makes progress; see :func:`~toolkit.workflows.heartbeat`."""
        if self.on_beat is not None:
            self.on_beat(details)


@dataclass(slots=True)
class Scope:
    """One place in a run: the workflow itself, a branch of a gather, or the body of a step."""

    execution: Execution
    path: str = ""
    task: asyncio.Task[Any] | None = None
    step: StepContext | None = None
    can_wait: bool = True
    parent: Scope | None = None
    is_withdrawn: bool = False  # the gather or race around has given it up
    is_unwinding: bool = False  # given up as it is, it first ends what it shields and undoes what it has to
    is_shielded: bool = False  # what happens here is run to its end although a cancel is under way
    shields: int = 0  # sections of this very place that are run to their end
    sections: int = 0  # shields and compensations under way, here and in the branches below
    counts: dict[str, int] = field(default_factory=dict)

    def next_path(self, name: str, *, separator: str = "/") -> str:
        """The path of the next call of ``name``: this path, the name and how often it was called before."""
        occurrence = self.counts.get(name, 0)
        self.counts[name] = occurrence + 1
        return f"{self.path}/{name}{separator}{occurrence}" if self.path else f"{name}{separator}{occurrence}"

    def check_task(self, verb: str, name: str | None = None) -> None:
        """Refuse a call from a task that the engine does not know: its order would differ from replay to replay."""
        if self.task is not asyncio.current_task():
            raise WrongContext(
                f"{_called(verb, name)} was called from a task that is not the run's own (asyncio.create_task, "
                "asyncio.gather or a TaskGroup); use toolkit.workflows.gather to run steps side by side"
            )

    def check_session(self, verb: str, name: str | None = None) -> None:
        """Refuse a call while this step holds a session with writes: it would wait for itself for ever."""
        if self.step is not None and self.step.session is not None and self.step.session.has_written:
            raise WrongContext(
                f"{_called(verb, name)} was called while this step's database session holds writes that are not "
                "committed; do it before the first write, or in a step of its own"
            )

    def check(self) -> None:
        """Refuse to begin anything in a place that is given up, or in a run that is being cancelled.

        Raises:
            asyncio.CancelledError: nothing that happens here counts any more.
            RunCancelled: the run is being cancelled, or this branch of it is given up.
        """
        self.check_alive()
        if not self.is_shielded:
            self.execution.check()
        self.check_wanted()

    def check_wanted(self) -> None:
        """Refuse to go on in a branch that is given up and ends what it shields or has to undo.

        Raises:
            BranchWithdrawn: it is, and nothing shields the caller from that.
        """
        if self.given_up is not None:
            raise BranchWithdrawn("this branch was given up")

    def check_alive(self) -> None:
        """Refuse to go on in a place that is given up.

        Raises:
            asyncio.CancelledError: nothing that happens here counts any more.
        """
        if self.is_dead:
            raise asyncio.CancelledError("this part of the run was given up")

    async def begin(self) -> None:
        """Like :meth:`check`, and wait here for as long as the run is paused. What is in a step ends with it."""
        self.check()
        if self.execution.is_pausing and self.step is None:
            await self.execution.parking.hold(self)
            self.check()

    def count_section(self, number: int) -> None:
        """A section begins here, or ends; every place around it knows, for whoever gives it up waits for that."""
        place: Scope | None = self
        while place is not None:
            place.sections += number
            place = place.parent

    @property
    def is_dead(self) -> bool:
        """Whether the engine has given this place up; whatever happens here counts no more."""
        if self.execution.is_dead or (self.is_withdrawn and not self.is_unwinding):
            return True
        return self.parent is not None and self.parent.is_dead

    @property
    def given_up(self) -> Scope | None:
        """The nearest place that is given up, from this one outwards, where no shield in between holds against that."""
        place: Scope | None = self
        while place is not None and not place.shields:
            if place.is_withdrawn:
                return place
            place = place.parent
        return None


def _called(verb: str, name: str | None) -> str:
    return verb if name is None else f"{verb} {name!r}"


_SCOPE: ContextVar[Scope | None] = ContextVar("toolkit_scope", default=None)


def current_scope() -> Scope | None:
    """The place in a run where the caller stands, if it stands in one."""
    return _SCOPE.get()


def require_scope(verb: str, *, instead: str = "") -> Scope:
    """The caller's place in a run.

    Raises:
        WrongContext: outside a run, or in a task of the caller's own.
    """
    scope = _SCOPE.get()
    if scope is None:
        raise WrongContext(f"{verb} works inside a running workflow only{'; ' + instead if instead else ''}")
    scope.check_task(verb)
    return scope


class entered:  # noqa: N801 - used like a function; a generator would cost each step twice as much
    """Make a scope the caller's place for the length of the block."""

    __slots__ = ("_scope", "_token")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> Scope:
        around = _SCOPE.get()
        if self._scope.parent is None and around is not None and around.execution is self._scope.execution:
            self._scope.parent = around  # the body of a step is given up with the branch that it stands in
        self._token = _SCOPE.set(self._scope)
        return self._scope

    def __exit__(self, *_: object) -> None:
        _SCOPE.reset(self._token)


def step_context() -> StepContext | None:
    """The step whose body is running, or ``None`` outside a step."""
    scope = _SCOPE.get()
    return scope.step if scope is not None else None
