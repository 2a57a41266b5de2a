"""The decorator ``workflow``: an ordinary async function that survives crashes."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from toolkit.errors import DefinitionError, RunFailed, WrongContext
from toolkit.serialization import check_keys
from toolkit.workflows.attributes import Attribute, encode_attributes, encode_tags
from toolkit.workflows.current import current_engine
from toolkit.workflows.durations import declared_duration, duration, moment_in_utc
from toolkit.workflows.failures import message_of, revive_error
from toolkit.workflows.journal import LINKED
from toolkit.workflows.keys import RUN_ENDED, check_idempotency_key
from toolkit.workflows.marks import find_mark, leave_mark
from toolkit.workflows.operations import NewRun
from toolkit.workflows.outcomes import Recorded
from toolkit.workflows.scopes import Scope, current_scope, require_scope
from toolkit.workflows.signatures import Signature, annotated, own_name
from toolkit.workflows.states import ClosePolicy, RunState, StepKind, StepState
from toolkit.workflows.steps import check_name
from toolkit.workflows.upcasters import Upcaster, Upcasters, decode_recorded
from toolkit.workflows.waits import wait_on_record

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class CancelledRun:
    """What the clean-up of a cancelled run is told: which run, why, by whom, and its arguments as plain JSON."""

    run_id: str
    workflow: str
    arguments: dict[str, Any]
    reason: str | None = None
    cancelled_by: str | None = None


class RunHandle(Generic[R]):
    """A run that was started; ``id`` finds it again anywhere."""

    def __init__(self, engine: Engine, run_id: str, workflow: Workflow[Any, R], *, is_new: bool = True) -> None:
        self.engine, self.id, self.workflow, self.is_new = engine, run_id, workflow, is_new

    async def result(self) -> R:
        """The run's result, when it has one; inside a workflow this is a wait on record.

        Raises:
            RunFailed: the run failed or was cancelled.
        """
        scope = current_scope()
        if scope is not None and scope.can_wait:
            return cast("R", await wait_for_completion(self))
        text = await self.engine.wait_for_completion(self.id)
        return cast("R", self.workflow.signature.result.decode(self.workflow.upcasters.output(text)))

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.workflow.name!r}>"


class Workflow(Generic[P, R]):
    """A workflow: ``await`` it inside another to run it as a child; ``start`` it to run it by itself."""

    def __init__(
        self,
        function: Callable[P, Awaitable[R]],
        *,
        name: str | None = None,
        version: str | None = None,
        deadline: timedelta | float | None = None,
        on_cancel: Workflow[Any, Any] | None = None,
        concurrency: int | None = None,
        upcasters: Sequence[Upcaster] = (),
    ) -> None:
        if not inspect.iscoroutinefunction(annotated(function)):
            found = getattr(function, "__qualname__", name or repr(function))
            raise DefinitionError(f"workflow {found!r} is a plain function; expected `async def`, because it waits")
        self.function = function
        self.name = name or own_name(function, what="a workflow")
        check_name("workflow", self.name)
        self.version = version
        self.upcasters = Upcasters(upcasters, workflow=self.name)
        self.signature = Signature(function, what=f"workflow {self.name!r}")
        self.deadline = declared_duration(deadline, what=f"deadline= of workflow {self.name!r}")
        self.on_cancel = on_cancel
        if concurrency is not None and concurrency < 1:
            raise DefinitionError(f"concurrency= of workflow {self.name!r} is {concurrency}; expected 1 or more")
        self.concurrency = concurrency
        if on_cancel is not None and list(on_cancel.signature.parameters) != ["cancelled"]:
            raise DefinitionError(
                f"on_cancel= of workflow {self.name!r} takes {list(on_cancel.signature.parameters)!r}; expected a "
                "workflow with the one parameter `cancelled: CancelledRun`"
            )
        updated = ("__dict__",) if inspect.isfunction(function) else ()
        functools.update_wrapper(cast("Any", self), function, updated=updated)

    @property
    def key(self) -> str:
        """What finds a run its code: the name, and the version if it has one. A name holds no white space."""
        return workflow_key(self.name, self.version)

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
        return await self._start(args, kwargs)

    async def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any) -> RunHandle[R]:
        scope = current_scope()
        if scope is None:
            engine = current_engine()
            if engine is None:
                raise WrongContext(
                    f"{self.name}.start() was called where no Toolkit is running; "
                    f"use `await app.start({self.name}, ...)`"
                )
            return await engine.start_bound(self, self.signature.bind(args, kwargs), **options)
        scope.check_task(f"{self.name}.start()")
        scope.check_session(f"{self.name}.start()")
        return await self._start_once(scope, self.signature.bind(args, kwargs), **options)

    async def start_step(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Like :meth:`start`, inside a workflow only: a step that happens once, however often the code is replayed.

        Raises:
            WrongContext: outside a workflow.
        """
        require_scope(f"{self.name}.start_step()", instead=f"use `await app.start({self.name}, ...)`")
        return await self.start(*args, **kwargs)

    def with_options(
        self,
        *,
        idempotency_key: str | None = None,
        priority: int = 0,
        start_at: datetime | None = None,
        deadline: timedelta | float | None = None,
        close_policy: ClosePolicy | str | None = None,
        started_by: str | None = None,
        tags: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        **more: Any,
    ) -> ConfiguredWorkflow[P, R]:
        """The workflow, to be started or awaited in a certain way.

        ``priority``: higher runs are claimed first. ``start_at``: an aware moment before which it does not begin.
        ``deadline`` (seconds or a ``timedelta`` from its start): then it is cancelled. ``close_policy`` says what
        becomes of a child when its parent ends or is cancelled; a started run with a policy is linked to its parent,
        one without goes on by itself. ``tags`` and ``attributes`` are what the run is found by.

        Raises:
            ValueError: ``start_at`` is naive, ``deadline`` is no length of time, or the policy is none of ``cancel``,
                ``request``, ``abandon``.
        """
        options = {
            "idempotency_key": idempotency_key,
            "priority": priority,
            "due_at": None if start_at is None else moment_in_utc(start_at, what="start_at"),
            "close_policy": None if close_policy is None else ClosePolicy(close_policy).value,
            "started_by": started_by,
            "tags": tags,
            "attributes": attributes,
            **more,
        }
        length = None if deadline is None else duration(deadline, what="deadline")
        return ConfiguredWorkflow(self, length, {k: v for k, v in options.items() if v})

    def new_run(
        self,
        engine: Engine,
        arguments: dict[str, Any],
        *,
        deadline: timedelta | None = None,
        tags: Sequence[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
        **more: Any,
    ) -> NewRun:
        """A run with ``arguments``, ready to be started."""
        more["idempotency_key"] = check_idempotency_key(more.get("idempotency_key"))
        if tags or attributes:
            more["attributes"] = encode_tags(tags) + encode_attributes(attributes or {})
        check_keys(idempotency_key=more.get("idempotency_key"))
        text = self.signature.encode(arguments)
        length = deadline if deadline is not None else self.deadline
        if length is not None:
            more["deadline_at"] = engine.runtime.clock.now() + length
        return NewRun(
            id=engine.new_id(),
            workflow=self.name,
            input=text,
            input_digest=self.signature.digest(text),
            version=self.version,
            on_cancel=self.on_cancel.key if self.on_cancel is not None else None,
            **more,
        )

    async def _as_child(self, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any) -> R:
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
            options = {**execution.run.starters, **options, "parent_id": execution.run.id}
            child = self.new_run(execution.engine, arguments, **options)
        record = await wait_on_record(
            scope,
            path,
            name=self.name,
            kind=StepKind.CHILD,
            reference=child.id if child else None,
            arguments=self.signature.encode_to_compare(arguments),
            child=child,
        )
        if record.state is StepState.FAILED:
            raise revive_error(record.error or "{}")
        return cast(
            "R", decode_recorded(self.signature.result, record.result, what=f"the result of the child at {path}")
        )

    async def _start_once(self, scope: Scope, arguments: dict[str, Any], **options: Any) -> RunHandle[R]:
        execution = scope.execution
        execution.engine.require(self)
        path = scope.next_path(f"start:{self.name}")
        recorded = await find_mark(scope, path, name=self.name)
        if recorded is None:
            options = {**execution.run.starters, **options}
            is_linked = "close_policy" in options
            if is_linked:
                options["parent_id"] = execution.run.id

            def link(outcome: Recorded) -> None:
                if is_linked and outcome.started is not None:
                    execution.link(outcome.started.run_id)

            run = self.new_run(execution.engine, arguments, **options)
            outcome = await leave_mark(
                scope,
                path,
                name=self.name,
                arguments=run.input,
                result=f'"{run.id}"',
                details=LINKED if is_linked else None,
                run=run,
                then=link,
            )
            assert outcome.started is not None
            recorded = execution.journal[path]._replace(result=f'"{outcome.started.run_id}"')
            execution.note(recorded)
        return RunHandle(execution.engine, (recorded.result or "").strip('"'), self)

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}>"


