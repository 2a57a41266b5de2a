"""The evaluations of one installation: begun, looked up, compared, and asked for before an activation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from toolkit.agents.changes import Changes
from toolkit.agents.data_sets import Case, read_input
from toolkit.agents.evaluations import (
    EvaluationComparison,
    EvaluationPlan,
    EvaluationReport,
    Gate,
    compare_reports,
    evaluate_agent,
)
from toolkit.agents.scorers import Custom, Exact, Judge, Scorer, custom_scorers
from toolkit.errors import ConfigurationError, Conflict, InvalidInput, NotFound
from toolkit.ids import new_id

if TYPE_CHECKING:
    from toolkit.agents.agent import Agent
    from toolkit.agents.service import AgentService
    from toolkit.agents.tables import EvaluationRow
    from toolkit.storage import Database
    from toolkit.workflows import Engine, RunHandle


class Evaluation(BaseModel):
    """One evaluation, with its report once it has ended."""

    model_config = ConfigDict(frozen=True)

    id: str
    agent: str
    data_set: str
    version: int | None
    """Null: the agent's code, or a draft."""
    run_id: str | None
    passed: bool | None
    """Null while it is under way."""
    started_by: str
    started_at: datetime
    report: EvaluationReport | None = None


class EvaluationService:
    """Evaluations, whoever asks for them."""

    def __init__(self, database: Database, agents: AgentService) -> None:
        self._database, self._agents = database, agents

    async def begin(
        self,
        engine: Engine,
        name: str,
        data_set: str,
        *,
        cases: Sequence[Case] | None = None,
        version: int | None = None,
        changes: Changes | None = None,
        scorers: Sequence[Scorer] = (Exact(),),
        gate: Gate | None = None,
        concurrency: int = 4,
    ) -> tuple[Evaluation, RunHandle[EvaluationReport]]:
        """Start the run that evaluates an agent on a stored data set, or on ``cases`` that go by that name.

        Raises:
            NotFound: no such agent, version, or stored case.
            InvalidInput: a case or a scorer does not fit the agent, or the draft could not be run.
        """
        from toolkit.access import current_principal, record_audit
        from toolkit.agents.tables import EvaluationRow

        agent = self._agents.find(name)
        stored = cases if cases is not None else await self._agents.data_sets.list(name, data_set)
        settled = [Case.model_validate(case.model_dump(include=set(Case.model_fields))) for case in stored]
        if not settled:
            raise NotFound("case in data set", f"{name}/{data_set}")
        if changes is not None:
            self._agents.draft(name, changes)
        elif version is not None:
            await self._agents.version(name, version)
        for case in settled:
            read_input(agent, case)
        self._check_scorers(agent, scorers)
        row = EvaluationRow(
            id=new_id(),
            agent=name,
            data_set=data_set,
            version=version,
            started_by=current_principal().id,
            started_at=self._database.clock.now(),
        )
        plan = EvaluationPlan(
            evaluation_id=row.id,
            agent=name,
            data_set=data_set,
            version=version,
            changes=changes,
            scorers=tuple(scorers),
            gate=gate or Gate(),
            concurrency=concurrency,
        )
        async with self._database.session() as session:
            session.add(row)
            await record_audit(
                session,
                action="agent.evaluation_started",
                object_kind="agent",
                object_id=name,
                details={"evaluation": row.id, "data_set": data_set, "version": version},
            )
        run = await engine.start(
            evaluate_agent, plan, settled, idempotency_key=f"evaluation {row.id}", started_by=row.started_by
        )
        async with self._database.session() as session:
            kept = await session.get(EvaluationRow, row.id)
            assert kept is not None  # written just now
            kept.run_id = run.id
            session.add(kept)
        return await self.get(name, row.id), run

    async def list(self, name: str, *, after: str | None = None, limit: int = 50) -> list[Evaluation]:
        """Evaluations of an agent, newest first, without their reports.

        Raises:
            NotFound: no agent has the name.
        """
        from sqlmodel import col, select

        from toolkit.agents.tables import EvaluationRow

        self._agents.find(name)
        query = select(EvaluationRow).where(EvaluationRow.agent == name).order_by(col(EvaluationRow.id).desc())
        if after is not None:
            query = query.where(EvaluationRow.id < after)
        async with self._database.session() as session:
            return [_evaluation(row, with_report=False) for row in (await session.exec(query.limit(limit))).all()]

    async def get(self, name: str, evaluation_id: str) -> Evaluation:
        """One evaluation.

        Raises:
            NotFound: the agent has none of this id.
        """
        from toolkit.agents.tables import EvaluationRow

        async with self._database.session() as session:
            row = await session.get(EvaluationRow, evaluation_id)
        if row is None or row.agent != name:
            raise NotFound("evaluation", f"{name}/{evaluation_id}")
        return _evaluation(row, with_report=True)

    async def compare(self, name: str, before: str, after: str) -> EvaluationComparison:
        """How a later evaluation differs from an earlier one.

        Raises:
            NotFound: there is no such evaluation.
            Conflict: one has not ended.
        """
        reports = []
        for evaluation_id in (before, after):
            found = await self.get(name, evaluation_id)
            if found.report is None:
                raise Conflict(f"evaluation {evaluation_id!r} has not ended", evaluation=evaluation_id)
            reports.append(found.report)
        return compare_reports(*reports)

    async def require_passed(self, agent: Agent[Any, Any], version: int) -> None:
        """See that ``version`` has passed the evaluation that ``agent`` requires of it; its newest one counts.

        Raises:
            Conflict: it has not.
        """
        if agent.activation_requires is None:
            return
        from sqlmodel import col, select

        from toolkit.agents.tables import EvaluationRow

        query = (
            select(EvaluationRow.passed)
            .where(EvaluationRow.agent == agent.name, EvaluationRow.version == version)
            .where(EvaluationRow.data_set == agent.activation_requires, col(EvaluationRow.passed).is_not(None))
            .order_by(col(EvaluationRow.id).desc())
        )
        async with self._database.session() as session:
            newest = (await session.exec(query)).first()
        if not newest:
            what = "was not evaluated" if newest is None else "did not pass"
            raise Conflict(
                f"version {version} of agent {agent.name!r} {what} on {agent.activation_requires!r}, which its "
                "activation requires; evaluate it, and activate it when it passes",
                agent=agent.name,
                version=version,
                data_set=agent.activation_requires,
            )

    def _check_scorers(self, agent: Agent[Any, Any], scorers: Sequence[Scorer]) -> None:
        known = custom_scorers(agent.scorers, agent=agent.name)
        for at, scorer in enumerate(scorers):
            wrong = ""
            if isinstance(scorer, Custom) and scorer.name not in known:
                wrong = (
                    f"agent {agent.name!r} has no scorer {scorer.name!r}; it has: {', '.join(sorted(known)) or 'none'}"
                )
            if isinstance(scorer, Judge):
                try:
                    self._agents.check_model(scorer.model, wanted_by="the judge of an evaluation")
                except ConfigurationError as error:
                    wrong = str(error)
            if wrong:
                raise InvalidInput(wrong, errors=[{"loc": f"scorers.{at}", "msg": wrong, "type": "scorer"}])


def _evaluation(row: EvaluationRow, *, with_report: bool) -> Evaluation:
    report = EvaluationReport.model_validate_json(row.report) if with_report and row.report else None
    return Evaluation(**row.model_dump(exclude={"report"}), report=report)
