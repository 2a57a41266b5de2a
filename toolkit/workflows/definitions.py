"""The decorator ``workflow``: an ordinary async function that survives crashes."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from toolkit.errors import DefinitionError, WrongContext
from toolkit.workflows.current import current_engine
from toolkit.workflows.failures import revive_error
from toolkit.workflows.operations import NewRun, StepRecord
from toolkit.workflows.scopes import Scope, current_scope, require_scope
from toolkit.workflows.signatures import Signature
from toolkit.workflows.states import StepKind, StepState
from toolkit.workflows.steps import check_name
from toolkit.workflows.waits import wait_on_record

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")


class RunHandle(Generic[R]):
    """A run that was started; ``id`` finds it again anywhere."""

    def __init__(self, engine: Engine, run_id: str, workflow: Workflow[Any, R], *, is_new: bool = True) -> None:
        self.engine, self.id, self.workflow, self.is_new = engine, run_id, workflow, is_new

    async def result(self) -> R:
        """The run's result, when it has one.

        Raises:
            RunFailed: the run failed or was cancelled.
        """
        return cast("R", self.workflow.signature.result.decode(await self.engine.wait_for_completion(self.id)))

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.workflow.name!r}>"


class Workflow(Generic[P, R]):
    """A workflow: ``await`` it inside another to run it as a child; ``start`` it to run it by itself."""

    def __init__(self, function: Callable[P, Awaitable[R]], *, name: str | None, version: str | None) -> None:
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(
                f"workflow {function.__qualname__!r} is a plain function; expected `async def`, because it waits"
            )
        self.function = function
        self.name = name or function.__name__
        check_name("workflow", self.name)
        self.version = version
        self.signature = Signature(function, what=f"workflow {self.name!r}")
        functools.update_wrapper(cast("Any", self), function)

    @property
    def description(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.function) or ""

    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments as one object."""
        return self.signature.schema()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[None, None, R]:
        return self._as_child(args, kwargs)

    async def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a run of its own. Inside a workflow it is a step and happens once.

        Raises:
            WrongContext: nothing says in which installation; use ``app.start(workflow, ...)``.
        """
        scope = current_scope()
        if scope is None:
            engine = current_engine()
            if engine is None:
                raise WrongContext(
                    f"{self.name}.start() was called where no Toolkit is running; "
                    f"use `await app.start({self.name}, ...)`"
                )
            return await engine.start_bound(self, self.signature.bind(args, kwargs))
        scope.check_task(f"{self.name}.start()")
        scope.check_session(f"{self.name}.start()")
        return await self._start_once(scope, self.signature.bind(args, kwargs))

    def new_run(self, engine: Engine, arguments: dict[str, Any], **more: Any) -> NewRun:
        """A run with ``arguments``, ready to be started."""
        text = self.signature.encode(arguments)
        return NewRun(
            id=engine.new_id(),
            workflow=self.name,
            input=text,
            input_digest=hashlib.sha256(text.encode()).hexdigest(),
            version=self.version,
            **more,
        )

    async def _as_child(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        scope = require_scope(f"await {self.name}(...)", instead=f"start it: `await {self.name}.start(...)`")
        scope.check_session(f"workflow {self.name!r}")
        if not scope.can_wait:
            raise WrongContext(f"workflow {self.name!r} was awaited inside a step; await it in the workflow")
        execution = scope.execution
        execution.engine.require(self)
        path = scope.next_path(self.name)
        arguments = self.signature.bind(args, kwargs)
        known = execution.journal.get(path) or execution.waits.get(path)
        child = None
        if known is None:
            started_by = execution.run.started_by
            child = self.new_run(execution.engine, arguments, parent_id=execution.run.id, started_by=started_by)
        record = await wait_on_record(
            scope,
            path,
            name=self.name,
            kind=StepKind.CHILD,
            reference=child.id if child else None,
            arguments=self.signature.encode(arguments),
            child=child,
        )
        if record.state is StepState.FAILED:
            raise revive_error(record.error or "{}")
        return cast("R", self.signature.result.decode(record.result or "null"))

    async def _start_once(self, scope: Scope, arguments: dict[str, Any]) -> RunHandle[R]:
        execution = scope.execution
        execution.engine.require(self)
        path = scope.next_path(f"start:{self.name}")
        recorded = execution.journal.get(path)
        if recorded is None:
            scope.check()
            run = self.new_run(execution.engine, arguments, started_by=execution.run.started_by)
            now = execution.engine.runtime.clock.now()
            recorded = StepRecord(
                run_id=execution.run.id,
                path=path,
                name=self.name,
                kind=StepKind.MESSAGE,
                state=StepState.SUCCEEDED,
                started_at=now,
                ended_at=now,
                arguments=run.input,
                result=f'"{run.id}"',
                epoch=execution.epoch,
            )
            await execution.record(recorded, run=run)
        return RunHandle(execution.engine, (recorded.result or "").strip('"'), self)

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"


class _WorkflowDecorator:
    def __init__(self, name: str | None, version: str | None) -> None:
        self._name, self._version = name, version

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Workflow[P, R]:
        return Workflow(function, name=self._name, version=self._version)


def workflow(name: str | None = None, *, version: str | None = None) -> _WorkflowDecorator:
    """Make an async function a workflow: its steps are kept, and it goes on wherever it was after a crash.

    ``name`` defaults to the function's; it finds live runs their code, so keep it when the function is renamed.

    Raises:
        DefinitionError: the function cannot be a workflow; the message says why.
    """
    if callable(name):
        raise DefinitionError("write @workflow() with parentheses")
    return _WorkflowDecorator(name, version)
