"""Stored cases: inputs with the outcome that every version must give, run before a version may decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlmodel import col, func, select

from toolkit.access import current_principal, record_audit
from toolkit.clock import Clock
from toolkit.errors import InvalidInput, LimitExceeded, NotFound, RuleEvaluationError, SerializationError, ToolkitError
from toolkit.rules.compilation import Compiled
from toolkit.rules.coverage import Coverage, cover
from toolkit.rules.decisions import decide_by_function
from toolkit.rules.definitions import Rule
from toolkit.rules.explanations import evaluate_quietly
from toolkit.rules.overrides import read_evaluation
from toolkit.rules.redaction import Redaction
from toolkit.rules.sandbox import Sandbox
from toolkit.rules.tables import CaseRow
from toolkit.serialization import codec_for
from toolkit.storage import Database

MOST_CASES = 1_000


class Case(BaseModel):
    """An input and the fields of its outcome that must come out; other fields may be anything."""

    model_config = ConfigDict(frozen=True)

    rule: str
    name: str
    input: Any
    expected: dict[str, Any]
    note: str | None
    changed_by: str
    changed_at: datetime


class CaseResult(BaseModel):
    """What one case came to. ``differences`` has a sentence for each field that is not as expected."""

    model_config = ConfigDict(frozen=True)

    case: str
    passed: bool
    output: dict[str, Any] | None = None
    error: str | None = None
    differences: list[str] = []
    rows: list[str] = []


class CaseReport(BaseModel):
    """All cases of a rule against one version, or against its function, which has no rows to cover."""

    model_config = ConfigDict(frozen=True)

    version: int | None
    passed: int
    failed: int
    results: list[CaseResult]
    coverage: Coverage | None

    @property
    def failing(self) -> list[str]:
        return [result.case for result in self.results if not result.passed]


class Cases:
    """The statements on cases. Every change leaves an audit entry."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock

    async def put(self, rule: Rule[Any, Any], name: str, *, input: str, expected: str, note: str | None) -> Case:
        """Keep a case under ``name``, in place of the one that was there. Both are JSON text.

        Raises:
            InvalidInput: the input or the expected outcome does not fit the rule's models.
            LimitExceeded: the rule has ``MOST_CASES`` already.
        """
        _check("input", rule.input_type, input)
        _check("expected", rule.output_type, expected)
        async with self.database.session() as session:
            row = await session.get(CaseRow, (rule.name, name))
            if row is None:
                count = select(func.count()).select_from(CaseRow).where(CaseRow.rule == rule.name)
                if (found := (await session.exec(count)).one()) >= MOST_CASES:
                    message = f"rule {rule.name!r} has {found} cases, which is the most"
                    raise LimitExceeded(message, limit=MOST_CASES, found=found)
                row = CaseRow(
                    rule=rule.name,
                    name=name,
                    input="",
                    expected="",
                    changed_by="",
                    changed_at=self.clock.now(),
                )
            row.input, row.expected, row.note = input, expected, note
            row.changed_by, row.changed_at = current_principal().id, self.clock.now()
            session.add(row)
            await record_audit(
                session,
                action="rule.case_changed",
                object_kind="rule",
                object_id=rule.name,
                details={"case": name},
                clock=self.clock,
            )
            return _read(row)

    async def delete(self, rule: str, name: str) -> None:
        """Forget a case.

        Raises:
            NotFound: there is none of this name.
        """
        async with self.database.session() as session:
            row = await session.get(CaseRow, (rule, name))
            if row is None:
                raise NotFound("case", f"{rule}/{name}")
            await session.delete(row)
            await record_audit(
                session,
                action="rule.case_deleted",
                object_kind="rule",
                object_id=rule,
                details={"case": name},
                clock=self.clock,
            )

    async def list_cases(self, rule: str) -> list[Case]:
        """The cases of ``rule``, by name."""
        query = select(CaseRow).where(CaseRow.rule == rule).order_by(col(CaseRow.name))
        async with self.database.session() as session:
            return [_read(row) for row in (await session.exec(query)).all()]


def run_by_function(rule: Rule[Any, Any], cases: Sequence[Case]) -> CaseReport:
    """Every case against the rule's function."""
    results = []
    for case in cases:
        try:
            output = decide_by_function(rule, codec_for(rule.input_type).parse(case.input), {})
        except Exception as error:  # noqa: BLE001  # the author's function: that it raises is the case's result
            results.append(CaseResult(case=case.name, passed=False, error=f"{type(error).__name__}: {error}"))
        else:
            results.append(_judge(rule, case, output, rows=[]))
    return _report(results, version=None, coverage=None)


def run_by_version(
    rule: Rule[Any, Any], compiled: Compiled, cases: Sequence[Case], *, version: int | None, sandbox: Sandbox
) -> CaseReport:
    """Every case against a compiled graph, in the sandbox. Blocks."""
    contexts: dict[str, str] = {}
    results: dict[str, CaseResult] = {}
    for case in cases:
        try:
            contexts[case.name] = rule.contract.encode(codec_for(rule.input_type).parse(case.input))
        except (InvalidInput, SerializationError) as error:
            results[case.name] = CaseResult(case=case.name, passed=False, error=str(error))
    found = iter(evaluate_quietly(compiled, list(contexts.values()), sandbox=sandbox))
    for case in cases:
        if case.name in contexts:
            try:
                output, rows = read_evaluation(rule.contract, compiled, next(found))
                results[case.name] = _judge(rule, case, output, rows=rows)
            except RuleEvaluationError as error:
                results[case.name] = CaseResult(case=case.name, passed=False, error=str(error))
    ordered = [results[case.name] for case in cases]
    coverage = cover(compiled, (dict.fromkeys(result.rows, 1) for result in ordered))
    return _report(ordered, version=version, coverage=coverage)


def _judge(rule: Rule[Any, Any], case: Case, output: BaseModel, *, rows: list[str]) -> CaseResult:
    try:
        wanted = codec_for(rule.output_type).parse(case.expected)
    except ToolkitError as error:  # the output model has changed since the case was stored
        return CaseResult(case=case.name, passed=False, error=str(error))
    differences = [
        f"{name}: expected {getattr(wanted, name)!s}, found {getattr(output, name)!s}"
        for name in type(wanted).model_fields
        if name in wanted.model_fields_set and getattr(wanted, name) != getattr(output, name)
    ]
    dumped = output.model_dump(mode="json", by_alias=True)
    told = CaseResult(case=case.name, passed=not differences, output=dumped, differences=differences, rows=rows)
    redaction = Redaction(rule.contract)
    return redaction.hide(told, input=case.input, outputs=(dumped, case.expected), keep=frozenset({"case", "rows"}))


def _report(results: list[CaseResult], *, version: int | None, coverage: Coverage | None) -> CaseReport:
    passed = sum(result.passed for result in results)
    return CaseReport(version=version, passed=passed, failed=len(results) - passed, results=results, coverage=coverage)


def _check(field: str, model: type[BaseModel], text: str) -> None:
    try:
        codec_for(model).parse_json(text)
    except InvalidInput as error:
        errors = [one | {"loc": f"{field}.{one['loc']}".rstrip(".")} for one in error.errors]
        raise InvalidInput(f"{field} of the case: {error}", errors=errors) from error


def _read(row: CaseRow) -> Case:
    return Case(**row.model_dump() | {"input": json.loads(row.input), "expected": json.loads(row.expected)})
