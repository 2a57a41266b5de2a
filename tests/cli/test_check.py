"""``toolkit check``: a deploy that would break live runs is noticed before it happens."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.cli.test_commands import ROOT, toolkit

_MAIN = """
from pydantic import BaseModel
from toolkit import Toolkit
from toolkit.human import Human
from toolkit.rules import rule
from toolkit.workflows import step, wait_for_event, workflow

class Claim(BaseModel):
    amount: int

class Ruling(BaseModel):
    is_small: bool

@rule()
def policy(input: Claim) -> Ruling:
    return Ruling(is_small=input.amount < 100)

review = Human("review", title="Review", input_type=Claim, output_type=Ruling, assign_to="anna")

@step()
async def enter(claim: Claim) -> int:
    print("ENTERED")
    return claim.amount

@workflow()
async def settle(claim: Claim) -> int:
    ruling = await policy(claim)
    amount = await enter(claim)
    answer = await review(claim)
    return amount

app = Toolkit("Claims").register_workflow(settle)
"""

_START = """
import asyncio
from main import Claim, app, settle

async def main():
    async with app.running():
        run = await app.start(settle, Claim(amount=7))
        while (await app.services.engine.get_run(run.id)).summary.state != "suspended":
            await asyncio.sleep(0.01)
        print(run.id)

asyncio.run(main())
"""


def begin_a_run(folder: Path) -> str:
    """Write the application, begin a run with it and leave it waiting for a person; returns the run's id."""
    (folder / "main.py").write_text(_MAIN)
    finished = subprocess.run(
        [sys.executable, "-c", _START],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": f"{ROOT}:{folder}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()[-1]


def digest(folder: Path) -> str:
    """Of what the database holds; its log is folded into the file when the last process closes it."""
    return hashlib.sha256((folder / ".toolkit" / "toolkit.db").read_bytes()).hexdigest()


def test_check_lists_what_a_deploy_would_break_and_changes_nothing(tmp_path: Path) -> None:
    run_id = begin_a_run(tmp_path)
    before = digest(tmp_path)

    (tmp_path / "main.py").write_text(_MAIN.replace("enter(claim)\n    answer", "enter(Claim(amount=8))\n    answer"))
    broken = toolkit("check", "main.py", "--env", "dev", cwd=tmp_path)
    assert broken.returncode == 1
    assert f"BREAKS    {run_id}  settle\n" in broken.stdout
    assert "        claim.amount: recorded 7, now 8\n" in broken.stdout

    (tmp_path / "main.py").write_text(_MAIN.replace("    answer = await review(claim)\n", ""))
    doubtful = toolkit("check", "main.py", "--env", "dev", "--strict", cwd=tmp_path)
    assert doubtful.returncode == 1
    assert "on record, not asked for any more: review/0" in doubtful.stdout
    assert doubtful.stdout.endswith("1 live run(s): 0 go on, 1 doubtful, 0 would break.\n")

    assert "ENTERED" not in broken.stdout + doubtful.stdout
    assert digest(tmp_path) == before


def test_check_says_so_where_there_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(_MAIN)

    finished = toolkit("check", "main.py", "--env", "dev", cwd=tmp_path)

    assert finished.returncode == 2
    assert "there is no database" in finished.stderr
    assert not (tmp_path / ".toolkit").exists()
