"""``toolkit runs``: what an operator asks of runs. One is named by its id; many are meant by a filter and counted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.operators import account, printable, record, with_engine
from toolkit.errors import ConfigurationError

if TYPE_CHECKING:
    from toolkit.workflows import Engine, RunDetail, RunFilter, RunSummary, StepRecord

runs = typer.Typer(help="Runs: found, looked into, cancelled, paused, released, retried, forked.", no_args_is_help=True)

# What is said of each action when it was done to one run.
_DONE = {
    "cancel": ("run.cancelled", "Cancelled"),
    "pause": ("run.paused", "Paused"),
    "resume": ("run.resumed", "Resumed"),
    "release": ("run.released", "Released"),
    "retry": ("run.retried", "Retried"),
    "fork": ("run.forked", "Forked"),
}
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The id of the run.")]
OneRun = Annotated[str | None, typer.Argument(metavar="[RUN]", help="The id of one run; left out: all that are meant.")]
Workflow = Annotated[list[str] | None, typer.Option("--workflow", "-w", help="Of any of these workflows.")]
State = Annotated[list[str] | None, typer.Option("--state", "-s", help="In any of these states.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", "-t", help="With all of these tags.")]
Attribute = Annotated[
    list[str] | None, typer.Option("--attribute", "-A", help="With attributes like customer=ACME or total>=1000.")
]
ErrorText = Annotated[str | None, typer.Option("--error", help="With this text in the first line of its error.")]
Since = Annotated[
    str | None, typer.Option(help="Created since: 2026-01-31, 2026-01-31T12:00+01:00 (else UTC), or 30m, 12h, 7d ago.")
]
Until = Annotated[str | None, typer.Option(help="Created before; as for --since.")]
Everything = Annotated[bool, typer.Option("--all", help="All runs to which it can be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether the count is what you meant.")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why; it is kept in the audit trail.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]
App = Annotated[str, typer.Option("--app", "-a", help="A file (main.py) or module:name with a Toolkit.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")]
Env = Annotated[str, typer.Option(envvar="TOOLKIT_ENV", help="dev or prod.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@runs.command("list")
def list_runs(
    *,
    workflow: Workflow = None,
    state: State = None,
    tag: Tag = None,
    attribute: Attribute = None,
    error: ErrorText = None,
    since: Since = None,
    until: Until = None,
    paused: Annotated[bool | None, typer.Option("--paused/--not-paused", help="Paused, or not paused.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on after this run: the last one of the page before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: AsJson = False,
    app: App = "main.py",
    config: Config = None,
    env: Env = "prod",
    debug: Debug = False,
) -> None:
    """Print runs, newest first."""
    where = _where(
        workflow=workflow,
        state=state,
        tag=tag,
        attribute=attribute,
        error=error,
        since=since,
        until=until,
        paused=paused,
    )

    if after is not None and not re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", after):
        raise ConfigurationError(f"--after {after!r} is no run; give the whole id of the last one of the page before")

    async def work(engine: Engine) -> list[RunSummary]:
        return await engine.list_runs(where, after=after, limit=limit)

    for run in with_engine(work, app=app, config=config, env=env):
        print(_json_of(run) if as_json else printable(_line_of(run)))


@runs.command()
def show(
    run: RunId,
    *,
    as_json: AsJson = False,
    app: App = "main.py",
    config: Config = None,
    env: Env = "prod",
    debug: Debug = False,
) -> None:
    """Print one run: where it stands, what it waits for, and its steps, without what they were given and gave back."""

    async def work(engine: Engine) -> tuple[RunDetail, list[StepRecord]]:
        return await engine.get_run(run), await engine.list_steps(run)

    detail, steps = with_engine(work, app=app, config=config, env=env)
    if as_json:
        print(_json_of(detail))
    else:
        print(printable("\n".join(_lines_of(detail, steps))))


def _command_of(action: str) -> Callable[..., None]:
    def command(
        run: OneRun = None,
        *,
        workflow: Workflow = None,
        state: State = None,
        tag: Tag = None,
        attribute: Attribute = None,
        error: ErrorText = None,
        since: Since = None,
        until: Until = None,
        everything: Everything = False,
        yes: Yes = False,
        reason: Reason = None,
        app: App = "main.py",
        config: Config = None,
        env: Env = "prod",
        debug: Debug = False,
    ) -> None:
        where = _where(
            workflow=workflow, state=state, tag=tag, attribute=attribute, error=error, since=since, until=until
        )
        target = _Target(app, config, env)
        _change(target, action, run, where, is_everything=everything, is_agreed=yes, reason=reason)

    return command


for _action, _help in {
    "cancel": "End a run and its children, or all runs that are meant. A step in flight ends first.",
    "pause": "Have a run begin nothing more, or all that are meant. Events and answers are kept for it.",
    "resume": "Let a paused run go on, or all that are meant.",
    "release": "Let a parked run go on, or all that are meant, when what parked them is mended.",
    "retry": "Go on with a failed run from the step that failed, as a new run; or with all that are meant.",
}.items():
    runs.command(_action, help=_help)(_command_of(_action))


@runs.command()
def fork(
    run: OneRun = None,
    *,
    from_step: Annotated[
        str | None, typer.Option("--from", "-f", help="The path of the step with which it begins, such as pay/0.")
    ] = None,
    input: Annotated[
        str | None, typer.Option("--input", "-i", help="Arguments as a JSON object; they replace those of the run.")
    ] = None,
    result: Annotated[
        list[str] | None, typer.Option("--result", help="PATH=JSON: the result of a step that is not to be run.")
    ] = None,
    workflow: Workflow = None,
    state: State = None,
    tag: Tag = None,
    attribute: Attribute = None,
    error: ErrorText = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    yes: Yes = False,
    reason: Reason = None,
    app: App = "main.py",
    config: Config = None,
    env: Env = "prod",
    debug: Debug = False,
) -> None:
    """Make a new run that begins as a run did and goes its own way from a step; or of each run that is meant."""
    where = _where(workflow=workflow, state=state, tag=tag, attribute=attribute, error=error, since=since, until=until)
    _change(
        _Target(app, config, env),
        "fork",
        run,
        where,
        is_everything=everything,
        is_agreed=yes,
        reason=reason,
        from_step=from_step,
        input=input,
        results=_results(result or ()),
    )


# What is done -------------------------------------------------------------------------------------------------------


class _Target:
    def __init__(self, app: str, config: Path | None, env: str) -> None:
        self.app, self.config, self.env = app, config, env


def _change(
    target: _Target,
    action: str,
    run: str | None,
    where: RunFilter,
    *,
    is_everything: bool,
    is_agreed: bool,
    reason: str | None,
    **more: Any,
) -> None:
    if run is not None:
        if is_everything or where != _where():
            raise ConfigurationError(f"say either one run or which runs are meant, not both; found the run {run!r} too")
        _change_one(target, action, run, reason=reason, **more)
        return
    if not is_everything and where == _where():
        raise ConfigurationError(
            f"name a run, say which runs are meant (--workflow, --state, ...), or --all to {action}"
        )
    if more.pop("results", None):
        raise ConfigurationError("--result gives a result to a step of one run; name the run")
    _change_many(target, action, where, is_agreed=is_agreed, reason=reason, **more)


def _change_one(target: _Target, action: str, run: str, *, reason: str | None, **more: Any) -> None:
    async def work(engine: Engine) -> str:
        who = account()
        if action in {"retry", "fork"}:
            made = await getattr(engine.control, action)(run, by=who, **more)
            is_changed, told = made.is_new, f"{_DONE[action][1]} {run} as {made.run_id}"
        elif action == "cancel":
            state = await engine.cancel(run, reason=reason, by=who)
            is_changed, told = True, f"Cancelled {run}" + ("" if state == "cancelled" else "; its code is unwinding")
        else:
            given = {"by": who} if action == "pause" else {}
            standing = await getattr(engine.control, action)(run, **given)
            is_changed, told = standing.is_changed, f"{_DONE[action][1]} {run}"
            if not is_changed:
                told = f"{run} is {standing.state}{', paused' if standing.paused_at else ''}: nothing to {action}"
        if is_changed:
            made_id = made.run_id if action in {"retry", "fork"} else None
            await record(
                engine,
                _DONE[action][0],
                object_kind="run",
                object_id=run,
                reason=reason,
                made=made_id,
                from_step=more.get("from_step"),
            )
        return told

    print(with_engine(work, app=target.app, config=target.config, env=target.env))


def _change_many(
    target: _Target, action: str, where: RunFilter, *, is_agreed: bool, reason: str | None, **more: Any
) -> None:
    async def count(engine: Engine) -> int:
        return await engine.control.count(action, where)

    async def begin(engine: Engine) -> str:
        job = await engine.control.change_many(action, where, by=account(), reason=reason, at_most=found, **more)
        await record(
            engine,
            "runs.bulk_started",
            object_kind="run",
            object_id=job.run_id,
            bulk_action=action,
            count=job.count,
            reason=reason,
        )
        return job.run_id

    found = with_engine(count, app=target.app, config=target.config, env=target.env)
    if not found:
        print(f"There is no run to {action}.")
        return
    if not is_agreed and not typer.confirm(f"{found} run(s) are meant. {action.capitalize()} them?"):
        print("Nothing was done.")
        return
    job_id = with_engine(begin, app=target.app, config=target.config, env=target.env)
    print(f"A worker does it to {found} run(s): toolkit runs show {job_id}")


# What is said -------------------------------------------------------------------------------------------------------


def _where(
    *,
    workflow: Sequence[str] | None = None,
    state: Sequence[str] | None = None,
    tag: Sequence[str] | None = None,
    attribute: Sequence[str] | None = None,
    error: str | None = None,
    since: str | None = None,
    until: str | None = None,
    paused: bool | None = None,
) -> RunFilter:
    from toolkit.workflows import RunFilter, RunState

    unknown = sorted(set(state or ()) - set(RunState))
    if unknown:
        raise ConfigurationError(f"there is no state {unknown[0]!r}; expected some of {', '.join(RunState)}")
    return RunFilter(
        workflows=tuple(workflow or ()),
        states=tuple(RunState(each) for each in state or ()),
        tags=tuple(tag or ()),
        attributes=tuple(attribute or ()),
        error=error,
        created_from=_moment(since),
        created_until=_moment(until),
        is_paused=paused,
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        if ago := re.fullmatch(r"(\d+)([mhd])", text):
            return datetime.now(UTC) - int(ago[1]) * _UNITS[ago[2]]
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"{text!r} is no moment; expected such as 2026-01-31, 2026-01-31T12:00+01:00, 30m, 12h or 7d"
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _results(given: Sequence[str]) -> dict[str, Any]:
    results = {}
    for each in given:
        path, _, text = each.partition("=")
        try:
            results[path] = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(
                f"{each!r} gives no result; expected PATH=JSON such as pay/0='\"done\"'"
            ) from error
    return results


def _line_of(run: RunSummary) -> str:
    state = f"{run.state}{' (paused)' if run.paused_at else ''}"
    line = f"{run.id}  {run.created_at:%Y-%m-%d %H:%M:%S}  {state:<20} {run.workflow}"
    marks = [f"#{tag}" for tag in run.tags] + [f"{name}={value}" for name, value in run.attributes.items()]
    return "  ".join([line, *marks, *([run.error_summary] if run.error_summary else [])])


def _lines_of(detail: RunDetail, steps: Sequence[StepRecord]) -> Iterator[str]:
    run = detail.summary
    yield _line_of(run)
    if run.forked_from:
        yield f"made of {run.forked_from}, from {run.forked_at_step or 'the beginning'}"
    if run.paused_at:
        yield f"paused at {run.paused_at:%Y-%m-%d %H:%M:%S} by {run.paused_by or 'nobody known'}"
    if run.cancel_requested_at:
        yield f"cancelled by {detail.cancelled_by or 'nobody known'}: {detail.cancel_reason or 'no reason given'}"
    if detail.progress:
        yield f"progress: {detail.progress['done']:g} of {detail.progress['total'] or 1:g}"
    for step in steps:
        took = f"{(step.ended_at - step.started_at).total_seconds():.3f} s" if step.ended_at else ""
        attempts = f"{step.attempts} attempts" if step.attempts > 1 else ""
        yield "  ".join(each for each in (f"  {step.state:<10} {step.kind:<10} {step.path}", took, attempts) if each)
    for wait in detail.waits:
        until = f", until {wait.deadline_at:%Y-%m-%d %H:%M:%S}" if wait.deadline_at else ""
        yield f"  waits      {wait.kind:<10} {wait.path} since {wait.since:%Y-%m-%d %H:%M:%S}{until}"
    if detail.error is not None:
        yield json.loads(detail.error)["message"]


def _json_of(value: RunSummary | RunDetail) -> str:
    from pydantic_core import to_json

    return to_json(asdict(value)).decode()