class ConfiguredWorkflow(Generic[P, R]):
    """A workflow with the way in which it is to be started or awaited; see :meth:`Workflow.with_options`."""

    def __init__(self, workflow: Workflow[P, R], deadline: timedelta | None, options: dict[str, Any]) -> None:
        self.workflow = workflow
        self.options = options if deadline is None else {**options, "deadline": deadline}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[None, None, R]:
        if "idempotency_key" in self.options:
            raise WrongContext(
                f"workflow {self.workflow.name!r} was awaited with an idempotency key; a child is known by its place "
                "in the run, so leave out the key, or start it and await `handle.result()`"
            )
        return self.workflow._as_child(args, kwargs, **self.options)  # noqa: SLF001 - two halves of one thing

    async def start(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Like :meth:`Workflow.start`.

        Raises:
            WrongContext, NotFound, Conflict: as for :meth:`Workflow.start`.
        """
        return await self.workflow._start(args, kwargs, **self.options)  # noqa: SLF001

    async def start_step(self, *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Like :meth:`Workflow.start_step`."""
        require_scope(f"{self.workflow.name}.start_step()")
        return await self.start(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.workflow!r} with {self.options!r}>"


async def wait_for_completion(run: RunHandle[Any] | str) -> Any:
    """The result of another run, once it has ended; a run that went on as another counts with that one's end.

    A handle gives the result in its type, an id gives plain JSON. Giving up the wait does nothing to the run.

    Raises:
        RunFailed: it failed or was cancelled.
        NotFound: there is no such run.
        WrongContext: outside a workflow; use ``handle.result()`` there.
    """
    scope = require_scope("wait_for_completion", instead="use `await handle.result()`")
    if not scope.can_wait:
        raise WrongContext("wait_for_completion was called inside a step; wait in the workflow, between steps")
    run_id: str | None = run if isinstance(run, str) else run.id
    ending: dict[str, Any] = {}
    while run_id is not None:
        key = f"{RUN_ENDED}{run_id}"
        path = scope.next_path(key)
        record = await wait_on_record(
            scope, path, name=key, kind=StepKind.WAIT, event_key=key, reference=run_id, watched=run_id
        )
        if record.state is StepState.FAILED:
            raise revive_error(record.error or "{}")
        ending = json.loads(record.result or "{}")
        run_id = ending["continued_as"]
    if ending["state"] == RunState.SUCCEEDED:
        text = ending["result"] or "null"
        return json.loads(text) if isinstance(run, str) else run.workflow.signature.result.decode(text)
    cause = revive_error(ending["error"]) if ending["error"] else None
    raise RunFailed(
        run if isinstance(run, str) else run.id,
        state=ending["state"],
        error_type=type(cause).__qualname__ if cause else "",
        error_message=message_of(cause) if cause else "",
    ) from cause


class _WorkflowDecorator:
    def __init__(self, **options: Any) -> None:
        self._options = options

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Workflow[P, R]:
        return Workflow(function, **self._options)


def workflow_key(name: str, version: str | None) -> str:
    """The key of one version of a workflow, as :attr:`Workflow.key` and ``statements.WORKFLOW_KEY`` have it."""
    return name if version is None else f"{name} {version}"


def workflow(
    name: str | None = None,
    *,
    version: str | None = None,
    deadline: timedelta | float | None = None,
    on_cancel: Workflow[Any, Any] | None = None,
    concurrency: int | None = None,
    upcasters: Sequence[Upcaster] = (),
) -> _WorkflowDecorator:
    """Make an async function a workflow: its steps are kept, and it goes on wherever it was after a crash.

    ``name`` defaults to the function's; it finds live runs their code, so keep it when the function is renamed.
    ``deadline`` (seconds or a ``timedelta``) limits a run from its start to its end; then it is cancelled.
    ``concurrency`` limits how many of its runs one process advances at once; those that wait do not count.
    ``on_cancel`` is a workflow that is started whenever a run of this one was cancelled, in the same commit, whatever
    the run was doing; it takes ``cancelled``, a :class:`CancelledRun`.

    A run keeps the ``version`` that it began with; versions of one name are registered side by side, the one for new
    runs first. ``upcasters`` bring payloads that older code wrote to the form that today's types read.

    Raises:
        DefinitionError: the function cannot be a workflow; the message says why.
    """
    if callable(name):
        raise DefinitionError("write @workflow() with parentheses")
    return _WorkflowDecorator(
        name=name, version=version, deadline=deadline, on_cancel=on_cancel, concurrency=concurrency, upcasters=upcasters
    )
