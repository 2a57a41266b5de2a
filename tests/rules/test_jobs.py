"""Files of inputs: every row decided once, in order, with its line; whatever happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.rules.policies import LIMITS, STRICT, approval, encode
from toolkit.errors import InvalidInput, RunFailed
from toolkit.files import File, FileLimits, FileStorages, FileStore, using
from toolkit.rules import RULE_WORKFLOWS, RuleService, evaluate_file
from toolkit.rules.chunks import split
from toolkit.rules.records import Format, read_records
from toolkit.storage import Database
from toolkit.workflows import Engine


async def blocks_of(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_chunks_meet_without_a_gap_and_keep_quoted_lines_together(size: int) -> None:
    content = b'\xef\xbb\xbftotal;"the\nvendor"\r\n1;a\r\n2;"b\r\nc"\r\n\r\n3;"d ""e"""\r\n4;f'

    written_as, chunks = await split(blocks_of(content, size), "csv", rows=2)

    assert (written_as.columns, written_as.delimiter) == (["total", "the\nvendor"], ";")
    assert [start for start, _, _ in chunks[1:]] == [end for _, end, _ in chunks[:-1]]
    assert chunks[-1][1] == len(content)
    rows = [
        (record.line, json.loads(record.text))
        for start, end, line in chunks
        for record in read_records(content[start:end], written_as, line=line)
    ]
    assert rows == [
        (3, {"total": "1", "the\nvendor": "a"}),
        (4, {"total": "2", "the\nvendor": "b\r\nc"}),
        (7, {"total": "3", "the\nvendor": 'd "e"'}),
        (8, {"total": "4", "the\nvendor": "f"}),
    ]


def test_a_row_of_another_length_says_so_with_its_line() -> None:
    (short, good) = read_records(b"1\n2,b\n", Format(kind="csv", columns=["total", "vendor.name"]), line=9)

    assert (short.line, short.error) == (9, "the row has 1 values; the header names 2")
    assert json.loads(good.text) == {"total": "2", "vendor": {"name": "b"}}


async def test_an_empty_csv_file_has_no_header() -> None:
    with pytest.raises(InvalidInput, match="header"):
        await split(blocks_of(b"", 10), "csv", rows=2)


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[FileStore]:
    storages = FileStorages.from_configuration({"default": f"file://{tmp_path}"}, base_folder=tmp_path, key="x")
    store = FileStore(database, storages, limits=FileLimits(max_bytes=2_000_000))
    with using(store):
        yield store


@pytest.fixture
async def engine(database: Database, store: FileStore) -> AsyncIterator[Engine]:
    rules = RuleService(database, [approval], refresh_seconds=3600)
    await rules.open()
    engine = Engine(database, workflows=RULE_WORKFLOWS)
    engine.resources[RuleService], engine.resources[FileStore] = rules, store
    await engine.open()
    yield engine
    await engine.close()
    await rules.close()


async def lines_of(files: list[File]) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in (await file.read()).splitlines()]


async def test_a_csv_file_is_decided_in_chunks_with_bad_rows_by_line(engine: Engine) -> None:
    rules: RuleService = engine.resources[RuleService]  # type: ignore[assignment]
    version = await rules.upload("approval", encode(LIMITS))
    await rules.activate("approval", version.number)
    rows = [f"{n},{['travel', 'meals'][n % 2]}" for n in range(0, 2000, 20)]
    rows[30] = "much,meals"
    rows[60] = "1"
    file = await File.upload(content="\n".join(["total,category", *rows]).encode(), filename="claims.csv")

    run = await engine.start(evaluate_file, "approval", file, rows_per_chunk=16)
    outcome = await run.result()
    lines = await lines_of(outcome.results)

    assert (outcome.version, outcome.rows, outcome.failed, len(outcome.results)) == (1, 100, 2, 1)
    assert [line["line"] for line in lines] == list(range(2, 102))
    assert [(error.line, error.message.split(":")[0]) for error in outcome.errors] == [
        (32, "total"),
        (62, "the row has 1 values; the header names 2"),
    ]
    assert lines[0]["output"] == {"approved": True, "reason": "travel is cheap", "limit": None}
    children = [step for step in await engine.list_steps(run.id) if step.kind == "child"]
    assert len(children) == 7
    expected = await rules.evaluate_batch("approval", [{"total": n, "category": "travel"} for n in range(0, 2000, 20)])
    assert [line["output"] for line in lines if "output" in line] == [
        item.output for line, item in zip(lines, expected, strict=True) if "output" in line
    ]


async def test_json_lines_are_decided_by_the_version_of_the_beginning(engine: Engine) -> None:
    rules: RuleService = engine.resources[RuleService]  # type: ignore[assignment]
    content = b'{"total": 5}\n\n{"total": "1000000000000000.01"}\nnot json\n'
    file = await File.upload(content=content, filename="claims.jsonl")
    run = await engine.start(evaluate_file, "approval", file)
    outcome = await run.result()
    await rules.upload("approval", encode(STRICT))
    await rules.activate("approval", 1)

    lines = await lines_of(outcome.results)

    assert (outcome.version, outcome.rows, outcome.failed) == (None, 3, 1)
    assert [(line["line"], line.get("output", {}).get("approved")) for line in lines] == [
        (1, True),
        (3, False),
        (4, None),
    ]


async def test_results_that_are_too_large_for_one_file_stay_in_parts(engine: Engine, store: FileStore) -> None:
    store.limits = FileLimits(max_bytes=300)
    file = await File.upload(content=b"total\n1\n2\n3\n4\n5\n6\n", filename="claims.csv")

    outcome = await (await engine.start(evaluate_file, "approval", file, rows_per_chunk=2)).result()

    assert len(outcome.results) == 3
    assert [line["line"] for line in await lines_of(outcome.results)] == [2, 3, 4, 5, 6, 7]


async def test_another_kind_of_file_is_refused_by_name(engine: Engine) -> None:
    file = await File.upload(content=b"total\n1\n", filename="claims.txt")

    with pytest.raises(RunFailed, match=r"expected \.csv, \.jsonl"):
        await (await engine.start(evaluate_file, "approval", file)).result()
