"""What the demo prints: progress, a table of all invoices, and where to look further."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from examples.invoice.demo.cases import Case
from examples.invoice.demo.rest import WORKFLOW

_COLORS = {"paid": "green", "credited": "green", "rejected": "red", "in review": "yellow"}


def make_console() -> Console:
    """A console that is wide enough for the table when its output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


@contextmanager
def progress(console: Console, title: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar that moves by one for each call with the name of what is done next."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[now]}"), console=console) as bar:
        task = bar.add_task(title, total=total, now="")

        def show(now: str) -> None:
            bar.update(task, now=now, advance=1)

        yield show


def print_table(console: Console, cases: Sequence[Case], *, title: str) -> None:
    table = Table(title=title, title_justify="left", show_lines=False)
    for column in ("file", "total", "decision", "reason", "state", "to do"):
        table.add_column(column, justify="right" if column == "total" else "left", overflow="fold")
    for case in cases:
        color = _COLORS.get(case.state, "white")
        table.add_row(
            case.expected.file,
            case.total or "-",
            case.action,
            f"{case.reason_code}: {case.reason}",
            f"[{color}]{case.state}[/{color}]",
            _to_do(case),
        )
    console.print(table)


def print_addresses(console: Console, address: str, data: str) -> None:
    console.print(f"Application    {address}")
    console.print(f"API            {address}/docs")
    console.print(f"Runs           {address}/toolkit/v1/runs?workflow={WORKFLOW}")
    console.print(f"Open tasks     {address}/toolkit/v1/human-tasks?state=open")
    console.print(f"Data           {data}")


def _to_do(case: Case) -> str:
    run, task = case.standing.run, case.standing.task
    if task is not None:
        return f"review by {task['assigned_to']}: task {task['id']}"
    return "-" if run["state"] == "succeeded" else f"see run {run['id']}"
