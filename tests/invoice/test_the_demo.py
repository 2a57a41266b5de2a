from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


async def demo(*arguments: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.invoice.demo",
        *arguments,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=100)
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.timeout(300)
async def test_the_demo_ends_well_and_offline_although_a_key_is_exported(tmp_path: Path) -> None:
    # A proxy that does not answer: whatever left this machine would fail.
    nowhere = "http://127.0.0.1:9"
    proxies = {"HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "ALL_PROXY": nowhere}

    code, output = await demo("--once", OPENAI_API_KEY="sk-must-not-be-used", HOME=str(tmp_path), **proxies)

    assert code == 0, output
    assert "All 16 invoices ended as they should" in output


@pytest.mark.timeout(300)
async def test_a_demo_on_kept_data_finds_its_invoices_again(tmp_path: Path) -> None:
    first = await demo("--once", "--data", str(tmp_path))
    second = await demo("--once", "--data", str(tmp_path))

    assert first[0] == 0, first[1]
    assert second[0] == 0, second[1]
    with closing(sqlite3.connect(tmp_path / "demo.db")) as database:
        assert database.execute("SELECT count(*), count(DISTINCT invoice_id) FROM payment").fetchone() == (8, 8)


async def test_live_without_a_key_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    code, output = await demo("--once", "--live")

    assert code == 2
    assert "OPENAI_API_KEY" in output
