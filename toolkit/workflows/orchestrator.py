"""The loop of a worker: what is due, what the dead have left, what others did to runs of ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from toolkit.errors import StorageError
from toolkit.ids import uuid7
from toolkit.storage import OutcomeUnknown, Query, Script, StorageUnavailable, read_moment
from toolkit.workflows import statements as sql
from toolkit.workflows.executions import Execution
from toolkit.workflows.heart import Heart, LoopHeart
from toolkit.workflows.liveness import Liveness
from toolkit.workflows.operations import (
    CancelRun,
    ClaimRuns,
    DeliverEvents,
    ExpireWaits,
    Operation,
    ParkUnknown,
    RecordStep,
    ReleaseRuns,
    TakeOver,
)

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

logger = logging.getLogger(__name__)

_LARGEST_CLAIM = 500
_LONGEST_ISOLATION_SECONDS = 10.0
_SHORTEST_LOOK = 0.05  # seconds between looks at what others did, however much they do
# An event that a batch could not match is matched by the next one; a sweep finds those whose process ended in between.
_LONGEST_MISS = timedelta(hours=1)


class Orchestrator:
    """Looks for what is due: at once when poked, at the next limit, and from time to time whatever it was told."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._options = engine.options
        self._clock = engine.runtime.clock
        self._residents = engine.residents
        self._poked = asyncio.Event()
        self._stirred = asyncio.Event()
        self._last_tick = 0.0
        self._next_due: datetime | None = None
        self._no_takeover_before = 0.0
        self._last_beat = float("-inf")
        self._lapses = self._dispelled_lapses = 0
        self.has_recovered = not engine.options.is_worker
        self.is_isolating = False  # a suspect runs alone: nothing else is taken meanwhile
        self._heart: Heart | LoopHeart | None = None
        self._liveness: Liveness | None = None

    async def open(self) -> None:
        """Begin; a worker also proves from now on that it lives."""
        if self._options.is_worker:
            if self._engine.database.dialect == "sqlite" and self._engine.runtime.has_threads:
                self._liveness = Liveness(self._engine.database.path, worker_id=self._engine.worker_id)
                self._liveness.hold()
            self._last_tick = self._clock.monotonic()
            began = self._clock.monotonic()
            self._heart = self._make_heart()
            await self._heart.start()
            self._last_beat = began
            self._engine.spawn(self._tick())
            self._engine.spawn(self._work())
        self._engine.spawn(self._watch())

    def _make_heart(self) -> Heart | LoopHeart:
        engine, interval = self._engine, self._options.lease_seconds / 3
        if not engine.runtime.has_threads:
            return LoopHeart(
                engine.database, engine.runtime, worker_id=engine.worker_id, interval=interval, on_beat=self._note_beat
            )
        return Heart(
            engine.database,
            worker_id=engine.worker_id,
            interval=interval,
            is_ticking=self._is_ticking,
            on_beat=self._note_beat,
        )

    async def close(self) -> None:
        """Stop proving that this worker lives; everything it had was given back."""
        if self._heart is not None:
            await self._heart.stop()
            try:
                await self._engine.database.writer.run(_forget(self._engine.worker_id))
            except StorageError as error:
                logger.warning(
                    "This worker's row could not be removed; it is forgotten after a day",
                    extra={"event": "worker.not_forgotten", "reason": str(error)},
                )
        if self._liveness is not None:
            self._liveness.release()

    def poke(self) -> None:
        """Something may be due: look now instead of at the next turn."""
        self._poked.set()
        self._stirred.set()

    def note_deadline(self, deadline_at: datetime | None) -> None:
        """See that somebody looks when this limit passes."""
        if deadline_at is not None and (self._next_due is None or deadline_at < self._next_due):
            self._next_due = deadline_at
            self.poke()

    def _is_ticking(self) -> bool:
        return self._clock.monotonic() - self._last_tick < self._options.lease_seconds / 2

    @property
    def is_leased(self) -> bool:
        """Whether the runs that we hold are certainly still ours."""
        is_fresh = self._clock.monotonic() - self._last_beat < self._options.lease_seconds
        return is_fresh and self._lapses == self._dispelled_lapses

    def _note_beat(self, age: float | None, began: float) -> None:
        """A worker that was away itself (sleep, outage) must not think that everybody else was, nor that it was not.

        ``age`` is that of the beat before, on record. A beat that was kept but whose answer was lost hides how long we
        were away before it; our own clock does not.
        """
        lease = self._options.lease_seconds
        if age is None or age > lease or began - self._last_beat > lease:
            self._lapses += 1
            self._no_takeover_before = self._clock.monotonic() + lease
        self._last_beat = began

    # What is due ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        next_sweep = self._clock.monotonic()
        while self._engine.is_open:
            self._poked.clear()
            try:
                if self._clock.monotonic() >= next_sweep:
                    await self._sweep()
                    next_sweep = self._clock.monotonic() + self._options.lease_seconds / 3
                self._expire_waits_of_running()
                await self._claim()
                self.has_recovered = True
            except Exception as error:  # noqa: BLE001 - a worker that stops looking looks healthy and does nothing
                _note_failed_look("A look for due runs failed; looking again", error)
            await self._pause()

    async def _tick(self) -> None:
        """Show the heart that the event loop is served, however long the database takes."""
        while self._engine.is_open:
            self._last_tick = self._clock.monotonic()
            await self._clock.sleep(self._options.lease_seconds / 10)

    async def _pause(self) -> None:
        """Until poked, until the next limit, or for one turn."""
        seconds = self._options.poll_seconds
        if self._next_due is not None:
            # Not less: the database may think that it is earlier than we do, and says when something is due.
            seconds = min(seconds, max((self._next_due - self._clock.now()).total_seconds(), 0.01))
        await self._wait(self._poked, seconds)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until ``event``, at most so long."""
        sleeper = self._engine.runtime.spawn(self._clock.sleep(seconds))
        waiter = self._engine.runtime.spawn(event.wait())
        try:
            await asyncio.wait([sleeper, waiter], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            waiter.cancel()

    async def _claim(self) -> None:
        names = self._engine.registry.keys
        await self._run_suspects(names)
        while self._engine.is_open and self._residents.room > 0:
            limit = min(self._residents.room, _LARGEST_CLAIM)
            taken = await self._try(ClaimRuns(limit, names))
            if not taken or taken < limit:
                break
        rows = await self._engine.read(Query(sql.NEXT_DUE, [self._engine.own_now()]))
        limits = [self._residents.nearest_deadline(), read_moment(rows[0][0]), await self._end_overdue()]
        limits.append(await self._engine.timetable.look())
        self._next_due = min((moment for moment in limits if moment is not None), default=None)

    async def _end_overdue(self) -> datetime | None:
        """Cancel the runs whose time is up; the moment at which the next one's is."""
        now = self._clock.now()
        for run_id, text in await self._engine.read(Query(sql.OVERDUE_RUNS)):
            deadline_at = read_moment(text)
            assert deadline_at is not None
            if deadline_at > now:
                return deadline_at
            reason = f"its deadline, {deadline_at.isoformat(timespec='seconds')}, has passed"
            await self._try(CancelRun(run_id, reason, by=None))
        return None

    async def _run_suspects(self, names: list[str]) -> None:
        """One a turn, so that they do not hold up everybody; all of them before this worker calls itself recovered.

        Processes that are ended from outside in quick succession would otherwise never let a suspect clear itself.
        """
        deadline = self._clock.monotonic() + _LONGEST_ISOLATION_SECONDS
        while await self._run_suspect(names) and not self.has_recovered and self._clock.monotonic() < deadline:
            pass

    async def _run_suspect(self, names: list[str]) -> bool:
        """A run that was lost twice in a row may be what ends its process: it runs first, and alone.

        Its neighbours wait until it has made a checkpoint, or has ended, or has had its time.
        """
        due = Query(sql.DUE_SUSPECTS, [self._engine.own_now(), names])
        if not self._engine.is_open or not await self._engine.read(due):
            return False
        self.is_isolating = True
        try:
            await self._until(lambda: self._residents.active_count == 0)
            if self._residents.active_count == 0 and await self._try(ClaimRuns(1, names, is_isolated=True)):
                await self._until(self._residents.has_progressed)
        finally:
            self.is_isolating = False
        return True

    async def _until(self, condition: Callable[[], bool]) -> None:
        deadline = self._clock.monotonic() + _LONGEST_ISOLATION_SECONDS
        while not condition() and self._engine.is_open and self._clock.monotonic() < deadline:
            self._last_tick = self._clock.monotonic()
            self._expire_waits_of_running()
            await self._clock.sleep(0.02)

    def _expire_waits_of_running(self) -> None:
        now = self._clock.now()
        for execution in self._residents.running.values():
            deadline = execution.next_deadline
            if deadline is not None and deadline <= now and not execution.is_dead:
                self._engine.submit(ExpireWaits(execution.run.id, execution.epoch))

    async def _try(self, operation: Operation) -> Any:
        try:
            return await self._engine.submit(operation)
        except OutcomeUnknown:
            return None  # the next sweep finds what it left

    # What slipped through ------------------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Take over from the dead, and make good what a lost notification or commit has left."""
        if self.is_leased and self._clock.monotonic() >= self._no_takeover_before:
            dead = await self._dead_workers()
            options = self._options
            await self._try(TakeOver(dead, options.lease_seconds, options.max_losses, options.max_total_losses))
        await self._release_strays()
        await self._park_unknown()
        since = uuid7(self._clock.now() - _LONGEST_MISS, 0) if self.has_recovered else ""  # at first all there is
        keys = [key for (key,) in await self._engine.read(Query(sql.MISSED_KEYS, [since]))]
        await self._try(DeliverEvents(keys))
        try:
            await self._engine.run_script(_forget_silent(self._clock.now() - timedelta(days=1)))
        except (StorageUnavailable, OutcomeUnknown):
            return  # the next sweep does it

    async def _park_unknown(self) -> None:
        """Runs that no worker has taken for a while because nobody has their code."""
        parked = await self._try(ParkUnknown(self._engine.registry.keys, self._options.unknown_grace_seconds))
        if parked:
            logger.error(
                "Runs were parked because no worker has their workflow, or their version of it",
                extra={"event": "run.parked_unknown", "runs": len(parked), "run_ids": list(parked)[:20]},
            )

    async def _dead_workers(self) -> list[str]:
        if self._liveness is None:
            return []
        workers = [worker for (worker,) in await self._engine.read(Query(sql.WORKERS))]
        return [worker for worker in workers if self._liveness.is_dead(worker)]

    async def _release_strays(self) -> None:
        """Runs that are ours on record but not in memory: a commit with an unknown outcome has left them."""
        rows = await self._engine.read(Query(sql.RUNS_OF_WORKER, [self._engine.worker_id]))
        strays = [(run_id, epoch) for run_id, epoch in rows if not self._residents.holds(run_id, epoch)]
        if strays:
            await self._try(ReleaseRuns(strays))

    # What others did -----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Hear other processes, and look from time to time whatever was heard."""
        listener = self._engine.database.listener(self.poke)
        took = 0.0
        try:
            while self._engine.is_open:
                if listener is not None:
                    try:
                        await listener.listen()
                    except StorageUnavailable as error:
                        logger.warning(
                            "Notifications cannot be heard; looking from time to time instead",
                            extra={"event": "worker.deaf", "reason": str(error)},
                        )
                await self._await_news(shortest=max(_SHORTEST_LOOK, 10 * took))
                try:
                    began = self._clock.monotonic()
                    await self._engine.look_for_completions()
                    took = self._clock.monotonic() - began
                    await self._dispel_doubt()
                    await self._look_at_own()
                except Exception as error:  # noqa: BLE001 - as above
                    _note_failed_look("A look at what others did failed; looking again", error)
                try:
                    self._record_what_is_under_way()
                except Exception as error:  # noqa: BLE001 - as above
                    _note_failed_look("What is under way could not be put on record; trying again", error)
        finally:
            if listener is not None:
                await listener.close()

    async def _await_news(self, *, shortest: float) -> None:
        """One turn, or less when others have committed and somebody here waits for a run that is with them."""
        turn = min(self._options.poll_seconds, 0.5)
        shortest = min(turn, shortest)
        self._stirred.clear()
        await self._clock.sleep(shortest)
        if self._engine.awaits_others:
            await self._wait(self._stirred, turn - shortest)
        else:
            await self._clock.sleep(turn - shortest)

    async def _dispel_doubt(self) -> None:
        """After a lapse: our heartbeat is fresh again, so what is ours on record now is ours; the rest was taken."""
        lapses, held = self._lapses, list(self._residents.running.values())
        if lapses == self._dispelled_lapses:
            return
        rows = await self._engine.read(Query(sql.RUNS_OF_WORKER, [self._engine.worker_id]))
        ours = {(run_id, epoch) for run_id, epoch in rows}
        for execution in held:
            if (execution.run.id, execution.epoch) not in ours:
                self._residents.abandon(execution)
        self._dispelled_lapses = lapses  # one that came meanwhile calls for another look

    async def _look_at_own(self) -> None:
        """What other processes did to runs that are ours: deliveries, cancels, pauses and their ends."""
        if not self._residents.running:
            return
        touched: list[Execution] = []
        paused: set[str] = set()
        held = self._residents.held_up()  # before the look: it says nothing of a pause that comes after it
        for run_id, is_cancelled, is_paused, is_due in await self._engine.read(
            Query(sql.TOUCHED_RUNS, [self._engine.worker_id])
        ):
            execution = self._residents.running.get(run_id)
            if execution is None:
                continue
            if is_paused:
                paused.add(run_id)
                self._residents.request_pause(run_id)
            if is_cancelled and not execution.is_cancel_requested:
                execution.request_cancel()
            elif is_due and execution.waits:
                touched.append(execution)
        for execution in held:
            if execution.run.id not in paused:
                execution.parking.end_pause()
        if touched:
            self._residents.read_deliveries(touched)

    def _record_what_is_under_way(self) -> None:
        """Put on record what was deferred, and steps that have run for more than a second, so that people see them."""
        before = self._clock.now() - timedelta(seconds=1)
        for execution in self._residents.running.values():
            execution.deferrals.send()
            for step in execution.long_steps(began_before=before):
                execution.shown.add(step.path)
                self._engine.submit(RecordStep(execution.run.id, execution.epoch, step))


def _note_failed_look(message: str, error: Exception) -> None:
    """A database that is away is nothing new; anything else is a fault of ours, and says where it is."""
    is_foreseen = isinstance(error, StorageError)
    logger.log(
        logging.WARNING if is_foreseen else logging.ERROR,
        message,
        exc_info=None if is_foreseen else error,
        extra={"event": "worker.look_failed", "reason": str(error)},
    )


def _forget(worker_id: str) -> Script[None]:
    yield Query(sql.FORGET_WORKER, [worker_id])


def _forget_silent(before: datetime) -> Script[None]:
    yield Query(sql.FORGET_SILENT, [before])
