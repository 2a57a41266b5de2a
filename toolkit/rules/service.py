"""The rules of one installation: which there are, their overrides, and what is active right now."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import to_json

from toolkit.access import SYSTEM, acting_as
from toolkit.clock import Clock, SystemClock
from toolkit.errors import (
    ConfigurationError,
    DefinitionError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    RuleEvaluationError,
    RuleVersionRefused,
    StorageError,
    ToolkitError,
)
from toolkit.rules.compilation import Compiled
from toolkit.rules.decisions import Choice, decide_apart, decide_many_apart
from toolkit.rules.definitions import Rule
from toolkit.rules.engine import DecisionEngine
from toolkit.rules.isolation import IsolatedEngine
from toolkit.rules.issues import Report
from toolkit.rules.overrides import Override
from toolkit.rules.sandbox import Sandbox
from toolkit.rules.summaries import BatchItem, Decision, RuleSummary, RuleVersion
from toolkit.rules.uploads import check_upload
from toolkit.serialization import codec_for

if TYPE_CHECKING:
    from toolkit.rules.shadows import Shadow
    from toolkit.rules.tables import PointerRow, VersionRow
    from toolkit.rules.versions import Versions
    from toolkit.storage import Database

logger = logging.getLogger(__name__)

LARGEST_BATCH = 10_000
_KEPT_VERSIONS = 200  # compiled versions in memory, beyond those that are active
_BETWEEN_PAUSES = 500  # inputs that a batch decides before others get a turn


class RuleService:
    """Keeps the active overrides in memory; a generation in the database says when to look again.

    ``refresh_seconds`` is how late this process may learn of an activation elsewhere.
    """

    def __init__(
        self,
        database: Database,
        rules: Iterable[Rule[Any, Any]] = (),
        *,
        clock: Clock | None = None,
        sandbox: Sandbox | None = None,
        refresh_seconds: float = 1.0,
    ) -> None:
        from toolkit.rules.shadows import Shadows
        from toolkit.rules.versions import Versions  # SQLAlchemy: not for who only decorates a function
        from toolkit.rules.workbench import Workbench

        self.clock: Clock = clock or SystemClock()
        self.sandbox = sandbox or Sandbox()
        self.refresh_seconds = refresh_seconds
        self._versions: Versions = Versions(database, self.clock)
        self.workbench = Workbench(self, self._versions, database=database, clock=self.clock, sandbox=self.sandbox)
        self.shadows = Shadows(database, self.clock, self.sandbox)
        self._engine = DecisionEngine()
        self._isolated = IsolatedEngine()
        self._rules: dict[str, Rule[Any, Any]] = {}
        self._pointers: dict[str, PointerRow] = {}
        self._active: dict[str, Override[Any, Any] | RuleEvaluationError] = {}
        self._kept: OrderedDict[tuple[str, int], Override[Any, Any]] = OrderedDict()
        self._refreshing = asyncio.Lock()
        self._poller: asyncio.Task[None] | None = None
        for rule in rules:
            self.register(rule)

    # Life ---------------------------------------------------------------------------------------------------------

    def register(self, rule: Rule[Any, Any]) -> None:
        """Take in a rule; the same one twice is once.

        Raises:
            DefinitionError: another rule has the name.
        """
        known = self._rules.setdefault(rule.name, rule)
        if known is not rule:
            raise DefinitionError(
                f"two rules are called {rule.name!r}: {known.place} and {rule.place}; give one of them another name="
            )

    async def open(self) -> None:
        """Load the active versions and keep them fresh until :meth:`close`."""
        await self.refresh()
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll(), name="toolkit rules refresh")

    async def close(self) -> None:
        """Stop refreshing and end the sandbox."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait([self._poller])
            self._poller = None
        await asyncio.to_thread(self.sandbox.close)
        await asyncio.to_thread(self._isolated.close)

    async def _poll(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        while True:
            await self.clock.sleep(self.refresh_seconds)
            try:
                await self.refresh()
                await self.shadows.settle()
            except (StorageError, SQLAlchemyError, OSError) as error:
                logger.warning(
                    "The active versions of rules could not be read; the last known ones stay in use",
                    extra={"event": "rule.refresh_failed", "error": type(error).__name__},
                )

    async def refresh(self) -> None:
        """Look which versions are active now: one read of two small tables, and more only if one changed."""
        async with self._refreshing:
            now = self.clock.now()
            for name, found in (await self._versions.pointers()).items():
                pointer = found
                if name in self._rules and pointer.next_at is not None and pointer.next_at <= now:
                    with acting_as(SYSTEM):
                        pointer = await self._versions.take_over(name)
                known = self._pointers.get(name)
                if name in self._rules and (known is None or known.generation != pointer.generation):
                    await self._follow(pointer)

            await self._follow_shadows()

    async def _follow_shadows(self) -> None:
        wanted = await self.shadows.wanted()
        for name, rule in self._rules.items():
            number = wanted.get(name)
            if not self.shadows.is_following(name, number):
                self.shadows.follow(rule, None if number is None else await self._versions.get(name, number))

    async def _follow(self, pointer: PointerRow) -> None:
        name, number = pointer.rule, pointer.active_version
        if number is None:
            self._active.pop(name, None)
        else:
            try:
                # Anew: whether it is trusted may have changed. Until it is there, the one before decides.
                self._forget_kept(name)
                self._active[name] = await self._load(name, number)
            except (RuleEvaluationError, ConfigurationError) as error:
                refused = error if isinstance(error, RuleEvaluationError) else RuleEvaluationError(name, str(error))
                self._active[name] = refused  # at each evaluation, not passed over
                logger.error(  # noqa: TRY400  # the message says it all
                    "The active version of a rule cannot be run",
                    extra={"event": "rule.version_refused", "rule": name, "version": number},
                )
        self._pointers[name] = pointer

    # What there is ------------------------------------------------------------------------------------------------

    def list_rules(self) -> list[RuleSummary]:
        """Every rule of this installation, by name."""
        return [self.get_rule(name) for name in sorted(self._rules)]

    def get_rule(self, name: str) -> RuleSummary:
        """One rule.

        Raises:
            NotFound: no rule has the name.
        """
        rule, pointer = self.find(name), self._pointers.get(name)
        number = pointer.active_version if pointer else None
        is_changed = pointer is not None and pointer.activation_id is not None
        return RuleSummary(
            name=rule.name,
            description=rule.description,
            source="python" if number is None else "override",
            active_version=number,
            on_no_match=rule.on_no_match,
            on_error=rule.on_error,
            pin=rule.pin,
            changed_by=pointer.changed_by if pointer and is_changed else None,
            changed_at=pointer.changed_at if pointer and is_changed else None,
            next_version=pointer.next_version if pointer else None,
            next_at=pointer.next_at if pointer else None,
            input_schema=rule.input_schema(),
            output_schema=rule.output_schema(),
        )

    def starter_graph(self, name: str) -> dict[str, Any]:
        """The graph to start an override of the rule from.

        Raises:
            NotFound: no rule has the name.
        """
        return self.find(name).starter_graph()

    def find(self, name: str) -> Rule[Any, Any]:
        """The rule itself.

        Raises:
            NotFound: no rule has the name.
        """
        if name not in self._rules:
            raise NotFound("rule", name, known=list(self._rules))
        return self._rules[name]

    # Versions -----------------------------------------------------------------------------------------------------

    async def upload(self, name: str, graph: bytes, *, note: str | None = None) -> RuleVersion:
        """Check a JDM graph, try it in the sandbox and keep it as a version; nothing is activated.

        Raises:
            NotFound: no rule has the name.
            RuleGraphInvalid: with every issue found.
            ConfigurationError: zen-engine is missing here.
        """
        from toolkit.rules.versions import NewVersion

        rule = self.find(name)
        checked = await asyncio.to_thread(check_upload, rule, graph, self.sandbox)
        row, is_new = await self._versions.add(
            NewVersion(
                rule=name,
                sha256=checked.sha256,
                contract_sha256=rule.contract.sha256,
                graph=checked.text,
                compiled=checked.compiled.model_dump_json(),
                report=checked.report.model_dump_json(),
                note=note,
            )
        )
        logger.info(
            "A version of a rule was uploaded",
            extra={"event": "rule.version_uploaded", "rule": name, "version": row.number, "is_new": is_new},
        )
        return self._read(row, created=is_new, with_graph=True)

    async def versions(self, name: str) -> list[RuleVersion]:
        """Every version of the rule, newest first, without graphs.

        Raises:
            NotFound: no rule has the name.
        """
        self.find(name)
        return [self._read(row) for row in await self._versions.list_versions(name)]

    async def version(self, name: str, number: int) -> RuleVersion:
        """One version, with its graph.

        Raises:
            NotFound: no rule has the name, or the rule has no such version.
        """
        self.find(name)
        row, is_trusted = await self._versions.get_with_trust(name, number)
        return self._read(row, with_graph=True, is_trusted=is_trusted)

    async def activate(
        self,
        name: str,
        number: int,
        *,
        reason: str | None = None,
        force: bool = False,
        valid_from: datetime | None = None,
    ) -> RuleSummary:
        """Let version ``number`` decide from the next run on, or from ``valid_from`` on if that is later.

        ``force`` passes over stored cases that fail. A change by hand before ``valid_from`` withdraws the plan.

        Raises:
            NotFound: no such rule or version.
            RuleVersionRefused: it was made for other models; upload it again.
            PermissionDenied: the rule asks for a second person, and the caller uploaded it.
            Conflict: it is active already, or stored cases fail and nobody forces it.
            InvalidInput: it is forced without a reason.
        """
        from toolkit.rules.gates import check_cases, check_second_person

        rule = self.find(name)
        await self.override(name, number)
        version = await self._versions.get(name, number)
        check_second_person(rule, uploaded_by=version.created_by, number=number)
        report = await self.workbench.run_cases(name, version=number)
        forced = check_cases(report, rule=name, reason=reason, force=force)
        details = {"forced": forced} if forced else {}
        if valid_from is not None and valid_from > self.clock.now():
            return await self._moved(await self._versions.schedule(name, number, at=valid_from, reason=reason))
        return await self._moved(await self._versions.point(name, number, kind="activated", reason=reason, **details))

    async def deactivate(self, name: str, *, reason: str | None = None) -> RuleSummary:
        """Let the function decide again.

        Raises:
            NotFound: no such rule.
            Conflict: it decides already.
        """
        self.find(name)
        return await self._moved(await self._versions.point(name, None, kind="deactivated", reason=reason))

    async def rollback(self, name: str, *, reason: str | None = None) -> RuleSummary:
        """Let decide what decided before the present version was activated: another version, or the function.

        Raises:
            NotFound: no such rule.
            Conflict: nothing decided before.
            RuleVersionRefused: what decided before was made for other models.
        """
        self.find(name)
        return await self._moved(await self._versions.roll_back(name, reason=reason, accept=self._check_version))

    async def trust(self, name: str, number: int, *, reason: str) -> RuleVersion:
        """Answer for a version: it decides in the process itself from now on, without the sandbox around it.

        Raises:
            NotFound: no such rule or version.
            Conflict: it is trusted already.
        """
        self.find(name)
        await self._versions.trust(name, number, reason=reason)
        await self.refresh()
        return await self.version(name, number)

    async def distrust(self, name: str, number: int) -> RuleVersion:
        """Take back :meth:`trust`.

        Raises:
            NotFound: no such rule or version.
            Conflict: nobody answers for it.
        """
        self.find(name)
        await self._versions.distrust(name, number)
        await self.refresh()
        return await self.version(name, number)

    async def start_shadow(self, name: str, number: int) -> Shadow:
        """Evaluate a version beside what decides, in all processes within their next refresh, and count differences.

        Raises:
            NotFound: no such rule or version.
            RuleVersionRefused: it was made for other models.
            Conflict: it is the rule's shadow already.
        """
        self.find(name)
        await self.override(name, number)
        await self.shadows.start(await self._versions.get(name, number))
        await self.refresh()
        return await self.shadow(name)

    async def stop_shadow(self, name: str) -> Shadow:
        """End it.

        Raises:
            NotFound: no such rule.
            Conflict: the rule has no shadow.
        """
        self.find(name)
        await self.shadows.settle()
        await self.shadows.stop(name)
        await self.refresh()
        return await self.shadow(name)

    async def shadow(self, name: str) -> Shadow:
        """What the present or the last shadow of a rule has counted.

        Raises:
            NotFound: no such rule, or it never had a shadow.
        """
        self.find(name)
        found = await self.shadows.find(name)
        if found is None:
            raise NotFound("shadow", name)
        return found

    async def _moved(self, pointer: PointerRow) -> RuleSummary:
        async with self._refreshing:
            known = self._pointers.get(pointer.rule)
            if known is None or known.generation < pointer.generation:
                await self._follow(pointer)
        logger.info(
            "What decides for a rule was changed",
            extra={"event": "rule.changed", "rule": pointer.rule, "version": pointer.active_version},
        )
        return self.get_rule(pointer.rule)

    def _read(
        self, row: VersionRow, *, created: bool = False, with_graph: bool = False, is_trusted: bool | None = None
    ) -> RuleVersion:
        pointer = self._pointers.get(row.rule)
        return RuleVersion(
            rule=row.rule,
            number=row.number,
            sha256=row.sha256,
            note=row.note,
            created_by=row.created_by,
            created_at=row.created_at,
            active=pointer is not None and pointer.active_version == row.number,
            fits=row.contract_sha256 == self.find(row.rule).contract.sha256,
            report=Report.model_validate_json(row.report),
            created=created,
            trusted=is_trusted,
            graph=row.graph if with_graph else None,
        )

    # Deciding -----------------------------------------------------------------------------------------------------

    def active_version(self, name: str) -> int | None:
        """The number of the version that decides now, or ``None`` for the function. Asks nobody."""
        pointer = self._pointers.get(name)
        return pointer.active_version if pointer else None

    def active(self, name: str) -> Choice[Any, Any]:
        """What decides now: an override, the reason why it cannot, or ``None`` for the function. Asks nobody."""
        return self._active.get(name)

    async def override(self, name: str, number: int) -> Override[Any, Any]:
        """One version, ready to decide; read from the database when it is first asked for.

        Raises:
            NotFound: the rule has no such version.
            RuleVersionRefused: it was made for other models than the rule has today.
        """
        active = self._active.get(name)
        if isinstance(active, Override) and active.number == number:
            return active
        if (name, number) not in self._kept:
            self._kept[name, number] = await self._load(name, number)
        self._kept.move_to_end((name, number))
        self._drop_oldest()
        return self._kept[name, number]

    async def _load(self, name: str, number: int) -> Override[Any, Any]:
        row, is_trusted = await self._versions.get_with_trust(name, number)
        return self._build(row, is_trusted=is_trusted)

    def _forget_kept(self, name: str) -> None:
        for key in [key for key in self._kept if key[0] == name]:
            del self._kept[key]

    def _check_version(self, row: VersionRow) -> None:
        self._build(row, is_trusted=False)

    def _build(self, row: VersionRow, *, is_trusted: bool) -> Override[Any, Any]:
        rule = self.find(row.rule)
        if row.contract_sha256 != rule.contract.sha256:
            raise RuleVersionRefused(
                row.rule,
                f"version {row.number} was made for other input and output models than the rule has today; upload the "
                "graph again, so that it is checked against them, and activate the new version",
            )
        compiled = Compiled.model_validate_json(row.compiled)
        override = Override(
            rule.contract,
            compiled,
            self._engine if compiled.is_bounded or is_trusted else self._isolated,
            number=row.number,
            sha256=row.sha256,
        )
        override.load()
        return override

    def _drop_oldest(self) -> None:
        while len(self._kept) > _KEPT_VERSIONS:
            self._kept.popitem(last=False)
            in_use = {
                key
                for one in (*self._kept.values(), *self._active.values())
                if isinstance(one, Override)
                for key in (one.key, one.loop_key)
            }
            self._engine.keep(in_use)
            self._isolated.keep(in_use)

    async def evaluate(self, name: str, input_json: str | bytes, *, version: int | None = None) -> Decision:
        """Decide one input, outside of any run: by what is active, or by ``version``.

        Raises:
            NotFound: no such rule or version.
            InvalidInput: the input does not fit.
            RuleEvaluationError: the override could not decide.
        """
        rule = self.find(name)
        override = self.active(name) if version is None else await self.override(name, version)
        parsed = codec_for(rule.input_type).parse_json(input_json)
        record: dict[str, Any] = {}
        try:
            output = await decide_apart(rule, override, parsed, record)
        except Exception as error:
            raise _presentable(rule, error) from error
        return Decision(
            output=output.model_dump(mode="json", by_alias=True),
            source=record["source"],
            version=record.get("version"),
            rows=record.get("rows", []),
            duration_ms=record["duration_ms"],
            fallback=record.get("fallback"),
        )

    async def evaluate_batch(self, name: str, inputs: Sequence[Any]) -> list[BatchItem]:
        """Decide up to ``LARGEST_BATCH`` parsed JSON inputs by what is active; a result or an error each, in order.

        Raises:
            NotFound: no such rule.
            LimitExceeded: there are more inputs.
        """
        rule = self.find(name)
        if len(inputs) > LARGEST_BATCH:
            raise LimitExceeded(
                f"a batch has at most {LARGEST_BATCH:,} inputs, found {len(inputs):,}; send it in parts",
                limit=LARGEST_BATCH,
                found=len(inputs),
            )
        override = self.active(name)  # once: a batch does not mix versions
        items: list[BatchItem] = []
        for start in range(0, len(inputs), _BETWEEN_PAUSES):
            items += await _decide_part(rule, override, inputs[start : start + _BETWEEN_PAUSES])
            await asyncio.sleep(0)
        return items


async def _decide_part(rule: Rule[Any, Any], override: Choice[Any, Any], inputs: Sequence[Any]) -> list[BatchItem]:
    parsed = [_parse(rule, one) for one in inputs]
    fitting = [one for one in parsed if not isinstance(one, InvalidInput)]
    decided = iter(await decide_many_apart(rule, override, fitting, {}))
    return [_item(rule, one if isinstance(one, InvalidInput) else next(decided)) for one in parsed]


def _parse(rule: Rule[Any, Any], value: Any) -> Any:
    try:
        return codec_for(rule.input_type).parse_json(to_json(value))
    except InvalidInput as error:
        return error


def _item(rule: Rule[Any, Any], decided: BaseModel | Exception) -> BatchItem:
    if not isinstance(decided, Exception):
        return BatchItem(output=decided.model_dump(mode="json", by_alias=True))
    error = _presentable(rule, decided)
    return BatchItem(
        error={"type": type(error).__name__, "message": str(error), "errors": getattr(error, "errors", [])}
    )


def _presentable(rule: Rule[Any, Any], error: Exception) -> ToolkitError:
    """The error as a caller may see it: what an author's function raised stays in the log of the caller's request."""
    if isinstance(error, ToolkitError):
        return error
    return RuleEvaluationError(rule.name, f"its function raised {type(error).__name__}")
