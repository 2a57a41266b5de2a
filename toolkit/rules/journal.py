"""Recorded decisions, read from the journal of the runs: every rule step is one."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, and_, column, or_, table
from sqlmodel import select

from toolkit.errors import NotFound
from toolkit.storage import Database, Payload, UtcDateTime

# The journal's own table, as far as it is read here; the engine writes it.
_STEP = table(
    "toolkit_step",
    *(column(name) for name in ("run_id", "path", "name", "kind", "state")),
    *(column(name, Payload()) for name in ("arguments", "result", "error", "details")),
    column("started_at", UtcDateTime()),
)
_HEADS = (_STEP.c.run_id, _STEP.c.path, _STEP.c.name, _STEP.c.state, _STEP.c.started_at, _STEP.c.details)
_PAYLOADS = (_STEP.c.arguments, _STEP.c.result, _STEP.c.error)


class DecisionRecord(BaseModel):
    """One decision of a run, without its input and output. ``id`` finds it again."""

    model_config = ConfigDict(frozen=True)

    id: str
    rule: str
    run_id: str
    path: str
    state: Literal["running", "succeeded", "failed", "cancelled"]
    decided_at: datetime
    source: Literal["python", "override"]
    version: int | None
    code_hash: str | None
    rows: dict[str, int]
    """How often each row matched; once, unless it is a batch."""
    inputs: int | None
    """How many inputs were decided, of a batch only."""
    failed: int | None
    fallback: str | None
    """Why the function stepped in for the override, if it did."""
    duration_ms: float | None


@dataclass(frozen=True)
class Recorded:
    """A decision with its payloads, as JSON text."""

    record: DecisionRecord
    arguments: str
    result: str | None
    error: str | None

    def inputs(self) -> list[Any]:
        """The inputs as plain JSON values: one, or those of the batch."""
        parsed = json.loads(self.arguments)
        return list(parsed) if self.record.inputs is not None else [parsed]

    def outcomes(self) -> list[tuple[Any, str | None]]:
        """For each input the output, or the error's message."""
        if self.result is None:
            failure = json.loads(self.error or "{}").get("message", "it failed")
            return [(None, str(failure))] * len(self.inputs())
        parsed = json.loads(self.result)
        if self.record.inputs is None:
            return [(parsed, None)]
        return [(one.get("output"), one["error"]["message"] if one.get("error") else None) for one in parsed]


class Journal:
    """Reads only. Decisions are listed by run, the newest run first: the order in which the journal is kept."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def list_decisions(
        self, rule: str, *, version: int | None = None, after: str | None = None, limit: int = 50
    ) -> list[DecisionRecord]:
        """A page of the decisions of ``rule``; ``after`` is the id of the last one seen.

        Raises:
            NotFound: ``after`` is no id of a decision.
        """
        found: list[DecisionRecord] = []
        while True:
            page = await self._page(rule, *_HEADS, after=after, limit=limit)
            records = [_record(row) for row in page]
            found += [one for one in records if version is None or one.version == version]
            if len(page) < limit or len(found) >= limit:
                return found[:limit]
            after = records[-1].id

    async def recent(self, rule: str, *, limit: int) -> list[Recorded]:
        """The last decisions of ``rule`` that came to an end, with their payloads."""
        rows = await self._page(rule, *_HEADS, *_PAYLOADS, after=None, limit=limit, is_ended=True)
        return [_recorded(row) for row in rows if row[6] is not None]

    async def find(self, decision: str) -> Recorded:
        """One decision.

        Raises:
            NotFound: there is none with this id.
        """
        run_id, path = read_id(decision)
        query = select(*_HEADS, *_PAYLOADS).where(  # type: ignore[call-overload]
            _STEP.c.run_id == run_id, _STEP.c.path == path, _STEP.c.kind == "rule"
        )
        async with self.database.session() as session:
            row = (await session.exec(query)).first()
        if row is None:
            raise NotFound("decision", decision)
        return _recorded(row)

    async def _page(self, rule: str, *columns: Any, after: str | None, limit: int, is_ended: bool = False) -> list[Any]:
        query = select(*columns).where(_STEP.c.kind == "rule", _STEP.c.name == rule)
        if is_ended:
            query = query.where(_STEP.c.state.in_(["succeeded", "failed"]))
        if after is not None:
            query = query.where(_older_than(*read_id(after)))
        # The key of the journal begins with the run's id, which sorts by time: this reads it from its end.
        query = query.order_by(_STEP.c.run_id.desc(), _STEP.c.path.desc()).limit(limit)
        async with self.database.session() as session:
            return list((await session.exec(query)).all())


def _older_than(run_id: str, path: str) -> ColumnElement[bool]:
    return or_(_STEP.c.run_id < run_id, and_(_STEP.c.run_id == run_id, _STEP.c.path < path))


def write_id(run_id: str, path: str) -> str:
    """The id of a decision, fit for an address: the path of a step has slashes."""
    return base64.urlsafe_b64encode(f"{run_id}:{path}".encode()).decode().rstrip("=")


def read_id(decision: str) -> tuple[str, str]:
    """The run and the path in the id of a decision.

    Raises:
        NotFound: it is no such id.
    """
    try:
        text = base64.b64decode(decision + "=" * (-len(decision) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:  # no base64, or no ASCII or UTF-8
        raise NotFound("decision", decision) from None
    run_id, separator, path = text.partition(":")
    if not separator or "\x00" in text:
        raise NotFound("decision", decision)
    return run_id, path


def _record(row: Sequence[Any]) -> DecisionRecord:
    run_id, path, name, state, started_at, details = row
    known = json.loads(details or "{}")
    rows = known.get("rows", [])
    return DecisionRecord(
        id=write_id(run_id, path),
        rule=name,
        run_id=run_id,
        path=path,
        state=state,
        decided_at=started_at,
        source=known.get("source", "python"),
        version=known.get("version"),
        code_hash=known.get("code_hash"),
        rows=rows if isinstance(rows, dict) else {row: rows.count(row) for row in dict.fromkeys(rows)},
        inputs=known.get("inputs"),
        failed=known.get("failed"),
        fallback=known.get("fallback"),
        duration_ms=known.get("duration_ms"),
    )


def _recorded(row: Any) -> Recorded:
    return Recorded(_record(row[:6]), row[6], row[7], row[8])
