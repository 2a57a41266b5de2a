"""``toolkit schedules``: when schedules start runs next; one is paused, resumed, or triggered now."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.operators import account, record, with_engine

if TYPE_CHECKING:
    from toolkit.workflows import Engine, ScheduleSummary

schedules = typer.Typer(help="Schedules: listed, paused, resumed, triggered.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the schedule.")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why; it is kept in the audit trail.")]
App = Annotated[str, typer.Option("--app", "-a", help="A file (main.py) or module:name with a Toolkit.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")]
Env = Annotated[str, typer.Option(envvar="TOOLKIT_ENV", help="dev or prod.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@schedules.command("list")
def list_schedules(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
    app: App = "main.py",
    config: Config = None,
    env: Env = "prod",
    debug: Debug = False,
) -> None:
    """Print every schedule that a worker has had, with the moment for which it waits."""

    async def work(engine: Engine) -> list[ScheduleSummary]:
        return await engine.schedules.list()

    for schedule in with_engine(work, app=app, config=config, env=env):
        print(_json_of(schedule) if as_json else _line_of(schedule))


@schedules.command()
def pause(
    name: Name,
    *,
    reason: Reason = None,
    app: App = "main.py",
    config: Config = None,
    env: Env = "prod",
    debug: Debug = False,
) -> None:
    """Have a schedule start nothing until it is resumed. Runs that it has started go on."""

    async def work(engine: Engine) -> str:
        if not await engine.schedules.pause(name, by=account()):
            return f"{name} is paused: nothing to pause"
        await record(engine, "schedule.paused", object_kind="schedule", object_id=name, reason=reason)
        return f"Paused {name}"

    print(with_engine(work, app=app, config=config, env=env))


@schedules.command()
def resume(
    name: Name,
    *,
    reason: Reason = None,
    app: App = "main.py",
    config: Config = None,
    env: Env = "prod",
    debug: Debug = False,
) -> None:
    """Let a paused schedule go on with its next moment from now; what came in the pause is not made up for."""

    async def work(engine: Engine) -> str:
        is_changed = await engine.schedules.resume(name)
        due_at = (await engine.schedules.get(name)).due_at
        if not is_changed:
            return f"{name} is not paused: nothing to resume"
        await record(engine, "schedule.resumed", object_kind="schedule", object_id=name, reason=reason)
        return f"Resumed {name}: next at {due_at:%Y-%m-%d %H:%M:%S} UTC"

    print(with_engine(work, app=app, config=config, env=env))


@schedules.command()
def trigger(
    name: Name,
    *,
    reason: Reason = None,
    app: App = "main.py",
    config: Config = None,
    env: Env = "prod",
    debug: Debug = False,
) -> None:
    """Start one run now, with the arguments for now; the schedule goes on as if nothing had happened."""

    async def work(engine: Engine) -> str:
        handle = await engine.schedules.trigger(name, by=account())
        await record(
            engine, "schedule.triggered", object_kind="schedule", object_id=name, run_id=handle.id, reason=reason
        )
        return f"A worker takes it up: toolkit runs show {handle.id}"

    print(with_engine(work, app=app, config=config, env=env))


# What is said -------------------------------------------------------------------------------------------------------


def _line_of(schedule: ScheduleSummary) -> str:
    if not schedule.is_registered:
        state = "not registered"
    elif schedule.paused_at is not None:
        state = f"paused by {schedule.paused_by or 'nobody known'}"
    else:
        state = f"next at {schedule.due_at:%Y-%m-%d %H:%M:%S} UTC"
    last = f"last run {schedule.last_run_id}" if schedule.last_run_id else "no run yet"
    return "  ".join([f"{schedule.name:<30}", f"{state:<34}", f"{schedule.workflow}, {schedule.timing}", last])


def _json_of(schedule: ScheduleSummary) -> str:
    from pydantic_core import to_json

    return to_json(asdict(schedule)).decode()
