"""Runs from the command line: found, looked into, changed one by one and many at once; as docs/runs.md says."""

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

from toolkit.cli.commands import cli
from toolkit.cli.targets import load_application
from toolkit.errors import ToolkitError
from toolkit.ids import new_id
from toolkit.workflows import RunFilter, RunState

DOCUMENT = Path(__file__).parents[2] / "docs" / "runs.md"

MAIN = """
from pathlib import Path
from toolkit import Toolkit
from toolkit.workflows import set_attributes, step, wait_for_event, workflow

@step()
async def fetch(name: str) -> str:
    return f"fetched {name}"

@step()
async def deliver(what: str) -> str:
    if Path("broken").exists():
        raise ConnectionError("the van is broken")
    return f"delivered {what}"

@workflow()
async def collect(name: str, note: str = "") -> list[str]:
    await set_attributes(customer=name)
    return [await deliver(await fetch(name)), note]

@workflow()
async def wait_for_letter(name: str) -> str:
    return f"{name}: {await wait_for_event('letter')}"

app = Toolkit(title="Post").register_workflow(collect).register_workflow(wait_for_letter)
"""


class Post:
    """The application in a folder, and what the command says about its runs; all in this process, which is quick."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"post_{new_id().replace('-', '')}"  # imported once, so each test has its own
        (folder / f"{self.name}.py").write_text(MAIN, "utf-8")
        (folder / "toolkit.yaml").write_text("worker: {poll_seconds: 0.1}\n", "utf-8")

    @property
    def app(self) -> Any:
        return load_application(f"{self.name}.py")

    def invoke(self, *arguments: str, input: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["runs", *arguments, "--app", f"{self.name}.py"], input=input)

    def runs(self, *arguments: str) -> list[str]:
        """The lines that a command prints."""
        found = self.invoke(*arguments)
        assert found.exit_code == 0, (found.output, found.exception)
        return found.stdout.splitlines()

    def refused(self, *arguments: str) -> str:
        """The error that a command ends with."""
        found = self.invoke(*arguments)
        assert isinstance(found.exception, ToolkitError), found.output
        return str(found.exception)

    def begin(self, workflow: str, *names: str) -> list[str]:
        """Start runs, which nobody advances yet."""
        app = self.app
        module = sys.modules[self.name]

        async def start() -> list[str]:
            return [(await app.start(getattr(module, workflow), name)).id for name in names]

        ids: list[str] = app.run_standalone(start)
        return ids

    def work(self, *, until: int, state: str) -> None:
        """Let a worker advance runs until so many are in a state."""

        async def advance() -> None:
            async with self.app.working(), asyncio.timeout(30):
                engine = self.app.services.engine
                while await engine.count_runs(RunFilter(states=[RunState(state)])) < until:
                    await asyncio.sleep(0.01)

        asyncio.run(advance())


@pytest.fixture
def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Post:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLKIT_ENV", "dev")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return Post(tmp_path)


def test_a_failed_run_is_found_looked_into_and_retried(post: Post) -> None:
    (post.folder / "broken").touch()
    (run_id,) = post.begin("collect", "book")
    post.work(until=1, state="failed")
    (post.folder / "broken").unlink()

    (line,) = post.runs("list", "--error", "van is broken", "--attribute", "customer=book", "--since", "1h")
    shown = post.runs("show", run_id)
    told = post.runs("retry", run_id, "--reason", "the van is mended")
    again = post.runs("retry", run_id)
    post.work(until=1, state="succeeded")

    assert line.startswith(run_id)
    assert line.endswith("collect  customer=book  ConnectionError: the van is broken")
    assert [each.split()[:3] for each in shown[1:4]] == [
        ["succeeded", "message", "set_attributes/0"],
        ["succeeded", "compute", "fetch/0"],
        ["failed", "compute", "deliver/0"],
    ]
    assert shown[-1] == "the van is broken"
    assert told == again
    made = told[0].split()[-1]
    (detail,) = post.runs("show", made, "--json")
    assert json.loads(json.loads(detail)["result"]) == ["delivered fetched book", ""]
    assert post.runs("show", made)[1] == f"made of {run_id}, from deliver/0"


def test_waiting_runs_are_paused_resumed_and_cancelled(post: Post) -> None:
    first, second = post.begin("wait_for_letter", "ada", "bob")

    assert post.runs("pause", first) == [f"Paused {first}"]
    assert post.runs("pause", first) == [f"{first} is pending, paused: nothing to pause"]
    assert [line.split()[0] for line in post.runs("list", "--paused")] == [first]
    assert post.runs("resume", first) == [f"Resumed {first}"]
    assert post.runs("release", first) == [f"{first} is pending: nothing to release"]
    assert post.runs("cancel", second, "--reason", "moved away") == [f"Cancelled {second}"]
    assert "moved away" in "\n".join(post.runs("show", second))
    assert "cannot become" in post.refused("cancel", second)
    assert "there is no run" in post.refused("show", "nobody")


def test_a_run_is_forked_with_other_input_and_a_given_result(post: Post) -> None:
    (run_id,) = post.begin("collect", "book")
    post.work(until=1, state="succeeded")

    told = post.runs(
        "fork", run_id, "--from", "deliver/0", "--input", '{"note": "hi"}', "--result", 'deliver/0="by hand"'
    )
    post.work(until=2, state="succeeded")

    (detail,) = post.runs("show", told[0].split()[-1], "--json")
    assert json.loads(json.loads(detail)["result"]) == ["by hand", "hi"]


def test_many_runs_are_counted_agreed_to_and_changed_by_a_worker(post: Post) -> None:
    post.begin("wait_for_letter", "ada", "bob", "eve")

    asked = post.invoke("cancel", "--workflow", "wait_for_letter", input="n\n")
    (told,) = post.runs("cancel", "--workflow", "wait_for_letter", "--yes", "--reason", "closed")
    post.work(until=1, state="succeeded")

    assert "3 run(s) are meant. Cancel them?" in asked.stdout
    assert "Nothing was done." in asked.stdout
    found = re.fullmatch(r"A worker does it to 3 run\(s\): toolkit runs show (\S+)", told)
    assert found is not None
    assert "progress: 3 of 3" in post.runs("show", found[1])
    assert post.runs("cancel", "--all", "--yes") == ["There is no run to cancel."]


def test_what_is_not_said_clearly_is_refused(post: Post) -> None:
    assert "name a run" in post.refused("cancel")
    assert "not both" in post.refused("cancel", "a-run", "--all")
    assert "there is no state 'done'" in post.refused("list", "--state", "done")
    assert "is no moment" in post.refused("list", "--since", "soon")
    assert "the whole id of the last one" in post.refused("list", "--after", "nope")
    assert "cannot be used" in post.refused("list", "--attribute", "total")
    assert "PATH=JSON" in post.refused("fork", "a-run", "--result", "pay/0=done")


def test_odd_moments_numbers_and_texts_are_answered_in_one_line(post: Post) -> None:
    post.begin("collect", "book")

    assert "is no moment" in post.refused("list", "--since", "99999999d")
    assert "is no moment" in post.refused("list", "--since", f"{'9' * 5000}d")
    assert "years 1 to 9999" in post.refused("list", "--until", "9999-12-31T23:59:59-01:00")
    assert "years 1 to 9999" in post.refused("list", "--attribute", "due<9999-12-31T23:59:59-01:00")
    assert "up to 500 digits" in post.refused("list", "--attribute", "total>1e999999999")
    assert "half of a surrogate pair" in post.refused("list", "--error", "\udcff")
    assert len(post.runs("list", "--since", "0001-01-01", "--until", "9999-12-31")) == 1
    assert post.runs("list", "--attribute", "customer=1e999999999") == []


def test_the_commands_of_the_documentation_are_run(post: Post) -> None:
    """Every ``toolkit runs`` line of docs/runs.md, with a run of ours for each RUN and JOB."""
    commands = re.findall(r"^toolkit runs .+$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) >= 10
    waiting = iter(post.begin("wait_for_letter", *(f"{at}" for at in range(len(commands)))))
    (post.folder / "broken").touch()
    (failed,) = post.begin("collect", "book")
    post.work(until=1, state="failed")

    for command in commands:
        words = [word for word in shlex.split(command, comments=True)[2:] if word != "RUN"]
        run = failed if words[0] in {"retry", "fork"} else next(waiting)
        if "RUN" in command.split():
            words.insert(1, run)
        post.runs(*words, *(["--yes"] if "RUN" not in command.split() and words[0] not in {"list"} else []))
