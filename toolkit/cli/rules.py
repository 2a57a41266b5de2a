"""``toolkit rules``: overrides and their cases as files, so that they can live in version control.

A rule is a folder: ``rules/approval/graph.json`` and, beside it, ``cases.json``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from toolkit.cli.operators import account
from toolkit.errors import ConfigurationError, RuleGraphInvalid

if TYPE_CHECKING:
    from toolkit.rules import RuleService, SpreadsheetFormat

T = TypeVar("T")

rules = typer.Typer(
    help="Rules: their overrides and cases as files, tested, compared, activated.", no_args_is_help=True
)

GRAPH, CASES = "graph.json", "cases.json"
EXIT_FAILED = 1

Name = Annotated[str, typer.Argument(help="The rule.")]
App = Annotated[str, typer.Option("--app", "-a", help="A file (main.py) or module:name with a Toolkit.")]
Folder = Annotated[Path, typer.Option("--folder", "-f", help="Where the folders of the rules are.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")]
Env = Annotated[str, typer.Option(envvar="TOOLKIT_ENV", help="dev or prod.")]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept with the change.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@rules.command("list")
def list_rules(*, app: App = "main.py", config: Config = None, env: Env = "dev", debug: Debug = False) -> None:
    """Print each rule and what decides for it."""

    async def work(service: RuleService) -> None:
        for rule in service.list_rules():
            count = len(await service.versions(rule.name))
            decides = "the function" if rule.active_version is None else f"version {rule.active_version}"
            print(f"{rule.name}: {decides} decides; {count} version(s)")

    _run(work, app=app, config=config, env=env)


@rules.command()
def pull(
    name: Name,
    *,
    version: Annotated[int | None, typer.Option(min=1, help="Left out: the active one, else the newest.")] = None,
    folder: Folder = Path("rules"),
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Write a version and the stored cases of a rule into its folder; a rule without versions gets a starter graph."""

    async def work(service: RuleService) -> None:
        place = folder / name
        number = version if version is not None else service.active_version(name)
        if number is None and (found := await service.versions(name)):
            number = found[0].number
        graph = service.starter_graph(name)
        if number is not None:
            graph = json.loads((await service.version(name, number)).graph or "{}")
        stored = await service.workbench.list_cases(name)
        cases = {c.name: {"input": c.input, "expected": c.expected, "note": c.note} for c in stored}
        place.mkdir(parents=True, exist_ok=True)
        _write(place / GRAPH, graph)
        _write(place / CASES, cases)
        what = "the starter graph" if number is None else f"version {number}"
        print(f"Wrote {what} and {len(cases)} case(s) to {place}")

    _run(work, app=app, config=config, env=env)


