"""Shadow mode: a version is evaluated beside what decides, on the real inputs; differences are counted, never used.

What was decided is offered after the decision was made, and compared a little later, in the sandbox. A process that
falls behind leaves some out and counts those too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from sqlmodel import col, delete, func, select, update

from toolkit.access import current_principal, record_audit
from toolkit.clock import Clock
from toolkit.errors import Conflict, RuleEvaluationError
from toolkit.rules.compilation import Compiled
from toolkit.rules.definitions import Rule
from toolkit.rules.explanations import evaluate_quietly
from toolkit.rules.journal import write_id
from toolkit.rules.overrides import read_evaluation
from toolkit.rules.sandbox import Sandbox
from toolkit.rules.tables import ShadowDifferenceRow, ShadowRow
from toolkit.storage import Database

if TYPE_CHECKING:
    from toolkit.rules.tables import VersionRow

MOST_WAITING = 1_000  # decisions of a rule, between two comparisons
MOST_DIFFERENCES = 200  # of a shadow, listed; all of them are counted


class ShadowDifference(BaseModel):
    """A decision that the shadow would have made otherwise, and in which fields; none where it failed."""

    model_config = ConfigDict(frozen=True)

    decision: str
    fields: list[str]


class Shadow(BaseModel):
    """A version beside what decides. ``changed`` of ``compared`` decisions it would have made otherwise."""

    model_config = ConfigDict(frozen=True)

    rule: str
    version: int
    started_by: str
    started_at: datetime
    ended_at: datetime | None
    compared: int
    changed: int
    failed: int
    """Of the decisions, those that it could not make."""
    skipped: int
    """Decisions that came faster than they could be compared."""
    differences: list[ShadowDifference]


@dataclass(frozen=True, slots=True)
class _Offer:
    context: str
    output: BaseModel
    decision: str | None


@dataclass
class _Running:
    rule: Rule[Any, Any]
    compiled: Compiled
    version: int
    waiting: deque[_Offer] = field(default_factory=deque)
    skipped: int = 0


class Shadows:
    """The shadows of one installation, as far as this process takes part in them."""

    def __init__(self, database: Database, clock: Clock, sandbox: Sandbox) -> None:
        self.database, self.clock, self.sandbox = database, clock, sandbox
        self._running: dict[str, _Running] = {}

    # What a person does -------------------------------------------------------------------------------------------

    async def start(self, version: VersionRow) -> None:
        """Begin to evaluate ``version`` beside what decides; what another shadow had counted is gone.

        Raises:
            Conflict: it is the rule's shadow already.
        """
        async with self.database.session() as session:
            row = await session.get(ShadowRow, version.rule)
            if row is not None and row.ended_at is None and row.version == version.number:
                raise Conflict(f"version {version.number} is the shadow of rule {version.rule!r} already")
            if row is not None:
                await session.delete(row)
                await session.flush()
            await session.exec(delete(ShadowDifferenceRow).where(col(ShadowDifferenceRow.rule) == version.rule))
            who, now = current_principal().id, self.clock.now()
            session.add(ShadowRow(rule=version.rule, version=version.number, started_by=who, started_at=now))
            await self._audit(session, "rule.shadow_started", version.rule, version.number)

    async def stop(self, rule: str) -> None:
        """End the shadow of ``rule``; what it counted stays.

        Raises:
            Conflict: there is none.
        """
        async with self.database.session() as session:
            row = await session.get(ShadowRow, rule)
            if row is None or row.ended_at is not None:
                raise Conflict(f"rule {rule!r} has no shadow")
            row.ended_at = self.clock.now()
            session.add(row)
            await self._audit(session, "rule.shadow_ended", rule, row.version)

    async def find(self, rule: str) -> Shadow | None:
        """The present or the last shadow of ``rule``."""
        listed = select(ShadowDifferenceRow).where(ShadowDifferenceRow.rule == rule)
        async with self.database.session() as session:
            row = await session.get(ShadowRow, rule)
            differences = (await session.exec(listed)).all()
        if row is None:
            return None
        told = [ShadowDifference(decision=one.decision, fields=one.fields.split()) for one in differences]
        return Shadow(**row.model_dump(), differences=told)

    async def _audit(self, session: Any, action: str, rule: str, version: int) -> None:
        details = {"version": version}
        await record_audit(
            session, action=action, object_kind="rule", object_id=rule, details=details, clock=self.clock
        )

    # What the process does ----------------------------------------------------------------------------------------

    async def wanted(self) -> dict[str, int]:
        """The version that shadows each rule."""
        query = select(ShadowRow.rule, ShadowRow.version).where(col(ShadowRow.ended_at).is_(None))
        async with self.database.session() as session:
            return dict((await session.exec(query)).all())

    def follow(self, rule: Rule[Any, Any], version: VersionRow | None) -> None:
        """From now on compare the decisions of ``rule`` with ``version``, or with nothing."""
        if version is None:
            self._running.pop(rule.name, None)
        else:
            compiled = Compiled.model_validate_json(version.compiled)
            self._running[rule.name] = _Running(rule, compiled, version.number)

    def is_following(self, rule: str, version: int | None) -> bool:
        """Whether this process compares ``rule`` with just this version."""
        running = self._running.get(rule)
        return (running.version if running else None) == version

    def offer(self, rule: Rule[Any, Any], given: BaseModel, output: BaseModel, *, run_id: str, path: str) -> None:
        """Note a decision that was made. Cheap, and raises nothing that a run would see."""
        running = self._running.get(rule.name)
        if running is None:
            return
        if len(running.waiting) >= MOST_WAITING:
            running.skipped += 1
            return
        running.waiting.append(_Offer(rule.contract.encode(given), output, write_id(run_id, path)))

    async def settle(self) -> None:
        """Compare what was offered, and add it to the counts in the database."""
        for running in list(self._running.values()):
            offers, running.waiting = list(running.waiting), deque()
            skipped, running.skipped = running.skipped, 0
            if offers or skipped:
                changed, failed = await asyncio.to_thread(self._compare, running, offers)
                await self._count(running, len(offers), changed, failed=failed, skipped=skipped)

    def _compare(self, running: _Running, offers: list[_Offer]) -> tuple[dict[str, list[str]], int]:
        found = evaluate_quietly(running.compiled, [offer.context for offer in offers], sandbox=self.sandbox)
        changed: dict[str, list[str]] = {}
        failed = 0
        for offer, evaluation in zip(offers, found, strict=True):
            try:
                output, _ = read_evaluation(running.rule.contract, running.compiled, evaluation)
            except RuleEvaluationError:
                failed += 1
                continue
            names = running.rule.output_type.model_fields
            fields = [name for name in names if getattr(output, name) != getattr(offer.output, name)]
            if fields and offer.decision is not None:
                changed[offer.decision] = fields
        return changed, failed

    async def _count(
        self, running: _Running, compared: int, changed: dict[str, list[str]], *, failed: int, skipped: int
    ) -> None:
        rule, version = running.rule.name, running.version
        count = select(func.count()).select_from(ShadowDifferenceRow).where(ShadowDifferenceRow.rule == rule)
        async with self.database.session() as session:
            await session.exec(
                update(ShadowRow)
                .where(col(ShadowRow.rule) == rule, col(ShadowRow.version) == version)
                .values(
                    compared=ShadowRow.compared + compared,
                    changed=ShadowRow.changed + len(changed),
                    failed=ShadowRow.failed + failed,
                    skipped=ShadowRow.skipped + skipped,
                )
            )
            room = MOST_DIFFERENCES - (await session.exec(count)).one()
            for decision, fields in list(changed.items())[: max(room, 0)]:
                await session.merge(
                    ShadowDifferenceRow(rule=rule, decision=decision, version=version, fields=" ".join(fields))
                )
