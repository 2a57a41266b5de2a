"""A new run made of an old one: what is kept of the journal, and how it is copied.

A finished run is never changed, so both a retry and a fork are runs of their own, linked by ``forked_from``. A *retry*
goes on from the step that made the run fail: same input, same idempotency keys, and a child that failed is retried in
its turn. A *fork* begins anew from any step, with changed input if that is wanted, and with keys of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from toolkit.errors import Conflict, NotFound
from toolkit.storage import Query, Script, Statement, both, read_moment, readable
from toolkit.workflows.failures import error_chain
from toolkit.workflows.statements import NOTIFY
from toolkit.workflows.states import RunState, StepKind, StepState

# What stands in these paths runs side by side, each branch under a number.
_SIDE_BY_SIDE = ("gather.", "race.")
_RETRYABLE = frozenset({RunState.FAILED, RunState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal without its payloads; ``error`` is there for a failure."""

    path: str
    kind: str
    state: StepState
    started_at: datetime
    ended_at: datetime | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made of ``run_id``.

    ``from_step`` is where a fork begins; without one it begins at the beginning. ``input`` is the JSON text of other
    arguments, with its digest. ``request_digest`` is of all that a caller's key stands for; it is kept in place of the
    digest of the input, which is there to be compared when a key comes again and for nothing else. ``results`` are
    results, as JSON text, for steps that are not to be run. ``versions`` are today's of each workflow: a run that keeps
    steps stays with the version that made them.
    """

    run_id: str
    is_retry: bool = False
    from_step: str | None = None
    input: str | None = None
    input_digest: str | None = None
    request_digest: str | None = None
    results: Mapping[str, str] | None = None
    by: str | None = None
    idempotency_key: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forked:
    """The run that was made, or the one that the same key had made before."""

    run_id: str
    workflow: str
    is_new: bool


# What is kept: pure ------------------------------------------------------------------------------------------------


def find_failed_step(journal: Sequence[Entry], error: str | None, *, run_id: str) -> Entry | None:
    """The step that made the run fail: the last whose error is the run's, or one that the run's error came from.

    It need not have failed itself: a task that was withdrawn has ended as well as any other, and made the run fail.
    ``None`` if the author's own code failed: then everything that is on record is kept, and a retry goes on after it.
    """
    ended = {entry.path: entry for entry in journal if entry.ended_at is not None}
    failed = [(entry, error_chain(entry.error)[0]) for entry in ended.values() if entry.error is not None]
    for link in error_chain(error) if error else []:
        if [run_id] == list(link.step[:1]) and link.step[1] in ended:
            return ended[link.step[1]]
        same = [entry for entry, own in failed if own[:3] == link[:3]]
        inner = [entry for entry in same if not any(_is_below(other.path, entry.path) for other in same)]
        if inner:
            return max(inner, key=_ended)
    # An error of another class may have been made of it, with nothing else in between.
    last = max(ended.values(), key=_ended, default=None)
    return last if last is not None and last.state is StepState.FAILED else None


def kept_by_retry(journal: Sequence[Entry], failed: Entry | None) -> list[str]:
    """The paths that a retry keeps: all but the failed step, what stands around it and what came of it.

    What the step had kept inside (an agent's paid calls) is kept too; its pauses between attempts are not.
    """
    if failed is None:
        return [entry.path for entry in journal if entry.state is not StepState.RUNNING]
    pauses = f"{failed.path}/retry/"
    return [
        entry.path
        for entry in _before(journal, failed)
        if entry is not failed and not entry.path.startswith(pauses) and not _is_failure_below(entry, failed)
    ]


def kept_by_fork(journal: Sequence[Entry], step: Entry, *, is_given: bool) -> list[str]:
    """The paths that a fork from ``step`` keeps; the step itself only where its result ``is_given``."""
    kept = [entry for entry in _before(journal, step) if not _is_below(entry.path, step.path) and entry is not step]
    return [entry.path for entry in kept] + ([step.path] if is_given else [])


def _before(journal: Sequence[Entry], step: Entry) -> Iterator[Entry]:
    """What does not depend on the end of ``step``: it began before, or runs beside it in another branch.

    What was undone beside it because the branches around had an outcome depends on that.
    """
    outcomes = [one for one in journal if one.ended_at is not None and _is_below(step.path, one.path)]
    for entry in journal:
        if any(_is_below(entry.path, one.path) and entry.started_at > _ended(one)[0] for one in outcomes):
            continue
        if entry.state is StepState.RUNNING or _is_below(step.path, entry.path):
            continue
        is_after = step.ended_at is not None and entry.started_at > step.ended_at
        if not is_after or _runs_beside(entry.path, step.path) or _is_below(entry.path, step.path):
            yield entry


def _ended(entry: Entry) -> tuple[datetime, str]:
    assert entry.ended_at is not None
    return entry.ended_at, entry.path


def _is_below(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")


def _is_failure_below(entry: Entry, step: Entry) -> bool:
    return entry.state is StepState.FAILED and _is_below(entry.path, step.path)


def _runs_beside(path: str, other: str) -> bool:
    """Whether two paths lie in different branches of the same ``gather`` or ``race``."""
    before = ""
    for one, two in zip(path.split("/"), other.split("/"), strict=False):
        if one != two:
            return before.startswith(_SIDE_BY_SIDE) and one.isdigit() and two.isdigit()
        before = one
    return False


# How it is copied --------------------------------------------------------------------------------------------------


_FIND = both(
    "run to fork",
    "SELECT workflow, state, error, continued_as, created_at, deadline_at, key_run_id, version, started_by, "
    "originators FROM toolkit_run WHERE id = $1",
)
_FIND_KEYED = both(
    "fork by key", "SELECT id, input_digest FROM toolkit_run WHERE workflow = $1 AND idempotency_key = $2"
)
# It waits where a batch only tries: whoever holds the key is about to commit.
_LOCK_KEY = Statement(
    "lock key of fork",
    sqlite="SELECT ?1",
    postgresql="SELECT pg_advisory_xact_lock(hashtextextended('toolkit:' || $1, 0))::text",
)
_JOURNAL = both(
    "journal to fork",
    "SELECT path, kind, state, started_at, ended_at, CASE WHEN state = 'failed' THEN error END "
    "FROM toolkit_step WHERE run_id = $1",
)
_NOW = Statement("now", sqlite="SELECT ?1", postgresql="SELECT coalesce($1::timestamptz, clock_timestamp())")
_COPY_RUN = both(
    "copy run",
    """INSERT INTO toolkit_run (id, workflow, version, state, input, input_digest, priority, epoch, due_at, losses,
           total_losses, idempotency_key, parent_id, parent_wait, started_by, created_at, deadline_at, close_policy,
           on_cancel, forked_from, forked_at_step, key_run_id, originators)
       SELECT $2, workflow, $3, 'pending', coalesce($4, input), coalesce($5, input_digest), priority, 0, $6, 0, 0, $7,
           $8, $9, $10, $6, $11, CASE WHEN $8 IS NULL THEN NULL ELSE close_policy END, on_cancel, id, $12, $13, $14
       FROM toolkit_run WHERE id = $1""",
    payloads=((3, "input"),),
)
_COPY_RUN = Statement(
    _COPY_RUN.name,
    sqlite=_COPY_RUN.sqlite,
    postgresql=_COPY_RUN.postgresql.replace("$6", "$6::timestamptz")
    .replace("$11,", "$11::timestamptz,")
    .replace("$8", "$8::text"),
    payloads=_COPY_RUN.payloads,
)
_STEP_COLUMNS = "path, name, kind, state, started_at, ended_at, arguments, result, error, details, display_name"
# Epoch 0, which no run ever has, says that the row was copied.
_COPY_STEPS = Statement(
    "copy steps",
    sqlite=f"""INSERT INTO toolkit_step (run_id, {_STEP_COLUMNS}, attempts, epoch, event_seq)
               SELECT ?2, {_STEP_COLUMNS}, attempts, 0, event_seq FROM toolkit_step
               WHERE run_id = ?1 AND path IN (SELECT value FROM json_each(?3))""",  # noqa: S608
    postgresql=f"""INSERT INTO toolkit_step (run_id, {_STEP_COLUMNS}, attempts, epoch, event_seq)
                   SELECT $2, {_STEP_COLUMNS}, attempts, 0, event_seq FROM toolkit_step
                   WHERE run_id = $1 AND path = ANY($3::text[])""",  # noqa: S608
)
_GIVE_RESULT = both(
    "give result",
    "UPDATE toolkit_step SET state = 'succeeded', result = $3, error = NULL, details = $4, "
    "ended_at = coalesce(ended_at, started_at) WHERE run_id = $1 AND path = $2",
    payloads=((2, "result"), (3, "details")),
)
_COPY_ATTRIBUTES = both(
    "copy attributes",
    "INSERT INTO toolkit_attribute (run_id, name, kind, value, position) "
    "SELECT $2, name, kind, value, position FROM toolkit_attribute WHERE run_id = $1",
)
_CHILD_WAIT = both(
    "wait for child", "SELECT reference FROM toolkit_wait WHERE run_id = $1 AND path = $2 AND kind = 'child'"
)
_COPY_WAIT = both(
    "copy wait",
    """INSERT INTO toolkit_wait (id, run_id, path, name, display_name, kind, state, after_seq, reference, arguments,
           created_at)
       SELECT $3, $4, path, name, display_name, kind, 'open', 0, $5, arguments, created_at
       FROM toolkit_wait WHERE run_id = $1 AND path = $2 AND kind = 'child'""",
)


def fork_run(wanted: Wanted, *, new_id: Callable[[], str], own_now: datetime | None) -> Script[Forked]:
    """Make a retry or a fork in one transaction.

    Raises:
        NotFound: there is no such run, or no such step in its journal.
        Conflict: a retry of a run that has neither failed nor been cancelled, or whose work was undone; or a key that
            stands for something else.
    """
    moment = read_moment((yield Query(_NOW, [own_now]))[0][0])
    assert moment is not None
    forked = yield from _fork(wanted, new_id=new_id, now=moment, parent=(None, None))
    if forked.is_new:
        yield Query(NOTIFY)
    return forked


def _fork(
    wanted: Wanted, *, new_id: Callable[[], str], now: datetime, parent: tuple[str | None, str | None]
) -> Script[Forked]:
    rows = yield Query(_FIND, [wanted.run_id])
    if not rows:
        raise NotFound("run", wanted.run_id)
    workflow, state, error, _, created_at, deadline_at, key_run_id, version, *starters = rows[0]
    if wanted.idempotency_key is not None:
        yield Query(_LOCK_KEY, [f"start:{workflow}:{wanted.idempotency_key}"])
        if known := (yield Query(_FIND_KEYED, [workflow, wanted.idempotency_key])):
            ((known_id, digest),) = known
            _check_same(wanted, known_id, digest)
            return Forked(known_id, workflow, is_new=False)
    if wanted.is_retry:
        error = readable(error, what=f"the error of run {wanted.run_id}")
    journal = [
        Entry(path, kind, StepState(step_state), _moment(begun), read_moment(ended), failure)
        for path, kind, step_state, begun, ended, failure in (yield Query(_JOURNAL, [wanted.run_id]))
    ]
    failed: Entry | None = None
    results = dict(wanted.results or {})
    if wanted.is_retry:
        _check_retry(wanted.run_id, RunState(state))
        for entry in journal:
            readable(entry.error, what=f"the error of the step at {entry.path}")
        failed = find_failed_step(journal, error, run_id=wanted.run_id) if RunState(state) is RunState.FAILED else None
        _check_not_undone(wanted.run_id, journal, failed)
        kept = kept_by_retry(journal, failed)
    else:
        kept = _kept_by_fork(wanted, journal, results)
    fork_id = new_id()
    deadline_at, begun_at = read_moment(deadline_at), _moment(created_at)
    yield Query(
        _COPY_RUN,
        [
            wanted.run_id,
            fork_id,
            version if kept else wanted.versions.get(workflow, version),
            wanted.input,
            wanted.request_digest or wanted.input_digest,
            now,
            wanted.idempotency_key,
            *parent,
            wanted.by,
            None if deadline_at is None else now + (deadline_at - begun_at),
            failed.path if failed is not None else wanted.from_step,
            (key_run_id or wanted.run_id) if wanted.is_retry else None,
            _originators(*starters),
        ],
    )
    if kept:
        yield Query(_COPY_STEPS, [wanted.run_id, fork_id, kept])
    for path, result in results.items():
        yield Query(_GIVE_RESULT, [fork_id, path, result, json.dumps({"given_by": wanted.by})])
    yield Query(_COPY_ATTRIBUTES, [wanted.run_id, fork_id])
    if failed is not None and failed.kind == StepKind.CHILD:
        yield from _retry_child(wanted, failed, fork_id, new_id=new_id, now=now)
    return Forked(fork_id, workflow, is_new=True)


def _retry_child(
    wanted: Wanted, failed: Entry, fork_id: str, *, new_id: Callable[[], str], now: datetime
) -> Script[None]:
    """The new run waits for a retry of the child that failed, so that no step of the child is run again either."""
    rows = yield Query(_CHILD_WAIT, [wanted.run_id, failed.path])
    child_id = rows[0][0] if rows else None
    while child_id is not None:
        found = yield Query(_FIND, [child_id])
        if not found or found[0][3] is None:
            break
        child_id = found[0][3]  # it went on as another, which is the one that failed
    if child_id is None or not found or RunState(found[0][1]) not in _RETRYABLE:
        return
    wait_id = new_id()
    child = Wanted(child_id, is_retry=True, by=wanted.by, versions=wanted.versions)
    retried = yield from _fork(child, new_id=new_id, now=now, parent=(fork_id, wait_id))
    yield Query(_COPY_WAIT, [wanted.run_id, failed.path, wait_id, fork_id, retried.run_id])


def _originators(started_by: str | None, earlier: str | None) -> str | None:
    """Who started the runs that a new one is made of, with ``started_by`` of the last of them."""
    found = json.loads(earlier or "[]") + ([started_by] if started_by is not None else [])
    return json.dumps(list(dict.fromkeys(found))) if found else None


def _kept_by_fork(wanted: Wanted, journal: Sequence[Entry], results: Mapping[str, str]) -> list[str]:
    by_path = {entry.path: entry for entry in journal}
    for path in [*([wanted.from_step] if wanted.from_step is not None else []), *results]:
        if path not in by_path:
            raise NotFound(f"step in the journal of run {wanted.run_id}:", path, known=sorted(by_path)[:20])
    if wanted.from_step is None:
        if results:
            raise Conflict(
                "results were given for a fork from the beginning, which keeps no step; say from which step it begins",
                run_id=wanted.run_id,
            )
        return []
    kept = kept_by_fork(journal, by_path[wanted.from_step], is_given=wanted.from_step in results)
    return [*kept, *(path for path in results if path not in kept)]


def _check_same(wanted: Wanted, known_id: str, digest: str) -> None:
    if wanted.request_digest is not None and digest != wanted.request_digest:
        raise Conflict(
            f"the idempotency key {wanted.idempotency_key!r} stands for run {known_id}, which is not this fork: it was "
            "started, or made of another run, from another step, with another input or with other results; use another "
            "key, or ask for the same",
            run_id=known_id,
            idempotency_key=wanted.idempotency_key,
        )


def _check_retry(run_id: str, state: RunState) -> None:
    if state in _RETRYABLE:
        return
    hint = {
        RunState.SUCCEEDED: "fork it to do it again, from any step",
        RunState.PARKED: "release it to let it go on, or fork it",
    }.get(state, "it has not ended; cancel it first, or fork it")
    raise Conflict(
        f"run {run_id!r} is {state.value!r}; only a failed or cancelled run can be retried: {hint}",
        run_id=run_id,
        state=state.value,
    )


def _check_not_undone(run_id: str, journal: Sequence[Entry], failed: Entry | None) -> None:
    """A retry would keep steps whose work a compensation has taken back."""
    entered = sorted((entry for entry in journal if _is_compensation(entry)), key=lambda entry: entry.started_at)
    since = failed.ended_at if failed is not None else None
    undoing = [entry for entry in journal if since is not None and entry.started_at > since]
    if entered and (undoing or failed is None):
        raise Conflict(
            f"run {run_id!r} may have undone what its steps did after {entered[0].path!r}, so a retry would build on "
            f"work that is gone; fork it from {entered[0].path!r}, or from a step that you choose",
            run_id=run_id,
            step=entered[0].path,
        )


def _is_compensation(entry: Entry) -> bool:
    name, _, occurrence = entry.path.rpartition("/")
    is_named = name == "compensation" or name.endswith("/compensation")
    return entry.kind == StepKind.MESSAGE and is_named and occurrence.isdigit()


def _moment(value: Any) -> datetime:
    moment = read_moment(value)
    assert moment is not None
    return moment