@rules.command()
def push(
    name: Name,
    *,
    note: Annotated[str | None, typer.Option(help="What is new, for the list of versions.")] = None,
    folder: Folder = Path("rules"),
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Store the graph of a rule's folder as a version, and its cases in place of those that are stored."""

    async def work(service: RuleService) -> None:
        cases = _cases(folder / name)  # before the graph is stored without them
        stored = await _checked(lambda: service.upload(name, _graph(folder / name), note=note))
        for case, content in cases.items():
            texts = {field: json.dumps(content[field]) for field in ("input", "expected")}
            await service.workbench.put_case(name, case, **texts, note=content.get("note"))
        for known in await service.workbench.list_cases(name):
            if known.name not in cases:
                await service.workbench.delete_case(name, known.name)
        for issue in stored.report.issues:
            print(f"  {issue.severity}: {issue.message}")
        print(f"{name} version {stored.number}{'' if stored.created else ' (known already)'}, {len(cases)} case(s)")

    _run(work, app=app, config=config, env=env)


@rules.command("test")
def run_cases(
    name: Name,
    *,
    folder: Folder = Path("rules"),
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Check the graph of a rule's folder and run its cases, without storing anything; exit code 1 if one fails."""

    async def work(service: RuleService) -> None:
        cases = _cases(folder / name)
        graph = _graph(folder / name)
        report = await _checked(lambda: service.workbench.run_cases_on(name, graph, cases))
        for result in report.results:
            print(f"{'passed' if result.passed else 'FAILED'}: {result.case}")
            for told in [*result.differences, *([result.error] if result.error else [])]:
                print(f"  {told}")
        if report.coverage is not None:
            print(f"{report.coverage.percent} % of the rows are reached")
            for row in report.coverage.never_hit:
                print(f"  never: {row}")
        if report.failed:
            raise typer.Exit(EXIT_FAILED)

    _run(work, app=app, config=config, env=env)


@rules.command()
def diff(
    name: Name,
    *,
    against: Annotated[int | None, typer.Option(min=1, help="Left out: the active version.")] = None,
    folder: Folder = Path("rules"),
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Print what the graph of a rule's folder changes; exit code 1 if it changes anything."""

    async def work(service: RuleService) -> None:
        number = against if against is not None else service.active_version(name)
        if number is None:
            raise ConfigurationError(f"no version of {name!r} is active; say which to compare with: --against NUMBER")
        changes = await _checked(lambda: service.workbench.diff_graph(name, _graph(folder / name), against=number))
        for change in changes:
            print(change.text)
        if changes:
            raise typer.Exit(EXIT_FAILED)

    _run(work, app=app, config=config, env=env)


Table = Annotated[str | None, typer.Option(help="The name of the table; left out where there is one only.")]
Spreadsheet = Annotated[Path, typer.Argument(help="A .csv or .xlsx file.", dir_okay=False)]


@rules.command("export")
def export_tables(
    name: Name, file: Spreadsheet, *, table: Table = None, folder: Folder = Path("rules"), debug: Debug = False
) -> None:
    """Write the decision tables of a rule's folder into a spreadsheet."""
    from toolkit.rules import write_spreadsheet

    document = _document(folder / name)
    file.write_bytes(write_spreadsheet(document, _format_of(file), table=table))
    print(f"Wrote {file}")


@rules.command("import")
def import_tables(
    name: Name, file: Spreadsheet, *, table: Table = None, folder: Folder = Path("rules"), debug: Debug = False
) -> None:
    """Put the tables of a spreadsheet into the graph of a rule's folder; `test` and `diff` say what that means."""
    from toolkit.rules import read_spreadsheet

    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    document = read_spreadsheet(file.read_bytes(), _format_of(file), _document(folder / name), table=table)
    _write(folder / name / GRAPH, document)
    print(f"Changed {folder / name / GRAPH}")


@rules.command()
def activate(
    name: Name,
    version: Annotated[int, typer.Argument(help="Its number.")],
    *,
    reason: Reason = None,
    force: Annotated[bool, typer.Option("--force", help="Pass over cases that fail; needs a reason.")] = False,
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Let a version decide, in every process within a second."""

    async def work(service: RuleService) -> None:
        await service.activate(name, version, reason=reason, force=force)
        print(f"{name}: version {version} decides")

    _run(work, app=app, config=config, env=env)


@rules.command()
def rollback(
    name: Name,
    *,
    reason: Reason = None,
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Let decide what decided before."""

    async def work(service: RuleService) -> None:
        number = (await service.rollback(name, reason=reason)).active_version
        print(f"{name}: {'the function' if number is None else f'version {number}'} decides")

    _run(work, app=app, config=config, env=env)


def _run(work: Callable[[RuleService], Awaitable[None]], *, app: str, config: Path | None, env: str) -> None:
    async def main() -> None:
        async with _service(app, config=config, env=env) as service:
            await work(service)

    asyncio.run(main())


@asynccontextmanager
async def _service(target: str, *, config: Path | None, env: Any) -> AsyncIterator[RuleService]:
    """The rules of an application on its database; nothing else of it is opened."""
    from toolkit.access import Principal, acting_as
    from toolkit.cli.targets import load_application
    from toolkit.config import load_settings
    from toolkit.rules import RuleService
    from toolkit.storage import Database

    app = load_application(target)
    settings = load_settings(env=env, config=config or app.config, app_folder=app.folder)
    database = Database(settings.database.url.get_secret_value(), payload_codec=app.definitions.payload_codec)
    await database.open()
    try:
        service = RuleService(
            database,
            app.definitions.rules.values(),
            evaluation_seconds=settings.rules.evaluation_seconds,
            allows_functions=settings.rules.function_nodes,
        )
        await service.open()
        try:
            with acting_as(Principal(id=account(), kind="person", display_name=account())):
                yield service
        finally:
            await service.close()
    finally:
        await database.close()


async def _checked(call: Callable[[], Awaitable[T]]) -> T:
    """What ``call`` gives; where a graph is refused, every issue is printed before the error."""
    try:
        return await call()
    except RuleGraphInvalid as error:
        for issue in error.issues:
            print(f"  {issue['severity']}: {issue['message']} ({issue['path']})")
        raise


def _graph(place: Path) -> bytes:
    path = place / GRAPH
    if not path.is_file():
        raise ConfigurationError(f"there is no {path}; `toolkit rules pull {place.name}` writes one to begin with")
    return path.read_bytes()


def _document(place: Path) -> dict[str, Any]:
    try:
        found = json.loads(_graph(place))
    except ValueError as error:
        raise ConfigurationError(f"{place / GRAPH} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{place / GRAPH} is a JSON {type(found).__name__}; expected a graph, an object")
    return found


def _format_of(file: Path) -> SpreadsheetFormat:
    match file.suffix.lower():
        case ".csv":
            return "csv"
        case ".xlsx":
            return "xlsx"
    raise ConfigurationError(f"{file} ends with {file.suffix!r}; expected .csv or .xlsx")


def _cases(place: Path) -> dict[str, dict[str, Any]]:
    path = place / CASES
    if not path.is_file():
        return {}
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for case in found.values():
            case["input"], case["expected"]  # both must be there
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f'{path} does not hold cases as {{"a name": {{"input": {{}}, "expected": {{}}}}}}: {error!r}'
        ) from error
    return found


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
