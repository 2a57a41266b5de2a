"""Files of inputs, decided as a durable job: a run that cuts the file into chunks, and a child run for each.

Any worker takes a chunk. A chunk that was decided stays decided, whatever happens to the process, and all chunks are
decided by the version that was active when the job began.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from toolkit.errors import InvalidInput, WrongContext
from toolkit.files import File, FileStore
from toolkit.rules.chunks import split
from toolkit.rules.decisions import decide_many_apart
from toolkit.rules.parquet import read_parquet, split_parquet
from toolkit.rules.records import Format, Record, kind_of, read_records
from toolkit.rules.service import RuleService
from toolkit.serialization import codec_for
from toolkit.workflows import gather, resource, step, workflow

T = TypeVar("T")

ROWS_PER_CHUNK = 10_000
_MOST_ERRORS = 100  # that the result of the job lists; the results file has them all
_ROWS_AT_ONCE = 1_000


class RowError(BaseModel):
    """A row that could not be decided, and where it stands in the file; lines count from 1."""

    model_config = ConfigDict(frozen=True)

    line: int
    type: str
    message: str


class Chunk(BaseModel):
    """Bytes (of Parquet: rows) ``start`` to before ``end`` of a file, and the number of the line that begins there."""

    model_config = ConfigDict(frozen=True)

    start: int
    end: int
    line: int


class Plan(BaseModel):
    """How a file is decided: by which version (the function where it is ``None``), in which parts."""

    model_config = ConfigDict(frozen=True)

    version: int | None
    format: Format
    chunks: list[Chunk]


class ChunkOutcome(BaseModel):
    """What came of one chunk."""

    model_config = ConfigDict(frozen=True)

    rows: int
    failed: int
    results: File
    errors: list[RowError]


class FileOutcome(BaseModel):
    """What came of a file. ``results`` are JSON lines in the order of its rows: ``line`` with ``output`` or ``error``.

    They are one file, or several in order where one would be larger than an upload may be.
    """

    model_config = ConfigDict(frozen=True)

    rule: str
    version: int | None
    rows: int
    failed: int
    results: list[File]
    errors: list[RowError]
    """The first of them."""


@workflow(name="rules.evaluate_file")
async def evaluate_file(rule: str, file: File, rows_per_chunk: int = ROWS_PER_CHUNK) -> FileOutcome:
    """Decide every row of a CSV, JSON Lines or Parquet file, on all workers."""
    plan = await plan_chunks(rule, file, rows_per_chunk)
    outcomes = await gather(*(evaluate_chunk(rule, plan.version, file, plan.format, one) for one in plan.chunks))
    return FileOutcome(
        rule=rule,
        version=plan.version,
        rows=sum(outcome.rows for outcome in outcomes),
        failed=sum(outcome.failed for outcome in outcomes),
        results=await join_results(file, [outcome.results for outcome in outcomes]),
        errors=[error for outcome in outcomes for error in outcome.errors][:_MOST_ERRORS],
    )


@workflow(name="rules.evaluate_chunk", concurrency=2)  # so that every worker gets its share
async def evaluate_chunk(rule: str, version: int | None, file: File, format: Format, chunk: Chunk) -> ChunkOutcome:
    """Decide some rows of a file; a part of `rules.evaluate_file`."""
    return await decide_chunk(rule, version, file, format, chunk)


RULE_WORKFLOWS = (evaluate_file, evaluate_chunk)
"""What an installation with rules registers, so that any of its workers can take a chunk."""


@step(display_name="Cut the file into chunks")
async def plan_chunks(rule: str, file: File, rows_per_chunk: int) -> Plan:
    """Read the file once, a piece at a time, and note where every so many rows end."""
    service = _installed(RuleService)
    service.find(rule)
    if rows_per_chunk < 1:
        raise InvalidInput(f"rows_per_chunk is {rows_per_chunk}; expected 1 or more")
    kind = kind_of(file)
    if kind == "parquet":
        async with _on_disk(file) as path:
            chunks = await asyncio.to_thread(split_parquet, path, rows=rows_per_chunk)
        written_as = Format(kind="parquet")
    else:
        async with _installed(FileStore).open(file) as blocks:
            written_as, chunks = await split(blocks, kind, rows=rows_per_chunk)
    parts = [Chunk(start=start, end=end, line=line) for start, end, line in chunks]
    return Plan(version=service.active_version(rule), format=written_as, chunks=parts)


@step(display_name="Decide a chunk")
async def decide_chunk(rule: str, version: int | None, file: File, format: Format, chunk: Chunk) -> ChunkOutcome:
    """Decide the rows of one chunk and keep the results as a file. A process does so for one chunk at a time."""
    async with _installed(RuleService).chunk_turn:
        return await _decide_chunk(rule, version, file, format, chunk)


async def _decide_chunk(rule: str, version: int | None, file: File, format: Format, chunk: Chunk) -> ChunkOutcome:
    service, files = _installed(RuleService), _installed(FileStore)
    definition = service.find(rule)
    override = None if version is None else await service.override(rule, version)
    records = await _records(file, format, chunk)
    errors: list[RowError] = []
    written: list[bytes] = []
    failed = 0
    for start in range(0, len(records), _ROWS_AT_ONCE):
        some = records[start : start + _ROWS_AT_ONCE]
        inputs = await asyncio.to_thread(_parse_all, codec_for(definition.input_type), some)
        fitting = [one for one in inputs if not isinstance(one, Exception)]
        decided = iter(await decide_many_apart(definition, override, fitting, {}))
        for record, given in zip(some, inputs, strict=True):
            found = given if isinstance(given, Exception) else next(decided)
            if isinstance(found, Exception):
                failed += 1
                error = RowError(line=record.line, type=type(found).__name__, message=_message(found))
                errors += [error] if len(errors) < _MOST_ERRORS else []
                told = {"line": record.line, "error": {"type": error.type, "message": error.message}}
                written.append(to_json(told))
            else:
                output = found.model_dump_json(by_alias=True).encode()
                written.append(b'{"line":%d,"output":%b}' % (record.line, output))
        await asyncio.sleep(0)
    body = b"".join(line + b"\n" for line in written)
    results = await files.upload(body, filename=f"{rule}-{chunk.line}.jsonl", content_type="application/jsonl")
    return ChunkOutcome(rows=len(records), failed=failed, results=results, errors=errors)


@step(display_name="Join the results")
async def join_results(file: File, parts: list[File]) -> list[File]:
    """The parts as one file, or as they are where one file would be too large."""
    files = _installed(FileStore)
    if len(parts) == 1 or sum(part.size for part in parts) > files.limits.max_bytes:
        return parts

    async def content() -> AsyncIterator[bytes]:
        for part in parts:
            async with files.open(part) as blocks:
                async for block in blocks:
                    yield block

    name = f"{file.filename.rpartition('.')[0] or file.filename}-results.jsonl"
    return [await files.upload(content(), filename=name, content_type="application/jsonl")]


async def _records(file: File, format: Format, chunk: Chunk) -> list[Record]:
    if format.kind == "parquet":
        async with _on_disk(file) as path:
            return await asyncio.to_thread(lambda: list(read_parquet(path, start=chunk.start, end=chunk.end)))
    async with _installed(FileStore).open(file, start=chunk.start, end=chunk.end) as blocks:
        content = b"".join([block async for block in blocks])
    return await asyncio.to_thread(lambda: list(read_records(content, format, line=chunk.line)))


@asynccontextmanager
async def _on_disk(file: File) -> AsyncIterator[Path]:
    """The file where it can be read from any place: what a Parquet file holds is said at its end."""
    with TemporaryDirectory(prefix="toolkit-rules-") as folder:
        path = Path(folder) / "file"
        async with _installed(FileStore).open(file) as blocks:
            with path.open("wb") as copy:
                async for block in blocks:
                    await asyncio.to_thread(copy.write, block)
        yield path


def _parse_all(codec: Any, records: Sequence[Record]) -> list[Any]:
    return [_parse(codec, record) for record in records]


def _parse(codec: Any, record: Record) -> Any:
    if record.error is not None:
        return InvalidInput(record.error)
    try:
        return codec.parse_json(record.text)
    except InvalidInput as error:
        return error


def _message(error: Exception) -> str:
    fields = getattr(error, "errors", None) or []
    told = "; ".join(f"{one['loc']}: {one['msg']}" for one in fields[:5] if isinstance(one, dict))
    return told or str(error)


def _installed(kind: type[T]) -> T:
    if (found := resource(kind)) is None:
        raise WrongContext(f"files are decided in an installation, and there is no {kind.__name__} here")
    return found
