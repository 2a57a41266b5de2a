"""The agents of one installation: which there are, their versions, and which of those is active.

Nothing is kept in memory: an agent that begins its work in a run reads what is active then, and records it. So every
process follows a change at once, and a run stays with what it began with.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from toolkit.agents.changes import Changes, Definition
from toolkit.agents.data_sets import DataSets
from toolkit.agents.evaluation_service import EvaluationService
from toolkit.agents.event_log import AgentEventLog
from toolkit.errors import ConfigurationError, Conflict, DefinitionError, InvalidInput, NotFound
from toolkit.ids import new_id

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

    from toolkit.agents.agent import Agent
    from toolkit.agents.model_registry import ModelRegistry
    from toolkit.agents.tables import AgentPointerRow, AgentVersionRow
    from toolkit.storage import Database

logger = logging.getLogger(__name__)

Kind = Literal["activated", "rolled_back", "deactivated"]


class AgentSummary(BaseModel):
    """One agent as it stands."""

    model_config = ConfigDict(frozen=True)

    name: str
    active_version: int | None
    """None: the agent's own code."""
    system_prompt: str
    user_prompt: str
    model: str
    model_parameters: dict[str, Any]
    max_turns: int
    tools: dict[str, str]
    """Each tool with its effect."""
    needs_approval: list[str]
    """The tools of which no call runs before a person has approved it."""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


class AgentVersion(BaseModel):
    """One version of an agent."""

    model_config = ConfigDict(frozen=True)

    agent: str
    number: int
    changes: Changes
    note: str | None
    created_by: str
    created_at: datetime
    active: bool


class AgentDifference(BaseModel):
    """What differs between two versions of an agent, or between its code (``null``) and a version."""

    before: int | None
    after: int | None
    differences: dict[str, str]
    """By field, as a unified diff."""


