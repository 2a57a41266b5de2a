"""``toolkit agents``: agents listed, and measured by cases, with an exit code that a pipeline understands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from toolkit.cli.operators import account
from toolkit.errors import ConfigurationError

if TYPE_CHECKING:
    from toolkit.agents import EvaluationReport, Scorer
    from toolkit.app import Toolkit
    from toolkit.config import Settings

agents = typer.Typer(help="Agents: what they go by, and how well they do.", no_args_is_help=True)

EXIT_FAILED = 1

Name = Annotated[str, typer.Argument(help="The agent.")]
App = Annotated[str, typer.Option("--app", "-a", help="A file (main.py) or module:name with a Toolkit.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")]
Env = Annotated[str, typer.Option(envvar="TOOLKIT_ENV", help="dev or prod.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@agents.command("list")
def list_agents(*, app: App = "main.py", config: Config = None, env: Env = "dev", debug: Debug = False) -> None:
    """Print each agent, what it goes by, and its model."""

    async def work(application: Toolkit) -> None:
        for agent in await application.services.agents.list_agents():
            goes_by = "its code" if agent.active_version is None else f"version {agent.active_version}"
            print(f"{agent.name}: {goes_by}, model {agent.model}")

    application, settings = _loaded(app, config=config, env=env)
    application.run_standalone(lambda: _as_account(work, application), settings=settings)


@agents.command("eval")
def evaluate(
    name: Name,
    *,
    data_set: Annotated[str, typer.Option("--data-set", "-d", help="The stored cases.")] = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Cases in a YAML or JSON file instead.")] = None,
    version: Annotated[int | None, typer.Option(help="Left out: the agent's code.")] = None,
    scorers: Annotated[
        list[str] | None,
        typer.Option(
            "--scorer", "-s", help="exact, exact:total, case_insensitive:vendor, near:total:0.01, custom:NAME."
        ),
    ] = None,
    pass_rate: Annotated[float, typer.Option(min=0, max=1, help="Of the cases; with less it fails.")] = 1.0,
    concurrency: Annotated[int, typer.Option(min=1, max=50, help="Cases at a time.")] = 4,
    app: App = "main.py",
    config: Config = None,
    env: Env = "dev",
    debug: Debug = False,
) -> None:
    """Measure an agent by cases; exit code 1 if it does not pass. Meanwhile this process is a worker as any other."""
    from toolkit.agents import Gate, read_cases

    if bool(data_set) == (file is not None):
        raise ConfigurationError("say which cases: either --data-set NAME or --file PATH")
    cases = read_cases(file) if file is not None else None
    chosen = [parse_scorer(text) for text in scorers or ["exact"]]

    async def work(application: Toolkit) -> None:
        services = application.services
        _, run = await services.agents.evaluations.begin(
            services.engine,
            name,
            data_set or (file.stem if file is not None else ""),
            cases=cases,
            version=version,
            scorers=chosen,
            gate=Gate(pass_rate=Decimal(str(pass_rate))),
            concurrency=concurrency,
        )
        report = await run.result()
        _show(report)
        if not report.passed:
            raise typer.Exit(EXIT_FAILED)

    application, settings = _loaded(app, config=config, env=env)

    async def main() -> None:
        async with application.working(settings=settings):
            await _as_account(work, application)

    asyncio.run(main())


def parse_scorer(text: str) -> Scorer:
    """``near:total:0.01`` as a scorer.

    Raises:
        ConfigurationError: there is no such scorer.
    """
    from pydantic import TypeAdapter, ValidationError

    from toolkit.agents import Scorer as AnyScorer

    kind, *rest = text.split(":")
    names = {"near": ("field", "tolerance"), "custom": ("name",)}.get(kind, ("field",))
    if kind not in ("exact", "case_insensitive", "near", "custom") or len(rest) > len(names):
        raise ConfigurationError(
            f"there is no scorer {text!r}; expected exact[:FIELD], case_insensitive[:FIELD], near[:FIELD[:TOLERANCE]] "
            "or custom:NAME"
        )
    given = {name: value for name, value in zip(names, rest, strict=False) if value}
    try:
        return cast("Scorer", TypeAdapter[Any](AnyScorer).validate_python({"kind": kind, **given}))
    except ValidationError as error:
        raise ConfigurationError(f"scorer {text!r} does not fit: {error.errors()[0]['msg']}") from error


def _show(report: EvaluationReport) -> None:
    for case in report.cases:
        reasons = case.error or "; ".join(one.reason for one in case.scores if not one.passed)
        print(f"{'pass' if case.passed else 'FAIL'}  {case.name}{f': {reasons}' if reasons else ''}")
    for name, scorer in report.scorers.items():
        print(f"{name}: mean {scorer.mean}, {scorer.passed} of {scorer.cases}")
    cost = "unknown" if report.cost is None else str(report.cost)
    print(f"{report.pass_rate:.2%} of {len(report.cases)} case(s); {report.usage.tokens} tokens, cost {cost}")
    for sentence in report.missed:
        print(sentence)


def _loaded(app: str, *, config: Path | None, env: Any) -> tuple[Toolkit, Settings]:
    from toolkit.cli.targets import load_application
    from toolkit.config import load_settings

    application = load_application(app)
    return application, load_settings(env=env, config=config or application.config, app_folder=application.folder)


async def _as_account(work: Callable[[Toolkit], Awaitable[None]], application: Toolkit) -> None:
    from toolkit.access import Principal, acting_as

    with acting_as(Principal(id=account(), kind="person", display_name=account())):
        await work(application)
