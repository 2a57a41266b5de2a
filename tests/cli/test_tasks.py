"""``toolkit tasks``: listed, shown, claimed, assigned, answered from a terminal, in the account's own name."""

from __future__ import annotations

import asyncio
import os
import pty
import pwd
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_commands import ROOT, refusal, toolkit
from tests.human.office import until
from toolkit.app import Toolkit
from toolkit.cli.targets import load_application
from toolkit.config import Settings

ME = pwd.getpwuid(os.getuid()).pw_name
MAIN = """
from decimal import Decimal
from typing import Annotated, Literal
from pydantic import BaseModel, Field
from toolkit import Toolkit
from toolkit.human import Human, Money, MultiLine
from toolkit.workflows import workflow

class Bank(BaseModel):
    kind: Literal["bank"]
    iban: str

class Cash(BaseModel):
    kind: Literal["cash"]
    till: int

class Verdict(BaseModel):
    approved: bool
    account: Literal["travel", "food"]
    amount: Money = Field(ge=0)
    pay: Annotated[Bank | Cash, Field(discriminator="kind")]
    notes: MultiLine = ""

settle = Human("settle", title="Settle the claim", output_type=Verdict)

@workflow()
async def settle_claim(to: str) -> str:
    answer = await settle("R-7", message="See R-7", suggested_data={"amount": "5"}, assign_to=to)
    return f"{answer.completed_by} {answer.output.account} {answer.output.amount} {answer.output.pay.kind}"

app = Toolkit(title="Claims").register_workflow(settle_claim)
"""
YES = '{"approved": true, "account": "food", "amount": "7", "pay": {"kind": "cash", "till": 1}}'


class Desk:
    """The application in this process, and the command line beside it."""

    def __init__(self, app: Toolkit, folder: Path) -> None:
        self.app, self.folder = app, folder

    async def asked(self, to: str) -> tuple[Any, str]:
        run = await self.app.services.engine.start(self.app.definitions.workflows["settle_claim"], to)

        async def look() -> str | None:
            found = await self.app.services.tasks.list(run_id=run.id)
            return found[0].id if found else None

        return run, await until(look)

    async def says(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            toolkit, "tasks", *arguments, "--config", "test.yaml", cwd=self.folder, **environ
        )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    (tmp_path / "claims.py").write_text(MAIN)
    (tmp_path / "main.py").write_text("from claims import app\n")
    content = {"database": {"url": f"sqlite:///{tmp_path / 'toolkit.db'}"}}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(content))
    app = load_application(str(tmp_path / "claims.py"))
    async with app.running(settings=Settings.of(content, folder=tmp_path)):
        yield Desk(app, tmp_path)
    del sys.modules["claims"]


@pytest.mark.timeout(180)
async def test_a_task_is_found_taken_on_and_answered(desk: Desk) -> None:
    run, task = await desk.asked(ME)

    listed = await desk.says("list", "--mine")
    claimed = await desk.says("claim", task, LOGNAME="mallory", USER="mallory")
    wrong = await desk.says("complete", task, "--output", '{"approved": "perhaps"}')
    done = await desk.says("complete", task, "--output", YES)
    shown = await desk.says("show", task)

    assert listed.stdout == f"{task}  open  no due date  {ME}  Settle the claim\n"
    assert claimed.stdout == f"Settle the claim: claimed by {ME}\n"  # whatever the environment says
    assert "  approved: Input should be a valid boolean" in wrong.stdout
    assert "  account: Field required" in wrong.stdout
    assert "does not fit" in refusal(wrong)
    assert done.stdout == f"Settle the claim: completed by {ME}\n"
    assert f"claimed by {ME}" in shown.stdout
    assert await run.result() == f"{ME} food 7 cash"


@pytest.mark.timeout(180)
async def test_what_is_anothers_needs_a_reason_or_goes_to_somebody(desk: Desk) -> None:
    run, task = await desk.asked("ada")

    without = await desk.says("complete", task, "--output", YES)
    unclear = await desk.says("assign", task)
    assigned = await desk.says("assign", task, "--user", "bob", "--reason", "Ada is away")
    no_terminal = await desk.says("complete", task, "--reason", "month end")
    done = await desk.says("complete", task, "--output", YES, "--reason", "month end")

    assert "with a reason; give one" in refusal(without)
    assert "--user or --group" in refusal(unclear)
    assert assigned.stdout == "Settle the claim: for bob\n"
    assert "no terminal" in refusal(no_terminal)
    assert done.returncode == 0
    assert await run.result() == f"{ME} food 7 cash"
    last = (await desk.app.services.tasks.history(task))[-1]
    assert (last.actor, last.note, last.details["capacity"]) == (ME, "month end", "manager")


@pytest.mark.timeout(180)
async def test_the_terminal_asks_field_by_field_until_the_answer_fits(desk: Desk) -> None:
    run, task = await desk.asked(ME)
    rounds = ["y", "2", "much", "2", "seven", "All", "fine", "."], ["", "", "12.50", "", "7", "."]
    typed = "".join(f"{line}\n" for answers in rounds for line in answers)
    leader, follower = pty.openpty()
    os.write(leader, typed.encode())

    def complete() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "toolkit.cli", "tasks", "complete", task, "--config", "test.yaml"],
            cwd=desk.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(desk.folder)},
            stdin=follower,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    finished = await asyncio.to_thread(complete)
    os.close(leader)
    os.close(follower)

    assert finished.returncode == 0, finished.stderr + finished.stdout
    for said in ("See R-7", "1. Travel", "2. Food", "  amount: ", "  pay.cash.till: ", "  now: All\nfine"):
        assert said in finished.stdout, finished.stdout
    assert await run.result() == f"{ME} food 12.50 cash"
    assert (await desk.app.services.tasks.get(task)).output["notes"] == "All\nfine"
