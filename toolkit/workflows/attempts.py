"""A step on its way from its first attempt to its checkpoint: attempts, pauses, limits, heartbeats."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.errors import SerializationError, StepTimeout
from toolkit.serialization import storable
from toolkit.storage import DataRejected
from toolkit.workflows.failures import RunCancelled, RunParked, message_of, record_error, revive_error
from toolkit.workflows.journal import details_of
from toolkit.workflows.operations import StepRecord
from toolkit.workflows.retries import RetryPolicy
from toolkit.workflows.scopes import Scope, StepContext, entered
from toolkit.workflows.states import StepState
from toolkit.workflows.waits import sleep_on_record

if TYPE_CHECKING:
    from toolkit.workflows.sessions import StepSession

T = TypeVar("T")
Body = Callable[[], Awaitable[T]]

logger = logging.getLogger(__name__)

# A longer pause between two attempts is a timer on record, and the run may leave memory meanwhile.
LONGEST_PAUSE = 5.0
_LEASE_LOOK = 0.05
_HEARTBEAT, _FAILED_ATTEMPTS = "heartbeat", "failed_attempts"  # in the details of a step
_LONGEST_ERROR, _MOST_ERRORS = 1000, 20
LARGEST_PAYLOAD = 50_000_000


class Attempts:
    """One step on its way from its first attempt to its checkpoint."""

    __slots__ = (
        "_on_beat",
        "arguments",
        "attempt",
        "can_wait",
        "clock",
        "details",
        "display_name",
        "errors",
        "execution",
        "heartbeat_timeout",
        "is_deferred",
        "keeps_failures",
        "kind",
        "name",
        "path",
        "retry",
        "scope",
        "started_at",
        "task",
        "timeout",
    )

    def __init__(
        self,
        *,
        scope: Scope,
        task: asyncio.Task[Any] | None,
        path: str,
        name: str,
        kind: str,
        display_name: str | None,
        arguments: str | None,
        timeout: float | None,
        retry: RetryPolicy,
        heartbeat_timeout: float | None = None,
        can_wait: bool = False,
        keeps_failures: bool = True,
        is_deferred: bool = False,
    ) -> None:
        self.scope, self.task = scope, task
        self.execution = scope.execution
        self.path, self.name, self.kind = path, name, kind
        self.display_name, self.arguments = display_name and storable(display_name), arguments
        self.timeout, self.heartbeat_timeout, self.retry = timeout, heartbeat_timeout, retry
        self.can_wait, self.keeps_failures, self.is_deferred = can_wait, keeps_failures, is_deferred
        self.clock = self.execution.engine.runtime.clock
        self.details: dict[str, Any] = {}
        self.errors: list[str] = []
        self.attempt = 1
        self._on_beat: Callable[[], None] | None = None

    async def run(self, body: Body[Any], *, encode: Callable[[Any], str] = str) -> str:
        """The JSON text of the result, durable; ``encode`` makes it of what the body returns."""
        self.scope.check()
        if self.execution.is_pausing:
            await self.scope.begin()
        self.started_at = self.execution.moment()
        self.execution.in_flight[self.path] = self
        try:
            if self.path in self.execution.last_pauses:
                await self._skip_recorded_pauses()
            while True:
                if not self.execution.engine.is_leased:
                    await self._await_lease()
                context = self._new_context()
                try:
                    return await self._attempt(body, encode, context)
                except BaseException as error:
                    if context.session is not None:
                        await context.session.give_up()
                        self._check_cut_off(error)
                    if not isinstance(error, Exception):
                        raise
                    failure = await self._failure_after(error)
                if failure is not None:
                    raise failure
                await self.scope.begin()
        finally:
            self.execution.in_flight.pop(self.path, None)
            self.execution.shown.discard(self.path)

    def _check_cut_off(self, error: BaseException) -> None:
        """A server that went away under the session is nobody's failure: the run is read again, as after a crash."""
        from toolkit.storage import is_passing  # needs SQLAlchemy, which a step without a session does without

        if is_passing(error):
            self.execution.engine.residents.abandon(self.execution)
            raise asyncio.CancelledError("the database went away under a step's session") from error

    def _new_context(self) -> StepContext:
        run = self.execution.run
        return StepContext(
            run.id,
            self.path,
            attempt=self.attempt,
            details=self.details,
            last_heartbeat=self._last_heartbeat() if self.details or self.execution.sightings else None,
            on_beat=self._beat,
            key_run_id=run.key_run_id,
        )

    async def _failure_after(self, error: Exception) -> Exception | None:
        """``None`` if there is another attempt, once its time has come; else what the step raises, which is kept."""
        pause = self.retry.delay_after(
            error, attempt=self.attempt, spread=self.execution.engine.runtime.random.random()
        )
        self._note_error(error)
        if pause is None:
            return await self._keep_failure(error) if self.keeps_failures else error
        logger.info(
            "A step failed and is tried again",
            extra={
                "event": "step.retry",
                "run_id": self.execution.run.id,
                "step": self.path,
                "attempt": self.attempt,
                "error_type": type(error).__qualname__,
                "pause_seconds": round(pause, 3),
            },
        )
        await self._pause(pause)
        self.attempt += 1
        return None

    async def _await_lease(self) -> None:
        """A process that was held up begins nothing before it knows that the run is still its own."""
        while not self.execution.engine.is_leased:
            await self.clock.sleep(_LEASE_LOOK)
            self.scope.check()

    async def _attempt(self, body: Body[Any], encode: Callable[[Any], str], context: StepContext) -> str:
        task = self.task
        assert task is not None
        place = Scope(
            self.execution,
            self.path,
            task=task,
            step=context,
            can_wait=self.can_wait,
            is_shielded=self.scope.is_shielded,
        )
        before = task.cancelling()
        with entered(place):
            try:
                is_timed = self.timeout is not None or self.heartbeat_timeout is not None
                text = encode(await (self._timed(body) if is_timed else body()))
            except asyncio.CancelledError:
                if place.is_dead:
                    raise
                if task.cancelling() > before:
                    raise self.execution.foreign_cancellation() from None
                raise RuntimeError(f"the body of step {self.name!r} raised CancelledError by itself") from None
            except (Exception, RunCancelled, RunParked, KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:  # it would end the event loop, or the run's task: sys.exit()
                what = f"{type(error).__name__}: {message_of(error)}"
                raise RuntimeError(f"the body of step {self.name!r} raised {what}") from error
        if self.details:
            _check_details(self.name, self.details)
        if len(text) > LARGEST_PAYLOAD:
            raise SerializationError(
                f"the result of step {self.name!r} is {len(text):,} characters; at most {LARGEST_PAYLOAD:,} can be "
                "kept; store it as a File and return the reference"
            )
        large_values = self.execution.engine.large_values
        try:
            kept = text if large_values is None else await large_values.keep(text, run_id=self.execution.run.id)
            record = self._row(StepState.SUCCEEDED, result=kept)
            if context.session is not None:
                await self._commit_session(context.session, record, place)
            elif self.is_deferred:
                self.execution.defer(record)
            else:
                await self.execution.record(record)
        except DataRejected as error:
            raise SerializationError(f"the result of step {self.name!r} cannot be stored: {error}") from error
        return text

    async def _commit_session(self, session: StepSession, record: StepRecord, place: Scope) -> None:
        try:
            await session.commit_with(record)
        except asyncio.CancelledError:
            if place.is_dead:
                raise
            raise self.execution.foreign_cancellation() from None
        self.execution.note(record)

    async def _timed(self, body: Body[Any]) -> Any:
        """The attempt, given up when its time is up or when no heartbeat has come for too long."""
        loop = asyncio.get_running_loop()
        silence = self.heartbeat_timeout
        try:
            async with (
                asyncio.timeout(self.timeout) as limit,
                asyncio.timeout(silence) as patience,
            ):
                if silence is not None:
                    self._on_beat = lambda: patience.reschedule(loop.time() + silence)
                return await body()
        except TimeoutError:
            if patience.expired() and silence is not None:
                raise StepTimeout(self.name, silence, what="heartbeat") from None
            if limit.expired() and self.timeout is not None:
                raise StepTimeout(self.name, self.timeout) from None
            raise
        finally:
            self._on_beat = None

    def _beat(self, details: Any) -> None:
        """The body still makes progress; from a thread as well."""
        _check_details(self.name, {_HEARTBEAT: details})
        self.details[_HEARTBEAT] = details
        self.execution.engine.call_in_loop(self._hear)

    def _hear(self) -> None:
        self.execution.shown.discard(self.path)  # the next look puts on record how far it is
        if self._on_beat is not None:
            self._on_beat()

    def _last_heartbeat(self) -> Any:
        if _HEARTBEAT not in self.details and (seen := self.execution.sightings.get(self.path)) is not None:
            self.details.update({_HEARTBEAT: details_of(seen).get(_HEARTBEAT)})
        return self.details.get(_HEARTBEAT)

    def _note_error(self, error: Exception) -> None:
        """Every attempt's error is kept: with the step's failure, or beside its result if a later attempt succeeds."""
        self.errors.append(f"{type(error).__qualname__}: {message_of(error)}")
        if self.retry.max_retries:
            self.details[_FAILED_ATTEMPTS] = [line[:_LONGEST_ERROR] for line in self.errors[-_MOST_ERRORS:]]

    async def _keep_failure(self, error: Exception) -> Exception:
        """Put the failure on record; returns it as every replay will raise it, so that this run goes the same way."""
        text = record_error(error, errors=self.errors)
        await self.execution.record(self._row(StepState.FAILED, error=text))
        recorded = revive_error(text)
        recorded.__cause__, recorded.__context__ = error.__cause__, error.__context__
        recorded.__suppress_context__ = error.__suppress_context__
        return recorded.with_traceback(error.__traceback__)

    def sighting(self) -> StepRecord:
        """The row that shows people a step before it has ended."""
        return self._row(StepState.RUNNING)

    def _row(self, state: StepState, *, result: str | None = None, error: str | None = None) -> StepRecord:
        return StepRecord(
            run_id=self.execution.run.id,
            path=self.path,
            name=self.name,
            kind=self.kind,
            state=state,
            started_at=self.started_at,
            ended_at=None if state is StepState.RUNNING else self.execution.moment(),
            arguments=self.arguments,
            result=result,
            error=error,
            details=self._details_text() if self.details else None,
            display_name=self.display_name,
            attempts=self.attempt,
            epoch=self.execution.epoch,
        )

    def _details_text(self) -> str:
        """What the body left beside its result, as far as JSON has it: the rest was refused by its attempt."""
        try:
            return json.dumps(self.details)
        except (TypeError, ValueError):
            return json.dumps({name: value for name, value in self.details.items() if _is_json(value)})

    def _pause_path(self) -> str:
        return f"{self.path}/retry/{self.attempt}"

    async def _skip_recorded_pauses(self) -> None:
        """After a crash, go on with the attempt that the last pause on record leads up to."""
        self.attempt = self.execution.last_pauses[self.path]
        await sleep_on_record(self.scope, self._pause_path(), seconds=0.0)
        self.attempt += 1

    async def _pause(self, seconds: float) -> None:
        if seconds > LONGEST_PAUSE and self.scope.can_wait:
            await sleep_on_record(self.scope, self._pause_path(), seconds=seconds)
        else:
            await self.clock.sleep(seconds)


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _check_details(step: str, details: dict[str, Any]) -> None:
    for name, value in details.items():
        if not _is_json(value):
            raise SerializationError(
                f"{name!r} in the details of step {step!r} is {type(value).__name__}, and what it holds has no JSON "
                "form; give text, numbers, lists and dicts"
            )
