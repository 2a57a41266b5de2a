"""The one way in which a step runs: journal first, then attempts, then the checkpoint.

Everything above the engine that is "a step" goes through :func:`run_step`; what an agent does inside its step goes
through :func:`checkpoint`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from toolkit.errors import SerializationError, WrongContext
from toolkit.round_trips import difference
from toolkit.serialization import Codec
from toolkit.workflows.attempts import Attempts, Body
from toolkit.workflows.failures import revive_error
from toolkit.workflows.journal import details_of
from toolkit.workflows.large_values import whole
from toolkit.workflows.matching import mismatch
from toolkit.workflows.retries import RetryPolicy
from toolkit.workflows.scopes import current_scope
from toolkit.workflows.states import StepKind, StepState
from toolkit.workflows.upcasters import decode_recorded

T = TypeVar("T")


async def run_step(
    *,
    name: str,
    kind: str,
    body: Body[T],
    result: Codec[T],
    arguments: str | None = None,
    display_name: str | None = None,
    max_retries: int = 0,
    timeout: float | None = None,
    heartbeat_timeout: float | None = None,
    retry: RetryPolicy | None = None,
    adopt: Callable[[dict[str, Any]], None] | None = None,
    decode: Callable[[str], Any] | None = None,
    can_wait: bool = False,
) -> T:
    """Run ``body`` as a step of the run that the caller stands in; outside a run, simply run it.

    A step that is on record returns what is recorded, or raises it. ``arguments`` is JSON text, compared on replay.
    ``decode`` makes of that text what today's types make of it, for arguments whose text differs.
    ``adopt`` gets the recorded details then, so that a kind can rebuild what it keeps in memory. ``can_wait`` says that
    the body may wait for events: it is run again from its own checkpoints after a long wait.

    Raises:
        WrongContext: called from a task of the author's own; use ``gather``.
        SerializationError: the result does not fit its type.
    """
    scope = current_scope()
    if scope is None:
        return await body()
    scope.check_task("step", name)
    scope.check_session("step", name)
    path = scope.next_path(name)
    execution = scope.execution
    recorded = execution.journal.get(path)
    if recorded is not None and (recorded.state is StepState.SUCCEEDED or scope.step is None):
        is_same = _same_arguments(recorded.arguments, arguments, decode) or execution.is_given(recorded)
        if recorded.kind != kind or not is_same:
            raise mismatch(recorded, kind=kind, name=name, arguments=arguments)
        if adopt is not None:
            adopt(details_of(recorded))
        if recorded.state is StepState.FAILED:
            raise revive_error(recorded.error or "{}")
        text = await whole(recorded.result, execution.engine.large_values)
        if text is not recorded.result:
            text = execution.upcast_fetched(recorded, text)
        return cast("T", decode_recorded(result, text, what=f"the result of the step at {path}"))
    if path in execution.waits:  # a wait is open where the code has a step now
        raise mismatch(execution.waits[path], kind=kind, name=name, arguments=arguments)
    attempts = Attempts(
        scope=scope,
        task=scope.task,
        path=path,
        name=name,
        kind=kind,
        display_name=display_name,
        arguments=arguments,
        timeout=timeout,
        heartbeat_timeout=heartbeat_timeout,
        retry=retry or RetryPolicy(max_retries=max_retries),
        can_wait=can_wait,
    )
    return result.decode(await attempts.run(body, encode=result.encode))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A kept result inside a step: its JSON text, whether it was made just now, and what its body noted."""

    value: str
    fresh: bool
    details: dict[str, Any]


async def checkpoint(
    key: str,
    *,
    kind: str,
    body: Body[str],
    arguments: str | None = None,
    display_name: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: float | None = None,
    is_deferred: bool = False,
) -> Checkpoint:
    """Keep what ``body`` returns under ``key`` of the step that the caller stands in.

    The key is explicit, so any task below the step may call this, in any order. ``body`` returns JSON text and runs
    in a place of its own: steps, rules and agents inside it get paths below the key. Its errors are not kept; they
    reach the caller as they are. ``arguments`` is shown, never compared.

    One that ``is_deferred`` becomes durable with what the run commits next (not with a step's own session), or half a
    second later: for what may be made anew as long as nothing that follows from it is on record.

    Raises:
        WrongContext: outside the body of a step.
    """
    scope = current_scope()
    if scope is None or scope.step is None:
        raise WrongContext(f"checkpoint {key!r} was made outside the body of a step")
    path = f"{scope.path}/{key}"
    recorded = scope.execution.journal.get(path)
    if recorded is not None and recorded.state is StepState.SUCCEEDED:
        text = await whole(recorded.result, scope.execution.engine.large_values)
        return Checkpoint(text or "null", fresh=False, details=details_of(recorded))
    attempts = Attempts(
        scope=scope,
        task=asyncio.current_task(),
        path=path,
        name=key,
        kind=kind,
        display_name=display_name,
        arguments=arguments,
        timeout=timeout,
        retry=retry or RetryPolicy(),
        keeps_failures=False,
        is_deferred=is_deferred,
    )
    value = await attempts.run(body)
    return Checkpoint(value, fresh=True, details=attempts.details)


def _same_arguments(recorded: str | None, now: str | None, decode: Callable[[str], Any] | None) -> bool:
    """Whether two argument texts mean the same: the same text, the same JSON, or the same under today's types.

    A type may have gained a default since, or its fields another order; a set has another order in each process. That
    harms nobody.
    """
    if recorded == now or recorded is None or now is None:
        return recorded == now
    if json.loads(recorded) == json.loads(now):
        return True
    try:
        return decode is not None and difference(decode(recorded), decode(now)) is None
    except SerializationError:
        return False


__all__ = ["Checkpoint", "StepKind", "checkpoint", "run_step"]
