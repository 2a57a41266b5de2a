"""Versions of overrides in the database: what was uploaded, what is active, and how that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import load_only
from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from toolkit.access import current_principal, record_audit
from toolkit.clock import Clock
from toolkit.errors import Conflict, NotFound
from toolkit.ids import new_id
from toolkit.rules.tables import ActivationRow, PointerRow, TrustRow, VersionRow
from toolkit.storage import Database

Kind = Literal["activated", "rolled_back", "deactivated"]


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What is known of a version before it has a number."""

    rule: str
    sha256: str
    contract_sha256: str
    graph: str
    compiled: str
    report: str
    note: str | None


class Versions:
    """The statements of this room. A pointer and its audit entry change in one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock

    async def add(self, new: NewVersion) -> tuple[VersionRow, bool]:
        """Keep ``new`` under the next number, or find the version with equal content; the flag says which."""
        async with self.database.session() as session:
            await self._lock(session, new.rule)
            found = await _first(session, rule=new.rule, sha256=new.sha256, contract_sha256=new.contract_sha256)
            if found is not None:
                return found, False
            last = (await session.exec(select(func.max(VersionRow.number)).where(VersionRow.rule == new.rule))).one()
            row = VersionRow(
                id=new_id(),
                number=(last or 0) + 1,
                created_by=current_principal().id,
                created_at=self.clock.now(),
                **vars(new),
            )
            session.add(row)
            await _audit(session, "rule.version_uploaded", new.rule, self.clock, version=row.number, sha256=new.sha256)
        return row, True

    async def list_versions(self, rule: str) -> Sequence[VersionRow]:
        """Every version of ``rule``, newest first, without graphs."""
        query = (
            select(VersionRow)
            .where(VersionRow.rule == rule)
            .order_by(col(VersionRow.number).desc())
            .options(
                load_only(
                    *(
                        getattr(VersionRow, name)
                        for name in VersionRow.model_fields
                        if name not in {"graph", "compiled"}
                    )
                )
            )
        )
        async with self.database.session() as session:
            return (await session.exec(query)).all()

    async def get(self, rule: str, number: int) -> VersionRow:
        """One version.

        Raises:
            NotFound: the rule has no version of this number.
        """
        async with self.database.session() as session:
            found = await _first(session, rule=rule, number=number)
        if found is None:
            raise NotFound("version", f"{rule}/{number}")
        return found

    async def get_with_trust(self, rule: str, number: int) -> tuple[VersionRow, bool]:
        """One version, and whether somebody answers for it.

        Raises:
            NotFound: the rule has no version of this number.
        """
        async with self.database.session() as session:
            found = await _first(session, rule=rule, number=number)
            is_trusted = await session.get(TrustRow, (rule, number)) is not None
        if found is None:
            raise NotFound("version", f"{rule}/{number}")
        return found, is_trusted

    async def trust(self, rule: str, number: int, *, reason: str) -> None:
        """Note that somebody answers for a version; the generation rises, so that every process hears of it.

        Raises:
            NotFound: the rule has no version of this number.
            Conflict: it is trusted already.
        """
        async with self.database.session() as session:
            pointer = await self._lock(session, rule)
            if await _first(session, rule=rule, number=number) is None:
                raise NotFound("version", f"{rule}/{number}")
            if await session.get(TrustRow, (rule, number)) is not None:
                raise Conflict(f"version {number} of rule {rule!r} is trusted already", rule=rule, version=number)
            who = current_principal().id
            session.add(TrustRow(rule=rule, version=number, reason=reason, trusted_by=who, trusted_at=self.clock.now()))
            pointer.generation += 1
            session.add(pointer)
            await _audit(session, "rule.trusted", rule, self.clock, version=number, reason=reason)

    async def distrust(self, rule: str, number: int) -> None:
        """Take back :meth:`trust`.

        Raises:
            Conflict: nobody answers for the version.
        """
        async with self.database.session() as session:
            pointer = await self._lock(session, rule)
            row = await session.get(TrustRow, (rule, number))
            if row is None:
                raise Conflict(f"nobody answers for version {number} of rule {rule!r}", rule=rule, version=number)
            await session.delete(row)
            pointer.generation += 1
            session.add(pointer)
            await _audit(session, "rule.distrusted", rule, self.clock, version=number)

    async def pointers(self) -> dict[str, PointerRow]:
        """What decides for each rule that ever had a version."""
        async with self.database.session() as session:
            return {row.rule: row for row in (await session.exec(select(PointerRow))).all()}

    async def point(
        self, rule: str, number: int | None, *, kind: Kind, reason: str | None, **details: Any
    ) -> PointerRow:
        """Let version ``number`` decide, or the function where it is ``None``; ``details`` are for the audit trail.

        Raises:
            Conflict: it decides already.
        """
        async with self.database.session() as session:
            pointer = await self._lock(session, rule)
            if pointer.active_version == number:
                what = "its function" if number is None else f"version {number}"
                raise Conflict(f"rule {rule!r} is decided by {what} already", rule=rule, version=number)
            before = pointer.activation_id
            return await self._move(session, pointer, number, before, kind=kind, reason=reason, **details)

    async def schedule(self, rule: str, number: int, *, at: datetime, reason: str | None) -> PointerRow:
        """Let version ``number`` decide from ``at`` on; in place of what was planned before."""
        async with self.database.session() as session:
            pointer = await self._lock(session, rule)
            pointer.next_version, pointer.next_at = number, at
            pointer.next_by, pointer.next_reason = current_principal().id, reason
            pointer.generation += 1
            session.add(pointer)
            await _audit(session, "rule.scheduled", rule, self.clock, version=number, at=at.isoformat(), reason=reason)
            return pointer

    async def take_over(self, rule: str) -> PointerRow:
        """Let the planned version decide if its moment has come; another process may have done so."""
        async with self.database.session() as session:
            pointer = await self._lock(session, rule)
            number, planned_by, reason = pointer.next_version, pointer.next_by, pointer.next_reason
            if number is None or pointer.next_at is None or pointer.next_at > self.clock.now():
                return pointer
            before = pointer.activation_id
            return await self._move(
                session, pointer, number, before, kind="activated", reason=reason, planned_by=planned_by
            )

    async def roll_back(self, rule: str, *, reason: str | None, accept: Callable[[VersionRow], None]) -> PointerRow:
        """Let decide what decided before the present version was activated; again and again, back to the function.

        ``accept`` raises if the version that would decide cannot.

        Raises:
            Conflict: nothing was activated before.
        """
        async with self.database.session() as session:
            pointer = await self._lock(session, rule)
            if pointer.activation_id is None:
                raise Conflict(f"rule {rule!r} was never changed, so there is nothing to go back to", rule=rule)
            present = await session.get_one(ActivationRow, pointer.activation_id)
            if present.previous_id is None and present.version is None:
                raise Conflict(f"rule {rule!r} is back at its function; nothing decided before", rule=rule)
            before = await session.get_one(ActivationRow, present.previous_id) if present.previous_id else None
            number, earlier = (before.version, before.previous_id) if before else (None, None)
            if number is not None and (version := await _first(session, rule=rule, number=number)) is not None:
                accept(version)
            return await self._move(session, pointer, number, earlier, kind="rolled_back", reason=reason)

    async def _move(
        self,
        session: AsyncSession,
        pointer: PointerRow,
        number: int | None,
        previous_id: str | None,
        *,
        kind: Kind,
        reason: str | None,
        **more: Any,
    ) -> PointerRow:
        now, who = self.clock.now(), current_principal().id
        activation = ActivationRow(
            id=new_id(),
            rule=pointer.rule,
            kind=kind,
            version=number,
            previous_id=previous_id,
            reason=reason,
            created_by=who,
            created_at=now,
        )
        session.add(activation)
        details = {"version": number, "before": pointer.active_version, "reason": reason} | more
        pointer.active_version, pointer.activation_id = number, activation.id
        pointer.generation += 1
        # A change by hand withdraws what was planned: a rollback in an emergency is not undone by the clock.
        pointer.next_version = pointer.next_at = pointer.next_by = pointer.next_reason = None
        pointer.changed_by, pointer.changed_at = who, now
        session.add(pointer)
        await _audit(session, f"rule.{kind}", pointer.rule, self.clock, **details)
        return pointer

    async def _lock(self, session: AsyncSession, rule: str) -> PointerRow:
        """The pointer of ``rule``, made where there is none, locked to the end of the transaction.

        It is locked by an update that changes nothing: a row lock on PostgreSQL, the turn to write on SQLite. What is
        read afterwards is what the last holder of the lock committed.
        """
        insert = sqlite.insert if self.database.dialect == "sqlite" else postgresql.insert
        first = {"generation": 0, "changed_by": current_principal().id, "changed_at": self.clock.now()}
        await session.exec(insert(PointerRow).values(rule=rule, **first).on_conflict_do_nothing())
        await session.exec(
            update(PointerRow).where(col(PointerRow.rule) == rule).values(generation=PointerRow.generation)
        )
        return (await session.exec(select(PointerRow).where(PointerRow.rule == rule))).one()


async def _first(session: AsyncSession, **wanted: Any) -> VersionRow | None:
    return (await session.exec(select(VersionRow).filter_by(**wanted))).first()


async def _audit(session: AsyncSession, action: str, rule: str, clock: Clock, **details: Any) -> None:
    await record_audit(session, action=action, object_kind="rule", object_id=rule, details=details, clock=clock)
