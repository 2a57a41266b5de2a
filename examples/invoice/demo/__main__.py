"""``python -m examples.invoice.demo``: the invoice process with sixteen sample invoices, offline, in one process."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import httpx2
from rich.console import Console

from examples.invoice.demo.cases import Case
from examples.invoice.demo.display import make_console, print_addresses, print_table, progress
from examples.invoice.demo.expectations import read_expectations
from examples.invoice.demo.rest import Client
from examples.invoice.demo.serving import Served, serving, settings_for
from toolkit.errors import ToolkitError
from toolkit.telemetry import configure_logging


def main() -> int:
    """Runs the demo; the exit code says whether every invoice ended as it should."""
    arguments = _arguments()
    console = make_console()
    configure_logging(level="WARNING")
    folder = nullcontext(str(arguments.data)) if arguments.data else tempfile.TemporaryDirectory(prefix="invoices-")
    try:
        with folder as data:
            Path(data).mkdir(parents=True, exist_ok=True)
            return asyncio.run(show(console, Path(data).resolve(), arguments))
    except ToolkitError as error:
        console.print(f"[red]{error}[/red]")
        return 2
    except KeyboardInterrupt:
        return 0


async def show(console: Console, data: Path, arguments: argparse.Namespace) -> int:
    """Serve, send in, print; then answer and check, or go on serving."""
    settings = settings_for(data, is_live=arguments.live)
    async with serving(settings, port=arguments.port) as served:
        # Not by way of a proxy that the environment names: the application is on this machine.
        async with httpx2.AsyncClient(base_url=served.address, timeout=60, trust_env=False) as http:
            client = Client(http, patience=300 if arguments.live else 60)
            cases = await send_in(console, client)
            print_table(console, cases, title="Invoices received")
            if arguments.once:
                cases = await answer(console, client, cases)
                print_table(console, cases, title="Invoices after review")
                return report(console, cases)
        await keep_serving(console, served, str(data))
    return 0


async def send_in(console: Console, client: Client) -> list[Case]:
    """Every sample, one after the other: which of two equal invoices is the duplicate depends on who was first."""
    expectations = read_expectations()
    cases = []
    with progress(console, "Sending invoices in", len(expectations)) as advance:
        for expected in expectations:
            content = await asyncio.to_thread(expected.path.read_bytes)
            cases.append(Case(expected, await client.send_in(expected.file, content)))
            advance(expected.file)
    return cases


async def answer(console: Console, client: Client, cases: list[Case]) -> list[Case]:
    """Every open task answered as the samples say."""
    answered = []
    with progress(console, "Answering open tasks", sum(bool(case.asked) for case in cases)) as advance:
        for case in cases:
            if not case.asked:
                answered.append(case)
                continue
            output = case.expected.answer or {"approved": False, "note": "Nobody was expected to be asked."}
            answered.append(Case(case.expected, await client.answer(case.standing, output)))
            advance(case.expected.file)
    return answered


def report(console: Console, cases: list[Case]) -> int:
    """Say what differs from the expectations; 0 when nothing does."""
    differences = [difference for case in cases for difference in case.differences()]
    for difference in differences:
        console.print(f"[red]{difference}[/red]")
    if not differences:
        console.print(f"[green]All {len(cases)} invoices ended as they should.[/green]")
    return 1 if differences else 0


async def keep_serving(console: Console, served: Served, data: str) -> None:
    """Until Ctrl-C."""
    print_addresses(console, served.address, data)
    console.print("Ctrl-C stops it.")
    await served.stopped


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.invoice.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="answer the open tasks, check every end, and stop")
    parser.add_argument("--live", action="store_true", help="use the model of toolkit.live.yaml (needs OPENAI_API_KEY)")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; by default any that is free")
    parser.add_argument("--data", type=Path, help="keep database and files in this folder, and go on from there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
