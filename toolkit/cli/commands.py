"""The commands and their options. What they do is loaded when they run, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.agents import agents
from toolkit.cli.rules import rules
from toolkit.cli.runs import runs
from toolkit.cli.schedules import schedules
from toolkit.cli.tasks import tasks
from toolkit.errors import ToolkitError

cli = typer.Typer(
    name="toolkit",
    help="Durable business processes: software, AI agents, rules and people on the same case.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(
    help="API keys: made here, kept by their holder; the configuration has the hash.", no_args_is_help=True
)
cli.add_typer(keys, name="key")
databases = typer.Typer(help="The tables of an installation: migrated, compared, revised.", no_args_is_help=True)
cli.add_typer(databases, name="db")

cli.add_typer(agents, name="agents")
cli.add_typer(rules, name="rules")
cli.add_typer(runs, name="runs")
cli.add_typer(schedules, name="schedules")
cli.add_typer(tasks, name="tasks")

EXIT_DIFFERENT, EXIT_REFUSED = 1, 2

files = typer.Typer(help="Stored files: verified, moved between storages.", no_args_is_help=True)
cli.add_typer(files, name="files")


class Environment(StrEnum):
    """Which defaults hold, and which ``toolkit.{env}.yaml`` is read."""

    DEV = "dev"
    PROD = "prod"


Target = Annotated[
    str, typer.Argument(metavar="[APP]", help="A file (main.py) or module:name (invoices.main:app) with a Toolkit.")
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file; else TOOLKIT_CONFIG, else toolkit.yaml.")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on, in place of server.host.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port in place of server.port; 0 takes a free one.")]
Env = Annotated[Environment, typer.Option(envvar="TOOLKIT_ENV", help="Which defaults hold.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@cli.command()
def dev(
    app: Target = "main.py",
    *,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start anew when a source file changes.")] = False,
    debug: Debug = False,
) -> None:
    """Serve an application on this machine, with its engine, on SQLite unless told otherwise."""
    if reload:
        from toolkit.cli.reloading import serve_with_reload

        arguments = [a for a in sys.argv[1:] if a != "--reload"]
        sys.exit(serve_with_reload(arguments, target=app))
    from toolkit.cli.serving import serve

    serve(app, env="dev", config=config, host=host, port=port)


@cli.command()
def prod(
    app: Target = "main.py",
    *,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    debug: Debug = False,
) -> None:
    """Serve an application to others: authentication is required, logs are JSON lines."""
    from toolkit.cli.serving import serve

    serve(app, env="prod", config=config, host=host, port=port)


@cli.command()
def worker(
    app: Target = "main.py",
    *,
    config: Config = None,
    env: Annotated[Environment, typer.Option(envvar="TOOLKIT_ENV", help="Which defaults hold.")] = Environment.PROD,
    debug: Debug = False,
) -> None:
    """Advance runs without serving pages; any number of workers share one database."""
    from toolkit.cli.serving import work

    work(app, env=env.value, config=config)


@cli.command()
def scaffold(
    name: Annotated[str, typer.Argument(help="Name of the new application and its folder, such as my-invoices.")],
    *,
    debug: Debug = False,
) -> None:
    """Write a small invoice application that runs, with a test."""
    from toolkit.cli.scaffolding import write_application

    folder = write_application(name, into=Path.cwd())
    print(f"Wrote {folder.name}/. Next:")
    print(f"  cd {folder.name}")
    print("  python -m pytest        # its test, offline")
    print("  toolkit dev main.py     # serves http://127.0.0.1:8000/docs")


@cli.command()
def check(
    app: Target = "main.py",
    *,
    config: Config = None,
    env: Env = Environment.PROD,
    strict: Annotated[bool, typer.Option("--strict", help="Fail for doubtful runs as well.")] = False,
    debug: Debug = False,
) -> None:
    """Replay the live runs against the code on disk, touching none; fail if a deploy would break one."""
    from toolkit.cli.checking import check as check_runs
    from toolkit.cli.checking import describe

    replays = check_runs(app, env=env.value, config=config)
    for line in describe(replays):
        print(line)
    failing = {"breaks", "doubtful"} if strict else {"breaks"}
    if any(replay.verdict in failing for replay in replays):
        sys.exit(EXIT_DIFFERENT)


@cli.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as version_of

    print(version_of("process-toolkit"))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who will use it, such as erp; decisions are recorded under this name.")],
    *,
    debug: Debug = False,
) -> None:
    """Make an API key. It is shown this once and stored nowhere; put its hash into the configuration."""
    from toolkit.access import new_api_key

    key = new_api_key()
    print(f"The key, for {name}. It is shown this once:\n\n  {key.text}\n")
    print("For the configuration, with the permissions that it needs and no others:\n")
    print("security:\n  api_keys:")
    print(f'    {_yaml_name(name)}:\n      hash: "{key.hash}"\n      permissions: "*"')


@databases.command("upgrade")
def upgrade_database(
    app: Target = "main.py", *, config: Config = None, env: Env = Environment.PROD, debug: Debug = False
) -> None:
    """Bring the tables to what the code needs: the toolkit's own, then the application's by its migrations."""
    from toolkit.cli.migrating import upgrade

    for line in upgrade(app, env=env.value, config=config):
        print(line)


@databases.command("revision")
def write_revision(
    app: Target = "main.py",
    *,
    message: Annotated[str, typer.Option("--message", "-m", help="What changes, such as: add due date.")],
    config: Config = None,
    env: Env = Environment.DEV,
    debug: Debug = False,
) -> None:
    """Write the migration that leads from the last one to the application's models of today; read it before use."""
    from toolkit.cli.migrating import revise

    path = revise(app, message=message, env=env.value, config=config)
    print(f"Wrote {path}. Read it, then run `toolkit db upgrade`." if path else "The models say what the tables say.")


