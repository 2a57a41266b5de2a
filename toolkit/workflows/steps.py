"""The decorator ``step``: a named piece of a workflow whose result is kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from toolkit.errors import DefinitionError
from toolkit.serialization import storable
from toolkit.workflows.calls import run_step
from toolkit.workflows.durations import declared_limit
from toolkit.workflows.retries import RetryPolicy
from toolkit.workflows.runtime import Runtime
from toolkit.workflows.scopes import current_scope
from toolkit.workflows.signatures import Signature, annotated, own_name
from toolkit.workflows.states import StepKind

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[P, R]):
    """A step: call it inside a workflow and it happens once; call it elsewhere and it is the function it was."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        kind: str = StepKind.COMPUTE,
        display_name: str | None = None,
        return_type: Any = None,
        retry: RetryPolicy | None = None,
        timeout: float | timedelta | None = None,
        heartbeat_timeout: float | timedelta | None = None,
    ) -> None:
        self.function = function
        self.name = name or own_name(function, what="a step")
        check_name("step", self.name)
        performed = annotated(function)
        if inspect.isgeneratorfunction(performed) or inspect.isasyncgenfunction(performed):
            raise DefinitionError(
                f"step {self.name!r} is a generator, and what it yields could not be kept; expected a function that "
                "returns its result, such as a list"
            )
        self.kind = kind
        self.display_name = display_name
        self.retry = retry or RetryPolicy()
        self.timeout = declared_limit(timeout, what=f"timeout= of step {self.name!r}")
        self.heartbeat_timeout = declared_limit(heartbeat_timeout, what=f"heartbeat_timeout= of step {self.name!r}")
        self.signature = Signature(function, what=f"step {self.name!r}", return_type=return_type)
        self.is_async = inspect.iscoroutinefunction(performed)
        # The attributes of an object that is called are its own, and may have the names of ours.
        functools.update_wrapper(self, function, updated=("__dict__",) if inspect.isfunction(function) else ())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[None, None, R]:
        return self._call(args, kwargs)

    async def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        scope = current_scope()
        if scope is None:
            return cast("R", await _awaited(self.function(*args, **kwargs)))
        arguments = self.signature.bind(args, kwargs)
        body = functools.partial(self.function, **arguments)
        if not self.is_async:  # it may block: it gets a thread, with this task's context variables
            body = functools.partial(_in_thread, scope.execution.engine.runtime, body)
        result: R = await run_step(
            name=self.name,
            kind=self.kind,
            body=body,
            result=self.signature.result,
            arguments=self.signature.encode_to_compare(arguments),
            display_name=self.display_name,
            retry=self.retry,
            timeout=self.timeout,
            heartbeat_timeout=self.heartbeat_timeout,
            decode=self.signature.decode,
        )
        return result

    def __repr__(self) -> str:
        return f"<step {self.name!r}>"


async def _in_thread(runtime: Runtime, call: Callable[[], Any]) -> Any:
    return await _awaited(await runtime.in_thread(call))


async def _awaited(value: Any) -> Any:
    """What a function gave, also where a plain one stands in front of one that is async."""
    return await value if inspect.isawaitable(value) else value


class _StepDecorator:
    """What ``step(...)`` returns: turns an async or a plain function into a :class:`Step` of the same call."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> Step[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Step[P, R]: ...
    def __call__(self, function: Callable[..., Any]) -> Step[..., Any]:
        return Step(function, **self._options)


def step(
    *,
    name: str | None = None,
    max_retries: int = 0,
    display_name: str | None = None,
    kind: str = StepKind.COMPUTE,
    return_type: Any = None,
    timeout: float | timedelta | None = None,
    heartbeat_timeout: float | timedelta | None = None,
    retry: RetryPolicy | None = None,
) -> _StepDecorator:
    """Make a function a step: its result is kept, and it is never run again once it has one.

    ``max_retries`` counts the attempts after the first, negative for ever; ``retry`` says more about them, and may
    leave their number to it.
    ``timeout`` (seconds or a ``timedelta``) limits one attempt; ``heartbeat_timeout`` limits the time between two calls
    of ``heartbeat()`` in it. ``return_type`` stands in for a missing or wider
    annotation. ``display_name`` is what people see. A plain ``def`` runs in a thread; if it gives something to await,
    as the wrapper of an async function does, that is awaited. A partial has to be given a ``name``.

    Raises:
        DefinitionError: the function cannot be a step; the message says why.
    """
    if callable(name):
        raise DefinitionError("write @step() with parentheses")
    policy = retry or RetryPolicy(max_retries=max_retries)
    if max_retries not in {0, policy.max_retries}:
        if policy.max_retries != 0:
            raise DefinitionError(
                f"max_retries={max_retries} contradicts retry=, which has max_retries={policy.max_retries}; "
                "say it in one place"
            )
        policy = replace(policy, max_retries=max_retries)
    return _StepDecorator(
        name=name,
        kind=kind,
        display_name=display_name,
        return_type=return_type,
        retry=policy,
        timeout=timeout,
        heartbeat_timeout=heartbeat_timeout,
    )


def check_name(what: str, name: str) -> None:
    """Refuse a name that would not survive in a path or an address."""
    if not name or len(name) > 200 or "/" in name or any(character.isspace() for character in name):
        raise DefinitionError(
            f"{what} has the name {name!r}; expected 1 to 200 characters without '/' and without white space"
        )
    if storable(name) != name:
        raise DefinitionError(f"{what} has the name {name!r}; expected characters that a database keeps")
