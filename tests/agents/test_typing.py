"""What type checkers must see. mypy reads this file with the rest; an ignore that is not needed is an error to both."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import pytest
from pydantic import BaseModel

from toolkit.agents import Agent, get_tool_context, tool

if TYPE_CHECKING:
    from toolkit.agents import ToolContext


class Invoice(BaseModel):
    total: int


@dataclass(frozen=True)
class Vendors:
    names: tuple[str, ...]


@dataclass(frozen=True)
class Ledger:
    year: int


if TYPE_CHECKING:

    @tool
    async def look(ctx: ToolContext[Vendors], position: int) -> str:
        return ctx.deps.names[position]

    @tool
    def book(ctx: ToolContext[Ledger], total: int) -> int:
        return ctx.deps.year

    @tool
    def plain(total: int) -> int:
        return total

    def bare(total: int) -> int:
        return total

    text = Agent("text", model="m")
    read = Agent("read", model="m", output_type=Invoice, tool_context_type=Vendors, tools=[look, plain, bare])
    several = Agent("several", model="m", output_type=list[Invoice])
    wrong = Agent("wrong", model="m", tool_context_type=Vendors, tools=[book])  # type: ignore[misc]  # pyright: ignore[reportArgumentType]

    async def checked() -> None:
        assert_type((await text("x")).output, str)
        assert_type((await read("x", tool_context=Vendors(()))).output, Invoice)
        assert_type((await several(Invoice(total=1))).output, list[Invoice])
        assert_type(get_tool_context(Vendors), Vendors)
        await read("x", tool_context=Ledger(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_pyright_sees_the_output_and_a_wrong_tool_context(tmp_path: Path) -> None:
    found = next(filter(None, map(_command, ("basedpyright", "pyright"))), None)
    if found is None:
        pytest.skip("no pyright is installed")  # the development group has it; a plain install does without
    settings = {
        "include": ["checked.py"],
        "extraPaths": [str(Path(__file__).parents[2])],
        "typeCheckingMode": "standard",
        "enableTypeIgnoreComments": False,  # those are mypy's
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    shutil.copy(__file__, tmp_path / "checked.py")
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(settings), encoding="utf-8")

    checked = subprocess.run(
        [found, "--outputjson", "--pythonpath", sys.executable, "--project", str(project)],
        capture_output=True,
        text=True,
        check=False,
    )

    report = json.loads(checked.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    assert [problem["message"] for problem in report["generalDiagnostics"] if problem["severity"] == "error"] == []


def _command(name: str) -> str | None:
    return shutil.which(name, path=str(Path(sys.executable).parent))
