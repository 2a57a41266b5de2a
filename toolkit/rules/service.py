"""The rules of one installation: which there are, their versions, and who lets which of them decide."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from toolkit.clock import Clock, SystemClock
from toolkit.errors import Conflict, DefinitionError, NotFound
from toolkit.periodic import Periodic
from toolkit.rules.compilation import Compiled
from toolkit.rules.decisions import Choice
from toolkit.rules.definitions import Rule
from toolkit.rules.evaluations import evaluate, evaluate_batch
from toolkit.rules.overrides import Override
from toolkit.rules.sandbox import Sandbox
from toolkit.rules.summaries import BatchItem, Decision, RuleSummary, RuleVersion, summary_of, version_of
from toolkit.rules.uploads import check_upload
from toolkit.rules.validation import Surroundings

if TYPE_CHECKING:
    from toolkit.rules.shadows import Shadow
    from toolkit.rules.tables import PointerRow, VersionRow
    from toolkit.rules.versions import Versions
    from toolkit.storage import Database

logger = logging.getLogger(__name__)


class RuleService:
    """What people and programs do with the rules of one installation.

    ``refresh_seconds`` is how late this process may learn of an activation elsewhere, ``evaluation_seconds`` how long
    the sandbox lets one evaluation take. ``allows_functions`` lets uploads have JavaScript in them, which then never
    leaves the sandbox.
    """

    def __init__(
        self,
        database: Database,
        rules: Iterable[Rule[Any, Any]] = (),
        *,
        clock: Clock | None = None,
        sandbox: Sandbox | None = None,
        refresh_seconds: float = 1.0,
        evaluation_seconds: float = 1.0,
        allows_functions: bool = False,
    ) -> None:
        from toolkit.rules.active import ActiveVersions
        from toolkit.rules.shadows import Shadows
        from toolkit.rules.subdecisions import SubDecisions
        from toolkit.rules.versions import Versions  # SQLAlchemy: not for who only decorates a function
        from toolkit.rules.workbench import Workbench

        self.clock: Clock = clock or SystemClock()
        self.sandbox = sandbox or Sandbox(silence_seconds=evaluation_seconds)
        self.refresh_seconds = refresh_seconds
        self.allows_functions = allows_functions
        self._rules: dict[str, Rule[Any, Any]] = {}
        self._versions: Versions = Versions(database, self.clock)
        self._active = ActiveVersions(
            self._versions,
            self._rules,
            clock=self.clock,
            evaluation_seconds=evaluation_seconds,
            allows_functions=allows_functions,
        )
        self._sub_decisions = SubDecisions(self._versions, self._rules, self._active)
        self.workbench = Workbench(self, self._versions, database=database, clock=self.clock, sandbox=self.sandbox)
        self.shadows = Shadows(database, self.clock, self.sandbox)
        self.chunk_turn = asyncio.Lock()
        """Held by the chunk of a file that this process decides: others wait, so that memory does not add up."""
        self._refreshes = Periodic(
            "refresh rules", self._follow, seconds=refresh_seconds, clock=self.clock, is_begun_late=True
        )
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
        await self._refreshes.open()

    async def close(self) -> None:
        """Stop refreshing and end the sandbox."""
        await self._refreshes.close()
        await asyncio.to_thread(self.sandbox.close)
        await asyncio.to_thread(self._active.close)

    async def _follow(self) -> None:
        """Where this fails the versions that were known last stay in use."""
        await self.refresh()
        await self.shadows.settle()

    async def refresh(self) -> None:
        """Look what is active now: one read of two small tables, and more only if one changed."""
        await self._active.refresh()
        await self._follow_shadows()

    async def _follow_shadows(self) -> None:
        wanted = await self.shadows.wanted()
        for name, rule in self._rules.items():
            number = wanted.get(name)
            if not self.shadows.is_following(name, number):
                self.shadows.follow(rule, None if number is None else await self._versions.get(name, number))

    # What there is ------------------------------------------------------------------------------------------------

    def list_rules(self) -> list[RuleSummary]:
        """Every rule of this installation, by name."""
        return [self.get_rule(name) for name in sorted(self._rules)]

    def get_rule(self, name: str) -> RuleSummary:
        """One rule.

        Raises:
            NotFound: no rule has the name.
        """
        return summary_of(self.find(name), self._active.pointer(name))

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
        around = await self.surroundings_of(graph)
        checked = await asyncio.to_thread(check_upload, rule, graph, self.sandbox, around)
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

    async def surroundings_of(self, graph: bytes) -> Surroundings:
        """What an uploaded graph may reach here: the versions that it names, and JavaScript where it is allowed."""
        return Surroundings(allows_functions=self.allows_functions, asked=await self._sub_decisions.find(graph))

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
        return await self._moved(await self._versions.roll_back(name, reason=reason, accept=self._active.check))

    async def trust(self, name: str, number: int, *, reason: str) -> RuleVersion:
        """Answer for a version: it decides in the process itself from now on, without the sandbox around it.

        Raises:
            NotFound: no such rule or version.
            Conflict: it is trusted already, or it has JavaScript in it, for which nobody can answer.
        """
        self.find(name)
        if Compiled.model_validate_json((await self._versions.get(name, number)).compiled).has_functions:
            message = f"version {number} of rule {name!r} has JavaScript in it, which never leaves the sandbox"
            raise Conflict(message, rule=name, version=number)
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
        await self._active.follow(pointer)
        logger.info(
            "What decides for a rule was changed",
            extra={"event": "rule.changed", "rule": pointer.rule, "version": pointer.active_version},
        )
        return self.get_rule(pointer.rule)

    def _read(self, row: VersionRow, **more: Any) -> RuleVersion:
        return version_of(row, self.find(row.rule), active_version=self._active.number(row.rule), **more)

    # Deciding -----------------------------------------------------------------------------------------------------

    def active_version(self, name: str) -> int | None:
        """The number of the version that decides now, or ``None`` for the function. Asks nobody."""
        return self._active.number(name)

    def active(self, name: str) -> Choice[Any, Any]:
        """What decides now: an override, the reason why it cannot, or ``None`` for the function. Asks nobody."""
        return self._active.choice(name)

    async def override(self, name: str, number: int) -> Override[Any, Any]:
        """One version, ready to decide; read from the database when it is first asked for.

        Raises:
            NotFound: the rule has no such version.
            RuleVersionRefused: it was made for other models, or has JavaScript that is not allowed here any more.
        """
        self.find(name)
        return await self._active.override(name, number)

    async def evaluate(self, name: str, input_json: str | bytes, *, version: int | None = None) -> Decision:
        """Decide one input, outside of any run: by what is active, or by ``version``.

        Raises:
            NotFound: no such rule or version.
            InvalidInput: the input does not fit.
            RuleEvaluationError: the override could not decide.
        """
        rule = self.find(name)
        return await evaluate(
            rule, self.active(name) if version is None else await self.override(name, version), input_json
        )

    async def evaluate_batch(self, name: str, inputs: Sequence[Any]) -> list[BatchItem]:
        """Decide up to 10,000 parsed JSON inputs by what is active; a result or an error each, in order.

        Raises:
            NotFound: no such rule.
            LimitExceeded: there are more inputs.
        """
        return await evaluate_batch(self.find(name), self.active(name), inputs)  # one override: no mix of versions
