"""Waiting: for an event, for a moment, for the answer that a step kind asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from toolkit.errors import WaitTimeout, WrongContext
from toolkit.serialization import check_keys, codec_for, storable
from toolkit.workflows.durations import duration, moment_in_utc
from toolkit.workflows.failures import RunCancelled, RunParked, revive_error
from toolkit.workflows.keys import ANSWERED, check_event_key
from toolkit.workflows.marks import find_mark, leave_mark
from toolkit.workflows.matching import expect, mismatch
from toolkit.workflows.operations import (
    AttachedRows,
    CloseWaits,
    NewEvent,
    NewRun,
    OpenWait,
    StepRecord,
    WaitRecord,
)
from toolkit.workflows.outcomes import Fate, WaitsClosed
from toolkit.workflows.scopes import Scope, current_scope, require_scope
from toolkit.workflows.states import StepKind, StepState

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

T = TypeVar("T")


async def wait_on_record(
    scope: Scope,
    path: str,
    *,
    name: str,
    kind: str,
    event_key: str | None = None,
    deadline_at: datetime | None = None,
    reference: str | None = None,
    arguments: str | None = None,
    display_name: str | None = None,
    wait_id: str | None = None,
    child: NewRun | None = None,
    attached: Sequence[AttachedRows] = (),
    **more: Any,
) -> StepRecord:
    """The record of the wait at ``path`` once it has ended, whenever that was.

    Registers the wait if it is not registered yet; ``child`` is started and ``attached`` is written in that same
    commit. ``more`` goes to :class:`OpenWait`.
    """
    execution = scope.execution
    if path in execution.journal:
        return expect(execution.journal[path], kind=kind, name=name)
    check_keys(key=event_key)
    try:
        await scope.begin()
    except RunCancelled as ending:
        return expect(await _end_before_going(scope, path, ending), kind=kind, name=name)
    if path in execution.journal:  # it has ended while a pause held us up
        return expect(execution.journal[path], kind=kind, name=name)
    if path not in execution.waits:
        wait = WaitRecord(
            id=wait_id or execution.engine.new_id(),
            run_id=execution.run.id,
            path=path,
            name=name,
            kind=kind,
            event_key=event_key,
            after_seq=execution.cursors.get(name, 0) if kind == StepKind.WAIT else 0,
            deadline_at=deadline_at,
            reference=reference,
            arguments=arguments,
            display_name=display_name and storable(display_name),
            created_at=execution.moment(),
        )
        if child is not None:
            child = replace(child, parent_wait=wait.id)
        operation = OpenWait(
            execution.run.id, execution.epoch, wait, child, attached, is_shielded=scope.is_shielded, **more
        )
        opened = await execution.commit(operation, then=execution.note_wait)
        if opened.fate is Fate.CANCELLED:
            execution.request_cancel()
            raise RunCancelled
        if path in execution.journal:  # over before it began, or since
            return expect(execution.journal[path], kind=kind, name=name)
    if (execution.waits[path].kind, execution.waits[path].name) != (kind, name):
        raise mismatch(execution.waits[path], kind=kind, name=name, arguments=arguments)
    execution.engine.note_deadline(execution.waits[path].deadline_at)
    try:
        record = await execution.parking.wait_at(path, scope)
        return expect(record, kind=kind, name=name)
    except RunCancelled as ending:
        return expect(await _end_before_going(scope, path, ending), kind=kind, name=name)
    except asyncio.CancelledError:
        if scope.is_dead:
            raise
        raise execution.foreign_cancellation() from None


async def _end_before_going(scope: Scope, path: str, ending: RunCancelled) -> StepRecord:
    """How the wait at ``path`` ended, if it has; otherwise it is closed, and ``ending`` is raised.

    What is on record decides: a replay goes past a wait whose end is in the journal, and has to find there what is
    undone now. Without a section in the run nothing follows, and the end of the run takes its waits with it.
    """
    execution = scope.execution
    wait = execution.waits.get(path)
    if wait is not None and execution.has_sections:
        children = [wait.reference] if wait.kind == StepKind.CHILD and wait.reference else []
        closing = CloseWaits(execution.run.id, execution.epoch, [wait.id], children)
        closed: WaitsClosed = await execution.commit(closing)
        if not closed.are_all:
            if not execution.journal.holds(path):  # another process has ended it; the run is read again
                execution.engine.residents.abandon(execution)
                raise asyncio.CancelledError("a wait has ended, and this copy of the run has not heard of it")
        else:
            execution.waits.pop(path, None)
    if execution.journal.holds(path):
        return execution.journal[path]
    raise ending


def _require_wait(verb: str) -> Scope:
    scope = require_scope(verb)
    if not scope.can_wait:
        raise WrongContext(
            f"{verb} was called inside a step; a step runs to its end in one go, so wait in the workflow, between steps"
        )
    return scope


async def sleep_on_record(scope: Scope, path: str, *, seconds: float) -> None:
    """Wait ``seconds`` from when this was first asked, even over restarts."""
    due = scope.execution.engine.runtime.clock.now() + timedelta(seconds=seconds)
    await wait_on_record(scope, path, name=path.rsplit("/", 2)[-2], kind=StepKind.TIMER, deadline_at=due)


async def suspend(*, interval: timedelta | float | None = None, wakeup_at: datetime | None = None) -> None:
    """Go on after ``interval`` (seconds or a ``timedelta``), or at ``wakeup_at`` (an aware moment).

    The moment is on record: it holds over restarts, and one that passes while everything is down is made good at once.
    One that has passed already holds nothing up; for an interval that may be negative by then, say the moment.

    Raises:
        ValueError: neither or both are given, the interval is no length of time, or the moment is naive.
        WrongContext: outside a workflow.
    """
    scope = _require_wait("suspend")
    if (interval is None) == (wakeup_at is None):
        raise ValueError("suspend takes either interval= or wakeup_at=")
    path = scope.next_path("suspend")
    if wakeup_at is not None:
        wakeup_at = moment_in_utc(wakeup_at, what="wakeup_at")
    elif not scope.execution.is_on_record(path):  # on a replay the moment on record holds, whatever is computed now
        assert interval is not None
        wakeup_at = scope.execution.engine.runtime.clock.now() + duration(interval, what="interval")
    await wait_on_record(scope, path, name="suspend", kind=StepKind.TIMER, deadline_at=wakeup_at)


Since = Literal["ever", "run_start", "now"]


@overload
async def wait_for_event(key: str, *, max_wait_time: float | timedelta = -1, since: Since = "ever") -> Any: ...
@overload
async def wait_for_event(
    key: str, *, max_wait_time: float | timedelta = -1, since: Since = "ever", payload_type: type[T]
) -> T: ...


async def wait_for_event(
    key: str, *, max_wait_time: float | timedelta = -1, since: Since = "ever", payload_type: Any = None
) -> Any:
    """The payload of the next event ``key`` that this run has not had yet; one that came before the wait counts.

    ``max_wait_time`` is in seconds or a ``timedelta``; negative waits for ever. For keys that recur, such as a daily
    ``rates-published``, ``since`` leaves out what was emitted before the run was started, or before this wait.

    Raises:
        WaitTimeout: the limit passed first.
        InvalidInput: the key is one of the toolkit's own, or no database keeps it; or the limit is no length of time.
        SerializationError: the payload does not fit ``payload_type``.
        WrongContext: outside a workflow.
    """
    scope = _require_wait("wait_for_event")
    check_event_key(key)
    seconds = max_wait_time.total_seconds() if isinstance(max_wait_time, timedelta) else max_wait_time
    limit = None if seconds < 0 else duration(max_wait_time, what="max_wait_time")
    record = await wait_on_record(
        scope,
        scope.next_path(key),
        name=key,
        kind=StepKind.WAIT,
        event_key=key,
        deadline_at=None if limit is None else scope.execution.engine.runtime.clock.now() + limit,
        since=scope.execution.run.created_at if since == "run_start" else None,
        is_from_now=since == "now",
    )
    if record.state is StepState.FAILED:
        raise WaitTimeout(key)
    return codec_for(payload_type or Any).decode(record.result or "null")


@dataclass(frozen=True, slots=True)
class WaitOutcome:
    """How a wait of a step kind ended: with its answer, or because its limit passed."""

    path: str
    payload: str | None
    is_expired: bool
    ended_at: datetime
    error: Exception | None = None


async def wait_for(
    *,
    name: str,
    kind: str,
    deadline_at: datetime | None,
    reference: str,
    arguments: str,
    display_name: str | None = None,
    wait_id: str | None = None,
    attached: Sequence[AttachedRows] = (),
) -> WaitOutcome:
    """For step kinds: wait for an answer, writing ``attached`` rows in the commit that registers the wait.

    ``resolve_wait`` gives the answer, to the wait of this id; no event does. ``wait_id`` (see :func:`next_wait_id`)
    lets the rows name the wait. ``reference`` is the kind's own name for what it waits on; a wait that ends without its
    answer is reported with it to the closer that the kind has registered with the engine, in the same commit.

    Raises:
        WrongContext: outside a workflow, or inside the body of a step.
    """
    scope = _require_wait(f"{kind} {name!r}")
    path = scope.next_path(name)
    execution = scope.execution
    wait_id = wait_id or execution.engine.new_id()
    record = await wait_on_record(
        scope,
        path,
        name=name,
        kind=kind,
        event_key=f"{ANSWERED}{wait_id}",
        deadline_at=deadline_at,
        reference=reference,
        arguments=arguments,
        display_name=display_name,
        wait_id=wait_id,
        attached=attached,
    )
    is_expired = record.state is StepState.FAILED
    return WaitOutcome(
        path=path,
        payload=None if is_expired else record.result,
        is_expired=is_expired,
        ended_at=record.ended_at or execution.engine.runtime.clock.now(),
        error=revive_error(record.error) if record.error else None,
    )


def next_wait_id() -> str:
    """A fresh id for what a step kind is about to wait on, from the run's own source of ids.

    Raises:
        WrongContext: outside a workflow.
    """
    return _require_wait("waiting").execution.engine.new_id()


def encode_payload(payload: Any) -> str:
    """The payload of an event as JSON text.

    Raises:
        SerializationError: it is not plain JSON; nothing declares its type but whoever waits.
    """
    return codec_for(Any).encode(payload, advice=_PLAIN)


_PLAIN = (
    "nothing declares the type of an event, so its payload is plain JSON: hand over what model_dump(mode='json') of a "
    "model gives, or pydantic_core.to_jsonable_python(value), and have the wait read it by payload_type="
)


async def emit_event(
    key: str,
    payload: Any = None,
    *,
    run_id: str | None = None,
    session: AsyncSession | None = None,
    idempotency_key: str | None = None,
) -> None:
    """Emit event ``key`` to every run that waits for it now or later, or to ``run_id`` alone.

    Inside a workflow it is a step and happens once. With ``session`` the event exists if and only if that session
    commits; call :meth:`Engine.poke` after the commit to have it delivered at once. Of those with one
    ``idempotency_key`` the first is kept, whoever emits the others.

    Raises:
        InvalidInput: a key is one of the toolkit's own, or holds characters that no database keeps.
        SerializationError: the payload is not plain JSON.
        WrongContext: outside a workflow, without a session; there, use ``engine.emit_event``.
    """
    check_event_key(key)
    text = encode_payload(payload)
    scope = current_scope()
    if session is not None:
        from toolkit.workflows.sessions import insert_event

        new_id = scope.execution.engine.new_id if scope is not None else None
        await insert_event(
            session, key=key, payload=text, run_id=run_id, new_id=new_id, idempotency_key=idempotency_key
        )
        return
    if scope is None:
        raise WrongContext("emit_event works inside a running workflow; elsewhere use engine.emit_event(...)")
    scope.check_task("emit_event")
    scope.check_session("emit_event")
    await _emit_once(scope, key=key, text=text, run_id=run_id, idempotency_key=idempotency_key)


async def _emit_once(
    scope: Scope, *, key: str, text: str, run_id: str | None, idempotency_key: str | None = None
) -> None:
    path = scope.next_path(f"emit:{key}")
    if await find_mark(scope, path, name=key) is None:
        check_keys(key=key, idempotency_key=idempotency_key, run_id=run_id)
        event = NewEvent(scope.execution.engine.new_id(), key, text, run_id, idempotency_key)
        await leave_mark(scope, path, name=key, arguments=text, event=event)


__all__ = [
    "RunParked",
    "WaitOutcome",
    "emit_event",
    "next_wait_id",
    "sleep_on_record",
    "suspend",
    "wait_for",
    "wait_for_event",
    "wait_on_record",
]