class AgentService:
    """Versions of agents, whoever asks for them: the REST interface, the console, and the agents themselves."""

    def __init__(self, database: Database, agents: Iterable[Agent[Any, Any]], *, models: ModelRegistry) -> None:
        self._database, self._models = database, models
        self.events = AgentEventLog(database)
        self.data_sets = DataSets(database)
        self.evaluations = EvaluationService(database, self)
        self._agents: Mapping[str, Agent[Any, Any]] = {agent.name: agent for agent in agents}

    # What there is ------------------------------------------------------------------------------------------------

    async def list_agents(self) -> list[AgentSummary]:
        """Every agent of this installation, by name."""
        return [await self.get_agent(name) for name in sorted(self._agents)]

    async def get_agent(self, name: str) -> AgentSummary:
        """One agent as it would be run now.

        Raises:
            NotFound: no agent has the name.
        """
        agent = self.find(name)
        definition = await self.active(agent)
        return AgentSummary(
            name=name,
            active_version=definition.number,
            tools={tool.name: tool.effect for tool in agent.tools},
            needs_approval=[tool.name for tool in agent.tools if tool.is_gated],
            input_schema=agent.input_schema(),
            output_schema=agent.output_schema(),
            **definition.summary(),
        )

    async def versions(self, name: str) -> list[AgentVersion]:
        """Every version of an agent, newest first.

        Raises:
            NotFound: no agent has the name.
        """
        from sqlmodel import col, select

        from toolkit.agents.tables import AgentVersionRow

        self.find(name)
        query = (
            select(AgentVersionRow).where(AgentVersionRow.agent == name).order_by(col(AgentVersionRow.number).desc())
        )
        async with self._database.session() as session:
            active = await _active_number(session, name)
            return [_version(row, active=active) for row in await session.exec(query)]

    async def version(self, name: str, number: int) -> AgentVersion:
        """One version.

        Raises:
            NotFound: no such agent or version.
        """
        self.find(name)
        async with self._database.session() as session:
            row = await _row(session, name, number)
            return _version(row, active=await _active_number(session, name))

    async def compare(self, name: str, before: int | None, after: int | None) -> AgentDifference:
        """What differs between two versions; None is the agent's code.

        Raises:
            NotFound: no such agent or version.
        """
        agent = self.find(name)
        old, new = [(await self.definition(agent, number)).summary() for number in (before, after)]
        return AgentDifference(
            before=before,
            after=after,
            differences={field: _diff(old[field], new[field]) for field in old if old[field] != new[field]},
        )

    async def active(self, agent: Agent[Any, Any]) -> Definition:
        """The agent as it would be run now."""
        async with self._database.session() as session:
            number = await _active_number(session, agent.name)
        return await self.definition(agent, number)

    async def definition(self, agent: Agent[Any, Any], number: int | None) -> Definition:
        """The agent by one of its versions, or by its code.

        Raises:
            NotFound: it has no such version.
        """
        if number is None:
            return Definition(agent)
        async with self._database.session() as session:
            row = await _row(session, agent.name, number)
        return Definition(agent, Changes.model_validate_json(row.changes), number=number)

    def check_model(self, key: str, *, wanted_by: str) -> None:
        """See that there is a model for ``key``.

        Raises:
            ConfigurationError: there is none.
        """
        self._models.check_model(key, wanted_by=wanted_by)

    def draft(self, name: str, changes: Changes) -> Definition:
        """The agent as ``changes`` would make it, checked like a version and kept nowhere.

        Raises:
            NotFound: no agent has the name.
            InvalidInput: it could not be run.
        """
        agent = self.find(name)
        self._check(agent, changes)
        return Definition(agent, changes)

    # Changing it --------------------------------------------------------------------------------------------------

    async def add(self, name: str, changes: Changes, *, note: str | None = None) -> AgentVersion:
        """Check ``changes`` and keep them as the next version; nothing is activated.

        Raises:
            NotFound: no agent has the name.
            InvalidInput: a prompt is no template or reads what the input lacks, or the model is not configured.
        """
        from sqlmodel import func, select

        from toolkit.access import current_principal, record_audit
        from toolkit.agents.tables import AgentVersionRow

        self._check(self.find(name), changes)
        async with self._database.session() as session:
            await _locked_pointer(session, name)
            query = select(func.max(AgentVersionRow.number)).where(AgentVersionRow.agent == name)
            number = ((await session.exec(query)).one() or 0) + 1
            row = AgentVersionRow(
                id=new_id(),
                agent=name,
                number=number,
                changes=changes.model_dump_json(exclude_none=True),
                note=note,
                created_by=current_principal().id,
                created_at=self._database.clock.now(),
            )
            session.add(row)
            await record_audit(
                session,
                action="agent.version_added",
                object_kind="agent",
                object_id=name,
                details={"version": number, "fields": sorted(changes.model_dump(exclude_none=True))},
            )
        return _version(row, active=None)

    async def activate(self, name: str, number: int, *, reason: str | None = None) -> AgentSummary:
        """Let version ``number`` hold for runs that have not asked the agent yet.

        Raises:
            NotFound: no such agent or version.
            InvalidInput: it does not fit the agent's code of today, or the configuration.
            Conflict: it is active already, or has not passed the evaluation that the agent requires.
        """
        agent = self.find(name)
        self._check(agent, (await self.version(name, number)).changes)
        await self.evaluations.require_passed(agent, number)
        return await self._point(agent, number, kind="activated", reason=reason)

    async def deactivate(self, name: str, *, reason: str | None = None) -> AgentSummary:
        """Let the agent's own code hold again.

        Raises:
            NotFound: no such agent.
            Conflict: it does already.
        """
        return await self._point(self.find(name), None, kind="deactivated", reason=reason)

    async def roll_back(self, name: str, *, reason: str | None = None) -> AgentSummary:
        """Let hold what held before the present version was activated; again and again, back to the code.

        Raises:
            NotFound: no such agent.
            Conflict: nothing was activated before.
        """
        from toolkit.agents.tables import AgentActivationRow

        agent = self.find(name)
        async with self._database.session() as session:
            pointer = await _locked_pointer(session, name)
            present = await session.get(AgentActivationRow, pointer.activation_id) if pointer.activation_id else None
            if present is None:
                raise Conflict(f"agent {name!r} goes by its code; there is nothing to roll back to", agent=name)
            before = await session.get(AgentActivationRow, present.previous_id) if present.previous_id else None
            await self._move(
                session,
                pointer,
                before.version if before else None,
                kind="rolled_back",
                reason=reason,
                # As if the present version had never been: the next rollback goes one further back.
                previous_id=before.previous_id if before else None,
            )
            if before is None:
                pointer.activation_id = None
        return await self.get_agent(agent.name)

    async def _point(
        self, agent: Agent[Any, Any], number: int | None, *, kind: Kind, reason: str | None
    ) -> AgentSummary:
        async with self._database.session() as session:
            pointer = await _locked_pointer(session, agent.name)
            if pointer.active_version == number:
                what = "its code" if number is None else f"version {number}"
                raise Conflict(f"agent {agent.name!r} goes by {what} already", agent=agent.name, version=number)
            await self._move(session, pointer, number, kind=kind, reason=reason, previous_id=pointer.activation_id)
        return await self.get_agent(agent.name)

    async def _move(
        self,
        session: AsyncSession,
        pointer: AgentPointerRow,
        number: int | None,
        *,
        kind: Kind,
        reason: str | None,
        previous_id: str | None,
    ) -> None:
        """Change the pointer, with its history and its audit entry, in the caller's transaction."""
        from toolkit.access import current_principal, record_audit
        from toolkit.agents.tables import AgentActivationRow

        activation = AgentActivationRow(
            id=new_id(),
            agent=pointer.agent,
            version=number,
            kind=kind,
            reason=reason,
            previous_id=previous_id,
            changed_by=current_principal().id,
            changed_at=self._database.clock.now(),
        )
        details = {"version": number, "before": pointer.active_version, "reason": reason}
        session.add(activation)
        pointer.active_version, pointer.activation_id = number, activation.id
        session.add(pointer)
        await record_audit(
            session, action=f"agent.{kind}", object_kind="agent", object_id=pointer.agent, details=details
        )
        logger.info(
            "What an agent goes by was changed",
            extra={"event": "agent.changed", "agent": pointer.agent, "version": number, "kind": kind},
        )

    async def close(self) -> None:
        """Write what agents have told and is not written yet."""
        await self.events.close()

    def find(self, name: str) -> Agent[Any, Any]:
        """The agent of this name.

        Raises:
            NotFound: there is none.
        """
        if name not in self._agents:
            raise NotFound("agent", name, known=list(self._agents))
        return self._agents[name]

    def _check(self, agent: Agent[Any, Any], changes: Changes) -> None:
        try:
            definition = Definition(agent, changes)
            self._models.check_model(
                definition.model, wanted_by=f"agent {agent.name!r}", is_priced=definition.limits.cost is not None
            )
        except (DefinitionError, ConfigurationError) as error:
            field = "model" if isinstance(error, ConfigurationError) else "prompts"
            raise InvalidInput(str(error), errors=[{"loc": f"changes.{field}", "msg": str(error)}]) from error


