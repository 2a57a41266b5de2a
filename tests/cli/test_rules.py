"""Rules as files: pulled, changed, tested, compared, pushed, activated, rolled back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import refusal, toolkit

MAIN = """
from decimal import Decimal
from pydantic import BaseModel
from toolkit import Toolkit
from toolkit.rules import rule

class Claim(BaseModel):
    total: Decimal

class Verdict(BaseModel):
    approved: bool

@rule()
def approval(claim: Claim) -> Verdict:
    return Verdict(approved=claim.total <= 1000)

app = Toolkit(title="Claims").register_rule(approval)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(MAIN)
    return tmp_path


def said(folder: Path, *arguments: str, code: int = 0) -> list[str]:
    finished = toolkit("rules", *arguments, cwd=folder)
    assert finished.returncode == code, finished.stderr + finished.stdout
    return finished.stdout.splitlines()


def change(folder: Path, threshold: str) -> None:
    path = folder / "rules/approval/graph.json"
    graph = json.loads(path.read_text())
    table = graph["nodes"][1]["content"]
    table["rules"] = [
        {"_id": "low", "in-total": f"<= {threshold}", "out-approved": "true"},
        {"_id": "rest", "in-total": "", "out-approved": "false"},
    ]
    path.write_text(json.dumps(graph))


def test_a_rule_lives_in_files_from_its_starter_graph_to_its_rollback(folder: Path) -> None:
    assert said(folder, "list") == ["approval: the function decides; 0 version(s)"]
    assert said(folder, "pull", "approval") == ["Wrote the starter graph and 0 case(s) to rules/approval"]
    change(folder, "50")
    cases = {"small": {"input": {"total": "50"}, "expected": {"approved": True}}}
    (folder / "rules/approval/cases.json").write_text(json.dumps(cases))

    assert said(folder, "test", "approval") == [
        "passed: small",
        "50 % of the rows are reached",
        "  never: approval/rest",
    ]
    assert said(folder, "push", "approval", "--note", "first")[-1] == "approval version 1, 1 case(s)"
    assert said(folder, "activate", "approval", "1") == ["approval: version 1 decides"]

    change(folder, "10")
    assert said(folder, "diff", "approval", code=1) == ["approval, row 1, Total: was `<= 50`, is `<= 10`"]
    failed = said(folder, "test", "approval", code=1)
    assert failed[:2] == ["FAILED: small", "  approved: expected True, found False"]
    assert said(folder, "push", "approval")[-1] == "approval version 2, 1 case(s)"
    assert "stored cases fail" in refusal(toolkit("rules", "activate", "approval", "2", cwd=folder))
    said(folder, "activate", "approval", "2", "--force", "--reason", "lower limit")

    assert said(folder, "rollback", "approval") == ["approval: version 1 decides"]
    assert said(folder, "pull", "approval") == ["Wrote version 1 and 1 case(s) to rules/approval"]
    assert said(folder, "diff", "approval") == []


def test_a_graph_that_is_refused_tells_every_issue(folder: Path) -> None:
    said(folder, "pull", "approval")
    change(folder, "'much'")
    finished = toolkit("rules", "push", "approval", cwd=folder)

    assert finished.returncode == 2
    assert "can never match" in finished.stdout
    assert "nodes.1.content.rules.0.in-total" in finished.stdout


def test_what_is_missing_is_said(folder: Path) -> None:
    assert "there is no rules/approval/graph.json" in refusal(toolkit("rules", "test", "approval", cwd=folder))
    assert "no version of 'approval' is active" in refusal(toolkit("rules", "diff", "approval", cwd=folder))
    assert "there is no rule 'other'" in refusal(toolkit("rules", "pull", "other", cwd=folder))


def test_a_table_is_changed_in_a_spreadsheet(folder: Path) -> None:
    said(folder, "pull", "approval")
    change(folder, "50")
    assert said(folder, "export", "approval", "limits.csv") == ["Wrote limits.csv"]
    path = folder / "limits.csv"
    path.write_text(path.read_text("utf-8").replace("<= 50", "<= 70"), "utf-8")

    assert said(folder, "import", "approval", "limits.csv") == ["Changed rules/approval/graph.json"]

    graph = json.loads((folder / "rules/approval/graph.json").read_text())
    assert graph["nodes"][1]["content"]["rules"][0] == {"_id": "low", "in-total": "<= 70", "out-approved": "true"}
    assert "expected .csv or .xlsx" in refusal(toolkit("rules", "export", "approval", "limits.txt", cwd=folder))
    assert "there is no file other.csv" in refusal(toolkit("rules", "import", "approval", "other.csv", cwd=folder))