@databases.command("check")
def check_database(
    app: Target = "main.py", *, config: Config = None, env: Env = Environment.PROD, debug: Debug = False
) -> None:
    """Fail if models and database differ, and say in what."""
    from toolkit.cli.migrating import check

    differences = check(app, env=env.value, config=config)
    for difference in differences:
        print(difference)
    if differences:
        sys.exit(EXIT_DIFFERENT)
    print("Models and database agree.")


@files.command("verify")
def verify_files(
    app: Target = "main.py", *, config: Config = None, env: Env = Environment.PROD, debug: Debug = False
) -> None:
    """Read every stored file and compare it with its checksum; fail if one is damaged or missing."""
    from toolkit.cli.keeping import verify

    damages = verify(app, env=env.value, config=config)
    for damage in damages:
        print(damage)
    if damages:
        sys.exit(EXIT_DIFFERENT)
    print("Every file is as it was stored.")


@files.command("release")
def release_file(
    file_id: Annotated[str, typer.Argument(help="The id of a file in quarantine.")],
    app: Target = "main.py",
    *,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why it may be read after all; it is recorded.")],
    config: Config = None,
    env: Env = Environment.PROD,
    debug: Debug = False,
) -> None:
    """Let a file out of quarantine, whatever its scan found."""
    from toolkit.cli.keeping import release

    print(f"Released {release(app, file_id=file_id, reason=reason, env=env.value, config=config)!r}.")


@files.command("migrate")
def migrate_files(
    app: Target = "main.py",
    *,
    source: Annotated[str, typer.Option("--from", help="The storage to empty, by its name in the configuration.")],
    target: Annotated[str, typer.Option("--to", help="The storage that the files go to.")],
    config: Config = None,
    env: Env = Environment.PROD,
    debug: Debug = False,
) -> None:
    """Move all files of one storage to another while the application goes on; can be stopped and begun again."""
    from toolkit.cli.keeping import migrate

    print(f"Moved {migrate(app, source=source, target_storage=target, env=env.value, config=config)} file(s).")


def run() -> None:
    """Run one command. An error for the operator ends it with one line and exit code 2."""
    try:
        cli()
    except (ToolkitError, OSError, UnicodeDecodeError) as error:  # what is wrong with a file that was named, say
        if "--debug" in sys.argv:  # asked of the text, because the error may come before the options are parsed
            raise
        print(f"toolkit: {error}", file=sys.stderr)
        sys.exit(EXIT_REFUSED)


def _yaml_name(name: str) -> str:
    """Quoted: YAML would make a boolean of ``on``."""
    import json

    return json.dumps(name, ensure_ascii=False)