async def _locked_pointer(session: AsyncSession, agent: str) -> AgentPointerRow:
    """The pointer of ``agent``, which nobody else changes until this transaction ends."""
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlmodel import col, update

    from toolkit.agents.tables import AgentPointerRow

    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    await session.exec(insert(AgentPointerRow).values(agent=agent, generation=0).on_conflict_do_nothing())
    # An update is a lock on both databases.
    await session.exec(
        update(AgentPointerRow)
        .where(col(AgentPointerRow.agent) == agent)
        .values(generation=col(AgentPointerRow.generation) + 1)
    )
    pointer = await session.get(AgentPointerRow, agent)
    assert pointer is not None
    return pointer


async def _active_number(session: AsyncSession, agent: str) -> int | None:
    from toolkit.agents.tables import AgentPointerRow

    pointer = await session.get(AgentPointerRow, agent)
    return pointer.active_version if pointer is not None else None


async def _row(session: AsyncSession, agent: str, number: int) -> AgentVersionRow:
    from sqlmodel import select

    from toolkit.agents.tables import AgentVersionRow

    query = select(AgentVersionRow).where(AgentVersionRow.agent == agent, AgentVersionRow.number == number)
    row = (await session.exec(query)).first()
    if row is None:
        raise NotFound("version", f"{agent}/{number}")
    return row


def _version(row: AgentVersionRow, *, active: int | None) -> AgentVersion:
    return AgentVersion(
        **row.model_dump(exclude={"id", "changes"}),
        changes=Changes.model_validate_json(row.changes),
        active=row.number == active,
    )


def _diff(before: Any, after: Any) -> str:
    return "\n".join(difflib.unified_diff(_lines(before), _lines(after), lineterm="", n=2))


def _lines(value: Any) -> list[str]:
    return (value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True)).splitlines()
