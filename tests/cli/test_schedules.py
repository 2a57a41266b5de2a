"""Schedules from the command line: listed, paused, resumed, triggered; as docs/runs.md says."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from toolkit.access import list_audit
from toolkit.cli.commands import cli
from toolkit.cli.targets import load_application
from toolkit.errors import ToolkitError
from toolkit.ids import new_id
from toolkit.workflows import RunState

DOCUMENT = Path(__file__).parents[2] / "docs" / "runs.md"

MAIN = """
from toolkit import Toolkit
from toolkit.workflows import Schedule, workflow

@workflow()
async def close_books(note: str) -> str:
    return note

app = Toolkit(title="Books").register_schedule(
    Schedule("close_daily", close_books, cron="0 6 29 2 *", timezone="Europe/Berlin", arguments={"note": "closed"})
)
"""


class Books:
    """The application in a folder, and what the command says about its schedules; all in this process."""

    def __init__(self, folder: Path) -> None:
        self.name = f"books_{new_id().replace('-', '')}"  # imported once, so each test has its own
        (folder / f"{self.name}.py").write_text(MAIN, "utf-8")
        (folder / "toolkit.yaml").write_text("worker: {poll_seconds: 0.1}\n", "utf-8")

    @property
    def app(self) -> Any:
        return load_application(f"{self.name}.py")

    def invoke(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["schedules", *arguments, "--app", f"{self.name}.py"])

    def schedules(self, *arguments: str) -> list[str]:
        """The lines that a command prints."""
        found = self.invoke(*arguments)
        assert found.exit_code == 0, (found.output, found.exception)
        return found.stdout.splitlines()

    def work(self) -> list[str]:
        """Let a worker see the schedule and end every run; their results."""

        async def advance() -> list[str]:
            async with self.app.working(), asyncio.timeout(30):
                engine = self.app.services.engine
                while not await engine.schedules.list():
                    await asyncio.sleep(0.01)
                while any(run.state is not RunState.SUCCEEDED for run in await engine.list_runs()):
                    await asyncio.sleep(0.01)
                return [(await engine.get_run(run.id)).result for run in await engine.list_runs()]

        return asyncio.run(advance())

    def audited(self) -> list[str]:
        async def look() -> list[str]:
            entries = await list_audit(self.app.services.database, object_kind="schedule")
            return [f"{entry.action} {entry.details.get('reason')}" for entry in entries]

        found: list[str] = self.app.run_standalone(look)
        return found


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Books:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLKIT_ENV", "dev")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return Books(tmp_path)


def test_a_schedule_is_listed_paused_resumed_and_triggered(books: Books) -> None:
    assert books.schedules("list") == []
    books.work()

    (line,) = books.schedules("list")
    paused = books.schedules("pause", "close_daily", "--reason", "stocktaking")
    again = books.schedules("pause", "close_daily")
    (shown,) = books.schedules("list")
    (told,) = books.schedules("list", "--json")
    resumed = books.schedules("resume", "close_daily")
    once_more = books.schedules("resume", "close_daily")
    (triggered,) = books.schedules("trigger", "close_daily", "--reason", "the auditor asks")

    assert re.search(
        r"close_daily +next at \d{4}-02-29 05:00:00 UTC +close_books, cron 0 6 29 2 \* Europe/Berlin", line
    )
    assert (paused, again) == (["Paused close_daily"], ["close_daily is paused: nothing to pause"])
    assert "paused by" in shown
    assert json.loads(told)["paused_at"] is not None
    assert re.fullmatch(r"Resumed close_daily: next at \d{4}-02-29 05:00:00 UTC", resumed[0])
    assert once_more == ["close_daily is not paused: nothing to resume"]
    assert re.fullmatch(r"A worker takes it up: toolkit runs show \S+", triggered)
    assert books.work() == ['"closed"']
    assert books.audited() == [
        "schedule.triggered the auditor asks",
        "schedule.resumed None",
        "schedule.paused stocktaking",
    ]


def test_an_unknown_schedule_is_refused(books: Books) -> None:
    books.work()
    for command in ("pause", "resume", "trigger"):
        found = books.invoke(command, "nightly")
        assert isinstance(found.exception, ToolkitError), found.output
        assert "'nightly'; known: close_daily" in str(found.exception)


def test_the_commands_of_the_documentation_are_run(books: Books) -> None:
    commands = re.findall(r"^toolkit schedules .+$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) >= 4
    books.work()

    for command in commands:
        books.schedules(*shlex.split(command, comments=True)[2:])
