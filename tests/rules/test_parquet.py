"""Parquet files of inputs: the same decisions as from any other file, by row."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rules.policies import LIMITS, approval, encode
from toolkit.errors import InvalidInput, RunFailed
from toolkit.files import File, FileLimits, FileStorages, FileStore, using
from toolkit.rules import RULE_WORKFLOWS, RuleService, evaluate_file
from toolkit.rules.parquet import read_parquet, split_parquet
from toolkit.storage import Database
from toolkit.workflows import Engine

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS: list[dict[str, Any]] = [
    {"total": Decimal("99.999999999999999999"), "category": "meals", "due": date(2026, 1, 1), "tags": ["a"]},
    {"total": Decimal(100), "category": None, "due": None, "tags": []},
    *({"total": Decimal(n), "category": "travel", "due": None, "tags": None} for n in range(2, 10)),
]
SCHEMA = pa.schema(
    {"total": pa.decimal128(38, 18), "category": pa.string(), "due": pa.date32(), "tags": pa.list_(pa.string())}
)


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), content, **options)
    return content.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "claims.parquet"
    path.write_bytes(parquet(ROWS, row_group_size=3))
    return path


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 100])
def test_chunks_meet_without_a_gap_whatever_the_row_groups_are(path: Path, rows: int) -> None:
    chunks = split_parquet(path, rows=rows)

    read = [one for start, end, _ in chunks for one in read_parquet(path, start=start, end=end)]

    assert [one.line for one in read] == list(range(1, 11))
    assert [Decimal(json.loads(one.text)["total"]) for one in read] == [row["total"] for row in ROWS]
    assert [line for *_, line in chunks] == [start + 1 for start, *_ in chunks]


def test_values_keep_their_digits_and_their_moments(tmp_path: Path) -> None:
    path = tmp_path / "values.parquet"
    schema = pa.schema({"at": pa.timestamp("us", tz="UTC"), "nested": pa.struct({"x": pa.decimal128(20, 2)})})
    row = {"at": datetime(2026, 1, 1, 12, tzinfo=UTC), "nested": {"x": Decimal("1.10")}}
    pq.write_table(pa.Table.from_pylist([row], schema=schema), path)

    (record,) = read_parquet(path, start=0, end=1)

    assert json.loads(record.text) == {"at": "2026-01-01T12:00:00Z", "nested": {"x": "1.10"}}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1", parquet(ROWS)[:-20]])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "claims.parquet"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match="no Parquet file"):
        split_parquet(path, rows=10)


def test_a_row_group_that_unpacks_to_too_much_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.rules.parquet.LARGEST_ROW_GROUP", 10)

    with pytest.raises(InvalidInput, match="smaller row groups"):
        split_parquet(path, rows=10)


@pytest.fixture
async def engine(database: Database, tmp_path: Path) -> AsyncIterator[Engine]:
    storages = FileStorages.from_configuration({"default": f"file://{tmp_path}"}, base_folder=tmp_path, key="x")
    store = FileStore(database, storages, limits=FileLimits())
    rules = RuleService(database, [approval], refresh_seconds=3600)
    await rules.open()
    engine = Engine(database, workflows=RULE_WORKFLOWS)
    engine.resources[RuleService], engine.resources[FileStore] = rules, store
    with using(store):
        await engine.open()
        yield engine
        await engine.close()
        await rules.close()


async def test_a_parquet_file_is_decided_in_chunks_with_bad_rows_by_number(engine: Engine) -> None:
    rules: RuleService = engine.resources[RuleService]  # type: ignore[assignment]
    await rules.upload("approval", encode(LIMITS))
    await rules.activate("approval", 1)
    file = await File.upload(content=parquet(ROWS, row_group_size=3), filename="claims.parquet")

    outcome = await (await engine.start(evaluate_file, "approval", file, rows_per_chunk=4)).result()
    lines = [json.loads(line) for part in outcome.results for line in (await part.read()).splitlines()]

    assert (outcome.rows, outcome.failed, outcome.version) == (10, 9, 1)
    assert [line["line"] for line in lines] == list(range(1, 11))
    assert lines[0]["output"] == {"approved": True, "reason": "small", "limit": None}
    assert [(error.line, error.message.split(":")[0]) for error in outcome.errors][:2] == [(2, "category"), (3, "tags")]

    broken = await File.upload(content=b"PAR1 not", filename="claims.parquet")
    with pytest.raises(RunFailed, match="no Parquet file"):
        await (await engine.start(evaluate_file, "approval", broken)).result()


def test_without_pyarrow_a_parquet_file_says_what_to_install(path: Path) -> None:
    code = """
import sys
sys.modules["pyarrow"] = sys.modules["pyarrow.parquet"] = None
from pathlib import Path
from toolkit.rules.parquet import split_parquet
try:
    split_parquet(Path(sys.argv[1]), rows=1)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("ConfigurationError Parquet files need pyarrow")
    assert "pip install 'process-toolkit[parquet]'" in done.stdout
