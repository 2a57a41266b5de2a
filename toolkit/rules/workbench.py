"""What people do with a rule around its decisions: ask why, try a graph, test it, compare, look back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from toolkit.clock import Clock
from toolkit.errors import InvalidInput, NotFound, SerializationError
from toolkit.rules.analysis import Analysis, analyse
from toolkit.rules.backtests import BackTest, back_test, differing_fields
from toolkit.rules.cases import Case, CaseReport, Cases, run_by_function, run_by_version
from toolkit.rules.compilation import Compiled
from toolkit.rules.coverage import Coverage, cover
from toolkit.rules.definitions import Rule
from toolkit.rules.differences import Change, compare
from toolkit.rules.documents import graph_of
from toolkit.rules.explanations import Explanation, Traced, explain_function, redacted, tell, trace
from toolkit.rules.journal import DecisionRecord, Journal, Recorded
from toolkit.rules.sandbox import Sandbox
from toolkit.rules.spreadsheets import SpreadsheetFormat, read_spreadsheet, write_spreadsheet
from toolkit.rules.uploads import check_statically, refused
from toolkit.serialization import codec_for

if TYPE_CHECKING:
    from toolkit.rules.service import RuleService
    from toolkit.rules.tables import VersionRow
    from toolkit.rules.versions import Versions
    from toolkit.storage import Database


class Workbench:
    """Belongs to one :class:`RuleService`. Every graph is evaluated in the sandbox here, whoever trusts it."""

    def __init__(
        self, rules: RuleService, versions: Versions, *, database: Database, clock: Clock, sandbox: Sandbox
    ) -> None:
        self.rules, self.versions = rules, versions
        self.database, self.clock, self.sandbox = database, clock, sandbox
        self.journal = Journal(database)
        self.cases = Cases(database, clock)

    # Why ----------------------------------------------------------------------------------------------------------

    async def decisions(
        self, name: str, *, version: int | None = None, after: str | None = None, limit: int = 50
    ) -> list[DecisionRecord]:
        """What the rule decided in runs, the newest run first, without inputs and outputs.

        Raises:
            NotFound: no such rule, or ``after`` is no decision.
        """
        self.rules.find(name)
        return await self.journal.list_decisions(name, version=version, after=after, limit=limit)

    async def explain(self, decision: str, *, item: int | None = None) -> Explanation:
        """Why a recorded decision came out as it did; of a batch, its ``item``, counted from 0. Secrets are hidden.

        Raises:
            NotFound: no such decision or item.
            InvalidInput: it is a batch, and ``item`` does not say which of its inputs.
        """
        recorded = await self.journal.find(decision)
        told = await self._explain(recorded, item)
        return redacted(self.rules.find(told.rule).contract, told, given=told.input)

    async def _explain(self, recorded: Recorded, item: int | None) -> Explanation:
        record, rule = recorded.record, self.rules.find(recorded.record.rule)
        at = _item_of(recorded, item)
        given, (output, error) = recorded.inputs()[at], recorded.outcomes()[at]
        told = Explanation(
            rule=rule.name,
            source=record.source,
            version=record.version,
            input=given,
            output=output,
            error=error,
            rows=list(record.rows) if record.inputs is None else [],
            text="",
            decision=record.id,
        )
        if record.version is None:
            return told.model_copy(update={"text": _told_by_function(rule, record)})
        row = await self.versions.get(rule.name, record.version)
        try:
            context = rule.contract.encode(codec_for(rule.input_type).decode(json.dumps(given)))
        except (SerializationError, InvalidInput) as changed:
            rows = ", ".join(told.rows) or "none"
            text = f"Version {record.version} decided. Rows that matched: {rows}. It cannot be traced again: {changed}"
            return told.model_copy(update={"text": text})
        traced = await self._trace(row, rule, context)
        lines = [tell(traced, version=record.version)]
        agrees = _agrees(rule, output, error, traced) if record.fallback is None else None
        if record.fallback is not None:
            lines.append(f"So the rule's function decided instead: {record.fallback}")
        elif not agrees:
            lines.append("What is on record differs from this: the graph asks for the time or for chance.")
        update = {"text": "\n".join(lines), "nodes": traced.nodes, "rows": traced.rows, "agrees": agrees}
        return told.model_copy(update=update)

    async def explain_input(self, name: str, input_json: str | bytes, *, version: int | None = None) -> Explanation:
        """Decide one input by what is active, or by ``version``, and say why. Nothing is recorded.

        Raises:
            NotFound: no such rule or version.
            InvalidInput: the input does not fit.
        """
        rule = self.rules.find(name)
        parsed = codec_for(rule.input_type).parse_json(input_json)
        number = version if version is not None else self.rules.active_version(name)
        if number is None:
            return explain_function(rule, parsed)
        await self.rules.override(name, number)  # refuses a version that was made for other models
        row = await self.versions.get(name, number)
        traced = await self._trace(row, rule, rule.contract.encode(parsed))
        return _explained(rule, parsed, traced, version=number)

    async def simulate(self, name: str, graph: bytes, input_json: str | bytes) -> Explanation:
        """Try a graph that nobody has uploaded yet on one input, with everything its nodes do.

        Raises:
            NotFound: no such rule.
            InvalidInput: the input does not fit.
            RuleGraphInvalid: the graph fails a static check, or ends its sandbox with this input.
            ConfigurationError: zen-engine is missing here.
        """
        rule = self.rules.find(name)
        parsed = codec_for(rule.input_type).parse_json(input_json)
        context = rule.contract.encode(parsed)
        around = await self.rules.surroundings_of(graph)

        def run() -> Traced:
            _, read, compiled, findings = check_statically(rule, graph, around)
            traced = trace(read, compiled, rule.contract, context, sandbox=self.sandbox)
            if traced.cut_off is not None:
                findings.error("not_containable", f"the simulation was ended: {traced.cut_off}", path="")
                raise refused(rule, findings)
            return traced

        traced = await asyncio.to_thread(run)
        return _explained(rule, parsed, traced, version=None)

    async def _trace(self, row: VersionRow, rule: Rule[Any, Any], context: str) -> Traced:
        def run() -> Traced:
            compiled = Compiled.model_validate_json(row.compiled)
            return trace(graph_of(row.graph), compiled, rule.contract, context, sandbox=self.sandbox)

        return await asyncio.to_thread(run)

    # Cases --------------------------------------------------------------------------------------------------------

    async def put_case(self, name: str, case: str, *, input: str, expected: str, note: str | None = None) -> Case:
        """Keep an input (JSON text) with the fields of the outcome that every version must give.

        Raises:
            NotFound: no such rule.
            InvalidInput: the input or the expected outcome does not fit.
            LimitExceeded: the rule has the most cases already.
        """
        return await self.cases.put(self.rules.find(name), case, input=input, expected=expected, note=note)

    async def list_cases(self, name: str) -> list[Case]:
        """The stored cases of a rule, by name.

        Raises:
            NotFound: no such rule.
        """
        self.rules.find(name)
        return await self.cases.list_cases(name)

    async def delete_case(self, name: str, case: str) -> None:
        """Forget a case.

        Raises:
            NotFound: no such rule or case.
        """
        self.rules.find(name)
        await self.cases.delete(name, case)

    async def run_cases(self, name: str, *, version: int | None) -> CaseReport:
        """Run the stored cases against a version in the sandbox, or against the rule's function.

        Raises:
            NotFound: no such rule or version.
        """
        rule = self.rules.find(name)
        stored = await self.cases.list_cases(name)
        if version is None:
            return await asyncio.to_thread(run_by_function, rule, stored)
        compiled = Compiled.model_validate_json((await self.versions.get(name, version)).compiled)
        return await asyncio.to_thread(run_by_version, rule, compiled, stored, version=version, sandbox=self.sandbox)

    async def run_cases_on(self, name: str, graph: bytes, cases: Mapping[str, Mapping[str, Any]]) -> CaseReport:
        """Run cases (``input`` and ``expected`` by name) against a graph; neither has to be stored.

        Raises:
            NotFound: no such rule.
            RuleGraphInvalid: the graph fails a static check.
        """
        rule, now = self.rules.find(name), self.clock.now()
        given = [
            Case(
                rule=name,
                name=case,
                input=content["input"],
                expected=content["expected"],
                note=None,
                changed_by="",
                changed_at=now,
            )
            for case, content in cases.items()
        ]

        around = await self.rules.surroundings_of(graph)

        def run() -> CaseReport:
            _, _, compiled, _ = check_statically(rule, graph, around)
            return run_by_version(rule, compiled, given, version=None, sandbox=self.sandbox)

        return await asyncio.to_thread(run)

    async def coverage(self, name: str, version: int, *, limit: int = 500) -> Coverage:
        """Which rows of a version the last decisions reached that it made in runs.

        Raises:
            NotFound: no such rule or version.
        """
        self.rules.find(name)
        compiled = Compiled.model_validate_json((await self.versions.get(name, version)).compiled)
        decided = await self.journal.list_decisions(name, version=version, limit=limit)
        return cover(compiled, (one.rows for one in decided))

    # Spreadsheets -------------------------------------------------------------------------------------------------

    async def export_tables(
        self, name: str, format: SpreadsheetFormat, *, version: int | None = None, table: str | None = None
    ) -> bytes:
        """The decision tables of a version as a file: of ``version``, else of what is active, newest or to start from.

        Raises:
            NotFound: no such rule, version or table.
            InvalidInput: a CSV file has one table, and it is not clear which.
        """
        document = await self._document(name, version)
        return await asyncio.to_thread(write_spreadsheet, document, format, table=table)

    async def graph_with_tables(
        self,
        name: str,
        content: bytes,
        format: SpreadsheetFormat,
        *,
        version: int | None = None,
        table: str | None = None,
    ) -> bytes:
        """The graph of a version, chosen as for :meth:`export_tables`, with the tables of a file in place of its own.

        Raises:
            NotFound: no such rule, version or table.
            InvalidInput: the file is not as it must be.
        """
        document = await self._document(name, version)
        changed = await asyncio.to_thread(read_spreadsheet, content, format, document, table=table)
        return json.dumps(changed, ensure_ascii=False).encode()

    async def _document(self, name: str, version: int | None) -> dict[str, Any]:
        starter = self.rules.starter_graph(name)
        number = version or self.rules.active_version(name)
        if number is None and (listed := await self.versions.list_versions(name)):
            number = listed[0].number
        if number is None:
            return starter
        document: dict[str, Any] = json.loads((await self.versions.get(name, number)).graph.removeprefix("\ufeff"))
        return document

    # Before it decides --------------------------------------------------------------------------------------------

    async def diff(self, name: str, version: int, *, against: int) -> list[Change]:
        """What ``version`` changes, compared with version ``against``.

        Raises:
            NotFound: no such rule or version.
        """
        self.rules.find(name)
        before, after = await self.versions.get(name, against), await self.versions.get(name, version)
        return await asyncio.to_thread(lambda: compare(graph_of(before.graph), graph_of(after.graph)))

    async def diff_graph(self, name: str, graph: bytes, *, against: int) -> list[Change]:
        """What a graph that is not stored changes, compared with version ``against``.

        Raises:
            NotFound: no such rule or version.
            RuleGraphInvalid: the graph fails a static check.
        """
        rule, before = self.rules.find(name), await self.versions.get(name, against)

        around = await self.rules.surroundings_of(graph)

        def run() -> list[Change]:
            _, read, _, _ = check_statically(rule, graph, around)
            return compare(graph_of(before.graph), read)

        return await asyncio.to_thread(run)

    async def analyse(self, name: str, version: int) -> Analysis:
        """Gaps, overlaps and dead rows of a version's tables; the gaps are confirmed by the engine.

        Raises:
            NotFound: no such rule or version.
        """
        rule, row = self.rules.find(name), await self.versions.get(name, version)

        def run() -> Analysis:
            compiled = Compiled.model_validate_json(row.compiled)
            return analyse(graph_of(row.graph), compiled, rule.contract, sandbox=self.sandbox)

        return await asyncio.to_thread(run)

    async def back_test(self, name: str, version: int, *, limit: int = 500) -> BackTest:
        """Decide the last recorded inputs again by ``version`` and list what comes out differently.

        Raises:
            NotFound: no such rule or version.
        """
        rule, row = self.rules.find(name), await self.versions.get(name, version)
        recorded = await self.journal.recent(name, limit=limit)
        compiled = Compiled.model_validate_json(row.compiled)
        return await asyncio.to_thread(
            back_test, rule, compiled, recorded, version=version, limit=limit, sandbox=self.sandbox
        )


def _explained(rule: Rule[Any, Any], input: BaseModel, traced: Traced, *, version: int | None) -> Explanation:
    told = Explanation(
        rule=rule.name,
        source="override",
        version=version,
        input=input.model_dump(mode="json", by_alias=True),
        output=traced.output,
        error=traced.error,
        rows=traced.rows,
        nodes=traced.nodes,
        text=tell(traced, version=version),
    )
    return redacted(rule.contract, told, given=json.loads(rule.contract.encode(input)))


def _item_of(recorded: Recorded, item: int | None) -> int:
    count = recorded.record.inputs
    if count is None or item is not None:
        found = len(recorded.inputs())
        if not 0 <= (item or 0) < found:
            raise NotFound("item", f"{item} of {found}")
        return item or 0
    message = f"the decision is a batch of {count} inputs; say which `item`, from 0 to {count - 1}"
    raise InvalidInput(message, errors=[{"loc": "item", "msg": message, "type": "missing"}])


def _told_by_function(rule: Rule[Any, Any], record: DecisionRecord) -> str:
    text = f"The rule's function decided (code {record.code_hash}): no uploaded version was active."
    if record.code_hash != rule.code_hash:
        text += f"\nThe function has changed since; today it is {rule.code_hash}."
    return text


def _agrees(rule: Rule[Any, Any], output: Any, error: str | None, traced: Traced) -> bool:
    if error is not None or traced.error is not None:
        return (error is None) == (traced.error is None)
    return differing_fields(rule, output, traced.output) is None
