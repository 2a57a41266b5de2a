"""What an operator may do to runs: pause, resume and release them, retry those that failed, fork any."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.errors import Conflict, InvalidInput, NotFound, RunStateError, StorageError
from toolkit.serialization import check_keys, codec_for
from toolkit.storage import OutcomeUnknown, Script
from toolkit.workflows.bulk import BULK_WORKFLOW, BulkAction, BulkOrder, BulkOutcome, change_runs, meant_by
from toolkit.workflows.forks import Forked, Wanted, fork_run
from toolkit.workflows.keys import OwnKey, check_idempotency_key
from toolkit.workflows.queries import count_runs
from toolkit.workflows.searches import RunFilter
from toolkit.workflows.standings import Standing, pause_run, release_run, resume_run
from toolkit.workflows.states import RunState

if TYPE_CHECKING:
    from toolkit.workflows.engine import Engine

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BulkJob:
    """The run that does it, and to how many runs it will be done as far as could be counted."""

    run_id: str
    count: int


class RunControl:
    """The operator's door to the runs of one installation, whichever process advances them.

    ``by`` is who asks; it stands on the run. Every call is safe to repeat: what is so already is left as it is.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def pause(self, run_id: str, *, by: str | None = None) -> Standing:
        """Have a run begin nothing more until it is resumed.

        A step under way ends and is kept. Events and answers that come meanwhile are kept for it, and a timer that
        falls due goes off when it is resumed. Its children go on: each run is paused by itself.

        Raises:
            NotFound: there is no such run.
            RunStateError: it has ended.
        """
        run_id, standing = await self._change(
            run_id, lambda id_: pause_run(id_, by=by, own_now=self._engine.own_now()), wanted="paused"
        )
        self._engine.residents.request_pause(run_id)
        return standing

    async def resume(self, run_id: str) -> Standing:
        """Let a paused run go on.

        Raises:
            NotFound, RunStateError: as for :meth:`pause`.
        """
        _, standing = await self._change(run_id, resume_run, wanted="resumed")
        self._engine.poke()
        return standing

    async def release(self, run_id: str) -> Standing:
        """Let a parked run go on, once what parked it is mended: it is rebuilt from its journal by today's code.

        A run that was released already is left as it is.

        Raises:
            NotFound: there is no such run.
            RunStateError: it has ended, so it can only be retried or forked.
        """
        _, standing = await self._change(
            run_id, lambda id_: release_run(id_, own_now=self._engine.own_now()), wanted=RunState.PENDING
        )
        self._engine.poke()
        return standing

    async def retry(self, run_id: str, *, by: str | None = None) -> Forked:
        """Go on with a run that failed or was cancelled, as a new run that begins with the step that failed.

        What succeeded before is kept and not run again; so is what an agent has paid for inside the failed step. The
        steps have the idempotency keys that they had. A child that failed is retried in the same way. The run itself
        stays as it ended; a second retry of it gives the same new run, which may be retried in its turn.

        Raises:
            NotFound: there is no such run.
            Conflict: it has not ended so, or has undone its steps; the message says what to do instead.
        """
        key = OwnKey(f"retry:{run_id}")
        wanted = Wanted(run_id, is_retry=True, by=by, idempotency_key=key, versions=self._versions())
        return await self._make(wanted)

    async def fork(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        input: Mapping[str, Any] | str | None = None,
        results: Mapping[str, Any] | None = None,
        by: str | None = None,
        idempotency_key: str | None = None,
    ) -> Forked:
        """Make a new run that begins as ``run_id`` did and goes its own way from the step at path ``from_step``.

        What was recorded before that step is copied and holds, also where the input is another; without a step the
        new run begins at the beginning. ``input`` are arguments by name (or the text of a JSON object), which replace
        those of the run; the others stay. ``results`` gives results to steps by path: they are not run. The old run
        stays as it is, and goes on if it has not ended.

        With an ``idempotency_key`` the same fork comes back however often it is asked for.

        Raises:
            NotFound: there is no such run, no such step in its journal, or no such workflow here.
            InvalidInput: the input does not fit the workflow; or the key is one of the toolkit's own, or no database
                keeps it.
            Conflict: the key has started another run, or made a fork of another run, from another step, with another
                input or with other results.
        """
        check_keys(idempotency_key=idempotency_key)
        text = None if input is None else await self._changed_input(run_id, _json(input))
        given = {path: codec_for(Any).encode(value) for path, value in (results or {}).items()}
        request_digest = None
        if idempotency_key is not None and not isinstance(idempotency_key, OwnKey):
            request_digest = _digest_of(run_id, from_step, text, given)
        wanted = Wanted(
            run_id,
            from_step=from_step,
            input=text,
            input_digest=None if text is None else hashlib.sha256(text.encode()).hexdigest(),
            request_digest=request_digest,
            results=given,
            by=by,
            idempotency_key=check_idempotency_key(idempotency_key),
            versions=self._versions(),
        )
        return await self._make(wanted)

    async def count(self, action: BulkAction | str, where: RunFilter) -> int:
        """To how many runs ``action`` would be done now; nothing is changed.

        Raises:
            InvalidInput: the filter cannot be read.
        """
        meant = meant_by(BulkAction(action), where)
        if meant is None:
            return 0
        return await count_runs(self._engine.database.reader, meant, but_not=[BULK_WORKFLOW])

    async def change_many(
        self,
        action: BulkAction | str,
        where: RunFilter,
        *,
        by: str | None = None,
        by_kind: str = "person",
        reason: str | None = None,
        from_step: str | None = None,
        input: Mapping[str, Any] | str | None = None,
        at_most: int | None = None,
        idempotency_key: str | None = None,
    ) -> BulkJob:
        """Do ``action`` to every run that ``where`` means, in the background: a run that workers advance.

        ``at_most`` is how many runs the caller has agreed to. The job is found by its run's id: ``get_run`` shows its
        progress and, in the end, its :class:`BulkOutcome`. ``from_step`` and ``input`` are for a fork.

        Raises:
            InvalidInput: the filter cannot be read.
            Conflict: more runs are meant than the caller has agreed to.
        """
        order = BulkOrder(
            action=BulkAction(action),
            where=where,
            by=by,
            by_kind=by_kind,
            reason=reason,
            from_step=from_step,
            input=None if input is None else _json(input),
        )
        count = await self.count(action, where)
        if at_most is not None and count > at_most:
            raise Conflict(
                f"{count} runs are meant, and you agreed to {at_most}; count again and decide anew",
                count=count,
                at_most=at_most,
            )
        handle = await self._engine.start_bound(
            change_runs, {"order": order, "count": count}, started_by=by, idempotency_key=idempotency_key
        )
        return BulkJob(handle.id, count)

    async def _changed_input(self, run_id: str, changes: str) -> str:
        run = await self._engine.get_run(run_id)
        workflow = self._engine.workflows.get(run.summary.workflow)
        if workflow is None:
            raise NotFound("workflow", run.summary.workflow, known=list(self._engine.workflows))
        return workflow.signature.encode(workflow.signature.parse(_merged(run.input, changes)))

    async def _make(self, wanted: Wanted) -> Forked:
        forked = await self._run(fork_run(wanted, new_id=self._engine.new_id, own_now=self._engine.own_now()))
        self._engine.poke()
        return forked

    async def _change(
        self, run_id: str, change: Callable[[str], Script[Standing | None]], *, wanted: str
    ) -> tuple[str, Standing]:
        """Which run was changed, or the run that it went on as, and how that one stands now."""
        standing = await self._run(change(run_id))
        while standing is not None and standing.continued_as is not None:
            run_id = standing.continued_as
            standing = await self._run(change(run_id))
        if standing is None:
            raise NotFound("run", run_id)
        if standing.state.is_final:
            raise RunStateError(run_id, state=standing.state, wanted=wanted)
        return run_id, standing

    async def _run(self, script: Script[T]) -> T:
        try:
            return await self._engine.run_script(script)
        except OutcomeUnknown as error:
            raise StorageError(
                "the database connection broke during the commit: it is unknown whether this was kept; ask again, it "
                "is done once"
            ) from error

    def _versions(self) -> dict[str, str | None]:
        return {name: workflow.version for name, workflow in self._engine.workflows.items()}


def _json(arguments: Mapping[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else codec_for(Any).encode(dict(arguments))


def _digest_of(run_id: str, from_step: str | None, input: str | None, results: Mapping[str, str]) -> str:
    """What a caller's key of a fork stands for; no start of a run has such a digest."""
    asked = ["fork", run_id, from_step, input, sorted(results.items())]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _merged(text: str, changes: str) -> bytes:
    """One JSON object over another, member by member; what is not replaced keeps every digit that it has."""
    import msgspec

    members = msgspec.json.Decoder(dict[str, msgspec.Raw])
    try:
        return msgspec.json.encode({**members.decode(text), **members.decode(changes)})
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"the input is no JSON object with arguments by name: {error}",
            errors=[{"loc": "", "msg": "expected a JSON object", "type": "dict_type"}],
        ) from error


__all__ = ["BulkAction", "BulkJob", "BulkOutcome", "Forked", "RunControl", "Standing"]
