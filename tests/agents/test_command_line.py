"""``toolkit agents`` says what agents go by and fails where an evaluation does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli.agents import parse_scorer
from toolkit.errors import ConfigurationError

MAIN = """
from pydantic_ai.models.test import TestModel
from toolkit import Toolkit
from toolkit.agents import Agent

reader = Agent("reader", model="m")
app = Toolkit().register_agent(reader)
app.register_model_factory("m", lambda settings: TestModel(custom_output_text="tea"))
"""
CASES = "cases:\n- {name: good, input: what, expected: tea}\n- {name: bad, input: what, expected: salt}\n"


def _toolkit(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toolkit.cli", "agents", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_evaluation_ends_with_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN, encoding="utf-8")
    (tmp_path / "cases.yaml").write_text(CASES, encoding="utf-8")

    listed = _toolkit("list", folder=tmp_path)
    assert listed.stdout == "reader: its code, model m\n", listed.stderr
    failed = _toolkit("eval", "reader", "--file", "cases.yaml", folder=tmp_path)
    assert failed.returncode == 1, failed.stderr
    assert 'FAIL  bad: expected "salt", found "tea"' in failed.stdout
    assert "50.00% of 2 case(s)" in failed.stdout
    passed = _toolkit("eval", "reader", "--file", "cases.yaml", "--pass-rate", "0.5", folder=tmp_path)
    assert passed.returncode == 0, passed.stderr
    refused = _toolkit("eval", "reader", folder=tmp_path)
    assert refused.returncode == 2
    assert "--data-set" in refused.stderr


def test_scorers_are_written_in_one_word() -> None:
    assert parse_scorer("near:total:0.01").model_dump(mode="json") == {
        "kind": "near",
        "field": "total",
        "tolerance": "0.01",
    }
    assert parse_scorer("exact").model_dump()["field"] is None
    assert parse_scorer("custom:polite").model_dump()["name"] == "polite"
    for wrong in ("close", "near:a:b", "exact:a:b", "custom"):
        with pytest.raises(ConfigurationError):
            parse_scorer(wrong)
