"""``toolkit tasks``: the questions that runs ask people, from the terminal.

Who answers is the account of the operating system, and no option says otherwise: what REST refuses to this person is
refused here. Whoever has the database's address may manage tasks as well, and is asked for a reason.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.operators import account, printable
from toolkit.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from toolkit.access import Principal
    from toolkit.human import Group, Task, TaskDetail, TaskService

tasks = typer.Typer(help="Human tasks: what waits for whom, taken on, passed on, answered.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the task.")]
App = Annotated[str, typer.Option("--app", "-a", help="A file (main.py) or module:name with a Toolkit.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")]
Env = Annotated[str, typer.Option(envvar="TOOLKIT_ENV", help="dev or prod.")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why; it is kept with the task.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@tasks.command("list")
def list_tasks(
    *,
    mine: Annotated[bool, typer.Option("--mine", help="Only what stands in front of you.")] = False,
    state: Annotated[str, typer.Option(help="open, claimed, completed, cancelled, expired or any.")] = "open",
    name: Annotated[str | None, typer.Option(help="Of the Human that asks.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Print tasks, due soonest first."""

    async def work(service: TaskService) -> None:
        found = await service.list(
            state=None if state == "any" else _state(state), name=name, mine=mine, order="due", limit=limit
        )
        for task in found:
            print(printable(_line(task)))
        if not found:
            print("Nothing waits." if state == "open" else "No such task.")

    _run(work, app=app, config=config, env=env)


@tasks.command()
def show(task_id: Id, *, app: App = "main.py", config: Config = None, env: Env = "dev", debug: Debug = False) -> None:
    """Print one task with its data, its files and what happened to it."""

    async def work(service: TaskService) -> None:
        _print_detail(await service.get(task_id))
        for change in await service.history(task_id):
            note = f": {change.note}" if change.note else ""
            print(printable(f"  {change.at:%Y-%m-%d %H:%M} {change.action} by {change.actor}{note}"))

    _run(work, app=app, config=config, env=env)


@tasks.command()
def claim(task_id: Id, *, app: App = "main.py", config: Config = None, env: Env = "dev", debug: Debug = False) -> None:
    """Take a task on, so that nobody else answers it."""

    async def work(service: TaskService) -> None:
        task = await service.claim(task_id)
        print(f"{task.title}: claimed by {task.assigned_to}")

    _run(work, app=app, config=config, env=env)


@tasks.command()
def assign(
    task_id: Id,
    *,
    user: Annotated[str | None, typer.Option(help="The person who is to answer.")] = None,
    group: Annotated[str | None, typer.Option(help="The group whose members may take it.")] = None,
    reason: Reason = None,
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Put a task before another person or a group."""

    async def work(service: TaskService) -> None:
        task = await service.assign(task_id, _recipient(user, group), reason=reason)
        print(f"{task.title}: for {task.assigned_to or ', '.join(task.candidates)}")

    _run(work, app=app, config=config, env=env)


@tasks.command()
def complete(
    task_id: Id,
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="The answer as JSON, or @FILE; left out: a form asks for it.")
    ] = None,
    reason: Reason = None,
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Answer a task, in a form of the terminal unless ``--output`` has the answer."""

    async def work(service: TaskService) -> None:
        if output is None:
            done = await _complete_by_form(service, task_id, reason=reason)
        else:
            done = await _complete_with(service, task_id, _json_of(output), reason=reason)
        print(
            f"{done.title}: {done.state}" + (f" by {done.completed_by}" if done.completed_by else ", your vote counts")
        )

    _run(work, app=app, config=config, env=env)


async def _complete_with(service: TaskService, task_id: str, text: str, *, reason: str | None) -> TaskDetail:
    """Answer with ``text``; what does not fit is printed field by field before the error."""
    try:
        return await service.complete(task_id, text, reason=reason)
    except InvalidInput as error:
        _print_errors(error)
        raise


async def _complete_by_form(service: TaskService, task_id: str, *, reason: str | None) -> TaskDetail:
    """Show the task and ask until the answer fits; it is bound to what was shown."""
    from pydantic_core import to_json

    from toolkit.cli.forms import fill_form

    if not sys.stdin.isatty():
        raise ConfigurationError(
            "there is no terminal to ask in; give the answer with --output, as JSON or as @FILE", key="--output"
        )
    task = await service.get(task_id)
    _print_detail(task)
    if task.form is None:
        raise ConfigurationError(f"the application does not define {task.name!r} (any more); name another with --app")
    given = task.suggested_data
    while True:
        given = await asyncio.to_thread(fill_form, task.form, given=given, files=task.files)
        try:
            return await service.complete(task_id, to_json(given), version=task.version, seen=task.seen, reason=reason)
        except InvalidInput as error:
            _print_errors(error)


def _run(work: Callable[[TaskService], Awaitable[None]], *, app: str, config: Path | None, env: Any) -> None:
    """Do ``work`` on the tasks of an application; its runs go on wherever they are advanced."""
    from toolkit.access import acting_as
    from toolkit.cli.targets import load_application
    from toolkit.config import load_settings

    found = load_application(app)
    found.configure(load_settings(env=env, config=config or found.config, app_folder=found.folder))

    async def work_as_account() -> None:
        service = found.services.tasks
        service.managers_explain = True
        with acting_as(_principal()):
            await work(service)

    found.run_standalone(work_as_account)


def _principal() -> Principal:
    from toolkit.access import Permission, Principal

    may = (Permission.TASKS_READ, Permission.TASKS_COMPLETE, Permission.TASKS_MANAGE)
    return Principal(id=account(), kind="person", permissions=frozenset(may))


def _recipient(user: str | None, group: str | None) -> str | Group:
    from toolkit.human import Group

    if (user is None) == (group is None):
        raise ConfigurationError("say for whom the task is: either --user or --group")
    return Group(group) if group is not None else user or ""


def _state(name: str) -> Any:
    from toolkit.human import TaskState

    try:
        return TaskState(name)
    except ValueError as error:
        expected = ", ".join([*TaskState, "any"])
        raise ConfigurationError(f"there is no state {name!r}; expected {expected}", key="--state") from error


def _json_of(output: str) -> str:
    if not output.startswith("@"):
        return output
    path = Path(output[1:])
    if not path.is_file():
        raise ConfigurationError(f"there is no file {str(path)!r} to read the answer from", key="--output")
    return path.read_text(encoding="utf-8")


def _line(task: Task) -> str:
    due = f"due {task.due_at:%Y-%m-%d %H:%M}" if task.due_at else "no due date"
    return f"{task.id}  {task.state}  {due}  {task.assigned_to or '-'}  {task.title}"


def _print_detail(task: TaskDetail) -> None:
    from pydantic_core import to_json

    print(printable(f"{task.title} ({task.state})"))
    for told in (task.description, task.message):
        if told:
            print(printable(told))
    print(f"for: {task.assigned_to or ', '.join(task.candidates) or 'nobody named'}")
    if task.due_at:
        print(f"due: {task.due_at:%Y-%m-%d %H:%M} UTC")
    print(f"data: {to_json(task.input, indent=2).decode()}")
    for file in task.files:
        print(printable(f"file: {file.filename} ({file.size:,} bytes, {file.id})"))
    if task.completed_by:
        print(f"answer of {task.completed_by}: {to_json(task.output).decode()}")


def _print_errors(error: InvalidInput) -> None:
    for found in error.errors:
        print(f"  {found.get('loc') or 'answer'}: {found['msg']}")
