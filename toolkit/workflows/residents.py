"""The runs in this process's memory: those it advances, those it keeps warm, those it is reading in."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from toolkit.storage import Query
from toolkit.workflows import statements as sql
from toolkit.workflows.executions import Execution
from toolkit.workflows.operations import StepRecord, WaitRecord
from toolkit.workflows.outcomes import ClaimedRun, Effects
from toolkit.workflows.performance import perform
from toolkit.workflows.rows import to_claimed, to_step, to_wait
from toolkit.workflows.states import RunState

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

# At the end of the process, at least: what does not unwind by then ends with it.
_SHORTEST_EVICTION = 0.5
# Copies that are given up end in the next turn of the event loop; after this time somebody sees to those that do not.
_USUAL_EVICTION = 0.05


@dataclass(slots=True)
class _Arrival:
    """A claimed run whose journal is still on its way, and what comes for it meanwhile."""

    epoch: int
    workflow: str = ""
    delivered: list[StepRecord] = field(default_factory=list)
    is_cancel_requested: bool = False
    is_pausing: bool = False
    is_in_doubt: bool = False


class Residents:
    """Keeps what the database says of our runs and what is in memory in step.

    :meth:`apply` is called once a batch, after its commit and before anybody hears of an outcome: no run is ever both
    ours on record and unknown here.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.running: dict[str, Execution] = {}
        self.warm: OrderedDict[str, Execution] = OrderedDict()
        self._warm_bytes = 0
        self._loading: dict[str, _Arrival] = {}
        self.unwanted: list[tuple[str, int]] = []  # became ours while the engine was closing: (run, epoch)
        self._ending: list[Execution] = []  # given up, and perhaps not ended yet

    @property
    def active_count(self) -> int:
        """How many runs this process advances."""
        return len(self.running) + len(self._loading)

    @property
    def room(self) -> int:
        """How many more it may take."""
        return self._engine.options.concurrency - self.active_count

    def rooms(self) -> dict[str, int]:
        """How many more it may take of each workflow that has a limit of its own."""
        rooms = dict(self._engine.registry.limits)
        if rooms:
            active = [execution.run.workflow for execution in self.running.values()]
            for name in [*active, *(arrival.workflow for arrival in self._loading.values())]:
                if name in rooms:
                    rooms[name] -= 1
        return rooms

    def holds(self, run_id: str, epoch: int | None = None) -> bool:
        """Whether the run is advanced here, or about to be; with ``epoch``, whether in that very epoch."""
        present = (self.running.get(run_id), self._loading.get(run_id))
        return any(one is not None and epoch in {None, one.epoch} for one in present)

    def has_progressed(self) -> bool:
        """Whether nothing runs here that has not made a checkpoint since it was taken."""
        return not self._loading and all(execution.has_progressed for execution in self.running.values())

    def owned(self) -> list[tuple[str, int]]:
        """The runs that are ours on record, each with its epoch."""
        running = [(run_id, execution.epoch) for run_id, execution in self.running.items()]
        return running + [(run_id, arrival.epoch) for run_id, arrival in self._loading.items()]

    def nearest_deadline(self) -> datetime | None:
        """The nearest limit of a wait of a running run."""
        deadlines = [execution.next_deadline for execution in self.running.values()]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # After a commit ------------------------------------------------------------------------------------------------

    def apply(self, effects: Effects) -> None:
        """Bring memory in step with what a batch has done."""
        if not self._engine.is_open:
            self._refuse(effects)
        evicted: dict[str, int] = {}
        for run_id, prior_epoch, epoch in effects.woken:
            if not self._go_on(run_id, prior_epoch=prior_epoch, epoch=epoch):
                self._expect(run_id, epoch)
                evicted[run_id] = epoch
        if evicted:
            self._engine.spawn(self._load_woken(evicted))
        for run in effects.started:
            self._begin(Execution(self._engine, run, self._engine.registry.workflow_of(run)))
        warm, cold = [], []
        for run in effects.claimed:
            was_suspended = run.prior_state is RunState.SUSPENDED
            if was_suspended and self._go_on(run.id, prior_epoch=run.prior_epoch, epoch=run.epoch):
                warm.append(self.running[run.id])
                if run.is_cancel_requested:
                    self.running[run.id].request_cancel()
            elif run.is_untouched:  # nothing is on record that would have to be read
                self._begin(Execution(self._engine, run, self._engine.registry.workflow_of(run)))
            else:
                self._expect(run.id, run.epoch, workflow=run.workflow)
                cold.append(run)
        if cold:
            self._engine.spawn(self._load(cold))
        if warm:
            self.read_deliveries(warm)
        for run_id in effects.cancel_requested:  # first: what ends children with their parent is no failure of theirs
            self._request_cancel(run_id)
        for record in effects.delivered:
            self._deliver(record)
        for ended in effects.ended:
            self._evict_warm(ended.id)
        for run_id, _, _ in effects.woken:
            execution = self.running.get(run_id)
            if execution is not None and execution.active == 0:  # what woke it was known to it already
                execution.suspend()

    def _refuse(self, effects: Effects) -> None:
        """The batch was under way when the engine began to close: what it took is given back."""
        self.unwanted += [(run_id, epoch) for run_id, _, epoch in effects.woken]
        self.unwanted += [(run.id, run.epoch) for run in (*effects.started, *effects.claimed)]
        for run_id, _ in self.unwanted:
            self._evict_warm(run_id)
        effects.woken, effects.started, effects.claimed = [], [], []

    def _expect(self, run_id: str, epoch: int, *, workflow: str = "") -> None:
        """The run is ours in ``epoch`` and will be read in; any copy that is here is older."""
        self._evict_warm(run_id)
        if (older := self.running.get(run_id)) is not None:
            self.abandon(older)
        self._loading[run_id] = _Arrival(epoch, workflow)

    def _go_on(self, run_id: str, *, prior_epoch: int, epoch: int) -> bool:
        """Let the warm copy go on, if it is the latest; an older one has missed what another process did."""
        execution = self.warm.get(run_id)
        if execution is None or execution.epoch != prior_epoch:
            self._evict_warm(run_id)
            return False
        self._take_warm(run_id)
        execution.epoch = epoch
        self.running[run_id] = execution
        execution.parking.end_pause()
        return True

    def _deliver(self, record: StepRecord) -> None:
        if (arrival := self._loading.get(record.run_id)) is not None:
            arrival.delivered.append(record)
        elif (execution := self.running.get(record.run_id)) is not None:
            execution.deliver(record)

    def _request_cancel(self, run_id: str) -> None:
        if (arrival := self._loading.get(run_id)) is not None:
            arrival.is_cancel_requested = True
        elif (execution := self.running.get(run_id)) is not None:
            execution.request_cancel()

    def request_pause(self, run_id: str) -> None:
        """The run is paused on record; if it is here, it begins nothing more."""
        for one in (self._loading.get(run_id), self.running.get(run_id)):
            if one is not None:
                one.is_pausing = True

    def held_up(self) -> list[Execution]:
        """The runs that are advanced here and begin nothing more, because they are paused."""
        return [execution for execution in self.running.values() if execution.is_pausing]

    # Reading in ----------------------------------------------------------------------------------------------------

    async def _load_woken(self, evicted: Mapping[str, int]) -> None:
        """Runs were woken, each in its epoch, for warm copies that have been evicted meanwhile."""
        rows = await self._engine.read(Query(sql.CLAIMED_RUNS, [list(evicted)]))
        runs = [run for run in map(to_claimed, rows) if run.prior_epoch == evicted[run.id]]
        for run_id in set(evicted).difference(run.id for run in runs):
            self._welcome(run_id, evicted[run_id])
        await self._load([replace(run, epoch=run.prior_epoch, prior_epoch=run.prior_epoch - 1) for run in runs])

    async def _load(self, runs: Sequence[ClaimedRun]) -> None:
        """Rebuild claimed runs from their journals."""
        ids = [run.id for run in runs]
        steps: dict[str, list[StepRecord]] = {id_: [] for id_ in ids}
        waits: dict[str, list[WaitRecord]] = {id_: [] for id_ in ids}
        try:
            # Waits first: one that another process ends in between is then in both, the other way round in neither.
            for row in await self._engine.read(Query(sql.OPEN_WAITS_OF_RUNS, [ids])):
                waits[row[1]].append(to_wait(row))
            for row in await self._engine.read(Query(sql.STEPS_OF_RUNS, [ids])):
                steps[row[0]].append(to_step(row))
        except BaseException:
            for run in runs:
                self._welcome(run.id, run.epoch)  # then they are strays, and the next sweep gives them back
            raise
        for run in runs:
            arrival = self._welcome(run.id, run.epoch)
            if arrival is None or not self._engine.is_open:
                continue
            workflow = self._engine.registry.workflow_of(run)
            execution = Execution(self._engine, run, workflow, steps=steps[run.id], waits=waits[run.id])
            for record in arrival.delivered:
                execution.deliver(record)
            execution.is_cancel_requested = execution.is_cancel_requested or arrival.is_cancel_requested
            execution.is_pausing, execution.is_in_doubt = arrival.is_pausing, arrival.is_in_doubt
            self._begin(execution)

    def _welcome(self, run_id: str, epoch: int) -> _Arrival | None:
        """What came for the run while it was read in; ``None`` if it is not expected any more in this epoch."""
        arrival = self._loading.get(run_id)
        if arrival is None or arrival.epoch != epoch:
            return None
        return self._loading.pop(run_id)

    def doubt_deliveries(self) -> None:
        """A commit has an unknown outcome: what it delivered to runs of ours may be on record, and not in memory.

        They look at once. On a server the commit may still be under way then, so they look again before they go to
        wait, when the run is locked and what came before is settled. So do those that are being read in: their rows may
        have been read before the commit.
        """
        for arrival in self._loading.values():
            arrival.is_in_doubt = True
        waiting = [execution for execution in self.running.values() if execution.waits and not execution.is_dead]
        for execution in waiting:
            execution.is_in_doubt = True
        self.read_deliveries(waiting)

    def read_deliveries(self, executions: Sequence[Execution]) -> None:
        """Look into the journal for what other processes have delivered to runs of ours."""
        for execution in executions:
            execution.enter()  # it is not suspended while something is on its way to it
        self._engine.spawn(self._read_deliveries(list(executions)))

    async def _read_deliveries(self, executions: Sequence[Execution]) -> None:
        wanted = [(execution.run.id, path) for execution in executions for path in execution.waits]
        if wanted:
            is_sqlite = self._engine.database.dialect == "sqlite"
            places = [wanted] if is_sqlite else [list(column) for column in zip(*wanted, strict=True)]
            for row in await self._engine.read(Query(sql.STEPS_AT, places)):
                self._deliver(to_step(row))
        for execution in executions:
            execution.leave()

    # Coming and going ------------------------------------------------------------------------------------------------

    def _begin(self, execution: Execution) -> None:
        self.running[execution.run.id] = execution
        # In a context of its own: the batch that brought the run here may have been asked for by anybody's request.
        execution.task = self._engine.context.copy().run(self._engine.runtime.spawn, perform(execution))

    def keep_warm(self, execution: Execution) -> None:
        """A run is suspended: keep its coroutine while there is room for it."""
        run_id = execution.run.id
        if self.running.get(run_id) is not execution:
            return
        self._leave(run_id)
        execution.is_warm = True
        self.warm[run_id] = execution
        self._warm_bytes += execution.cost_bytes
        while self._warm_bytes > self._engine.options.warm_bytes and self.warm:
            self._evict_warm(next(iter(self.warm)))

    def abandon(self, execution: Execution) -> None:
        """The run is not ours any more: let its copy end without a trace."""
        if not execution.is_dead:
            execution.give_up()
            self.dismiss(execution)
            self._see_to_end(execution)

    def dismiss(self, execution: Execution) -> None:
        """The run's code has ended here, or counts no more."""
        run_id = execution.run.id
        if self.running.get(run_id) is execution:
            self._leave(run_id)
        if self.warm.get(run_id) is execution:
            self._take_warm(run_id)

    async def evict_all(self) -> None:
        """Give up every copy and wait until their coroutines have ended, but not for those that will not."""
        everybody = [*self.running.values(), *self.warm.values(), *self._ending]
        for execution in everybody:  # at once: nobody who hears of a commit meanwhile may ask for another
            execution.is_dead = True
        self.running.clear()
        self.warm.clear()
        self._loading.clear()
        self._ending.clear()
        self._warm_bytes = 0
        evictions = [self._engine.runtime.spawn(execution.evict()) for execution in everybody]
        if evictions:
            patience = max(self._engine.options.drain_seconds, _SHORTEST_EVICTION)
            _, stuck = await asyncio.wait(evictions, timeout=patience)
            for eviction in stuck:
                eviction.cancel()

    def _leave(self, run_id: str) -> None:
        is_limiting = self.room <= 0 or self.running[run_id].workflow.concurrency is not None
        del self.running[run_id]
        if is_limiting:  # somebody may wait for the room
            self._engine.poke()

    def _evict_warm(self, run_id: str) -> None:
        execution = self._take_warm(run_id)
        if execution is not None:
            execution.give_up()
            self._see_to_end(execution)

    def _see_to_end(self, execution: Execution) -> None:
        """One task for all that are given up in a while: thousands may be, and nearly all of them end at once."""
        self._ending.append(execution)
        if len(self._ending) == 1:
            self._engine.spawn(self._see_to_ends())

    async def _see_to_ends(self) -> None:
        await self._engine.runtime.clock.sleep(_USUAL_EVICTION)
        given_up, self._ending = self._ending, []
        for execution in given_up:
            if execution.task is not None and not execution.task.done():
                self._engine.spawn(execution.evict())

    def _take_warm(self, run_id: str) -> Execution | None:
        execution = self.warm.pop(run_id, None)
        if execution is not None:
            execution.is_warm = False
            self._warm_bytes -= execution.cost_bytes
        return execution
