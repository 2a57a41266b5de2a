"""Data sets: cases that an agent is measured by, made by hand or captured from what it did in finished runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from toolkit.errors import ConfigurationError, InvalidInput, NotFound
from toolkit.files import File
from toolkit.ids import new_id
from toolkit.serialization import codec_for, field_errors

if TYPE_CHECKING:
    from toolkit.agents.agent import Agent
    from toolkit.agents.tables import EvaluationCaseRow
    from toolkit.storage import Database
    from toolkit.workflows import Engine

CaseName = Annotated[str, Field(min_length=1, max_length=200)]


class Case(BaseModel):
    """An input, and what is expected of it. Both are JSON values; a scorer may need no expectation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: CaseName
    input: Any
    expected: Any = None
    files: tuple[File, ...] = ()
    note: str | None = None


class StoredCase(Case):
    """A case that is kept."""

    data_set: str
    created_by: str
    created_at: datetime


class _InFile(BaseModel):
    """A file of cases; the names of pydantic-evals are understood as well."""

    model_config = ConfigDict(extra="ignore")

    cases: list[dict[str, Any]]


class DataSets:
    """The stored cases of an installation's agents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, agent: str, data_set: str) -> list[StoredCase]:
        """Every case of a data set, by name."""
        from sqlmodel import col, select

        from toolkit.agents.tables import EvaluationCaseRow

        query = (
            select(EvaluationCaseRow)
            .where(EvaluationCaseRow.agent == agent, EvaluationCaseRow.data_set == data_set)
            .order_by(col(EvaluationCaseRow.name))
        )
        async with self._database.session() as session:
            return [_stored(row) for row in (await session.exec(query)).all()]

    async def put(self, agent: Agent[Any, Any], data_set: str, case: Case) -> StoredCase:
        """Keep ``case``, in place of one of the same name.

        Raises:
            InvalidInput: the agent does not take the input.
        """
        from sqlmodel import col, delete

        from toolkit.access import current_principal, record_audit
        from toolkit.agents.tables import EvaluationCaseRow

        read_input(agent, case)
        row = EvaluationCaseRow(
            id=new_id(),
            agent=agent.name,
            data_set=data_set,
            name=case.name,
            input=to_json({"input": case.input, "files": case.files}).decode(),
            expected=None if case.expected is None else to_json(case.expected).decode(),
            note=case.note,
            created_by=current_principal().id,
            created_at=self._database.clock.now(),
        )
        of_case = (
            col(EvaluationCaseRow.agent) == agent.name,
            col(EvaluationCaseRow.data_set) == data_set,
            col(EvaluationCaseRow.name) == case.name,
        )
        async with self._database.session() as session:
            await session.exec(delete(EvaluationCaseRow).where(*of_case))
            session.add(row)
            await record_audit(
                session,
                action="agent.case_stored",
                object_kind="agent",
                object_id=agent.name,
                details={"data_set": data_set, "case": case.name},
            )
        return _stored(row)

    async def remove(self, agent: str, data_set: str, name: str) -> None:
        """Forget a case.

        Raises:
            NotFound: there is none of this name.
        """
        from sqlmodel import col, delete

        from toolkit.access import record_audit
        from toolkit.agents.tables import EvaluationCaseRow

        async with self._database.session() as session:
            of_case = (
                col(EvaluationCaseRow.agent) == agent,
                col(EvaluationCaseRow.data_set) == data_set,
                col(EvaluationCaseRow.name) == name,
            )
            removed = (await session.exec(delete(EvaluationCaseRow).where(*of_case))).rowcount
            if not removed:
                raise NotFound("case", f"{agent}/{data_set}/{name}")
            await record_audit(
                session,
                action="agent.case_removed",
                object_kind="agent",
                object_id=agent,
                details={"data_set": data_set, "case": name},
            )

    async def capture(
        self, engine: Engine, agent: Agent[Any, Any], data_set: str, *, run_id: str, name: str, step: str | None = None
    ) -> StoredCase:
        """Keep what ``agent`` was given and gave back in a finished run; ``step`` says which call, else its first.

        Raises:
            NotFound: no such run, or no call of the agent in it that succeeded.
        """
        steps = [
            found
            for found in await engine.list_steps(run_id)
            if found.kind == "agent" and found.name == agent.name and found.state == "succeeded"
        ]
        if not steps:
            await engine.get_run(run_id)  # NotFound for a run that is not there
        chosen = next((found for found in steps if step in (None, found.path)), None)
        if chosen is None:
            raise NotFound("call of the agent", f"{agent.name} in run {run_id}", known=[found.path for found in steps])
        arguments, result = from_json(chosen.arguments or "{}"), from_json(chosen.result or "{}")
        case = Case(
            name=name,
            input=arguments["input"],
            files=tuple(arguments.get("files", ())),
            expected=result["output"],
            note=f"captured from run {run_id}",
        )
        return await self.put(agent, data_set, case)


def read_input(agent: Agent[Any, Any], case: Case) -> Any:
    """The input of ``case`` as ``agent`` takes it.

    Raises:
        InvalidInput: it does not.
    """
    if agent.input_type is not None:
        return codec_for(agent.input_type).parse(case.input)
    many = case.input if isinstance(case.input, list) else [case.input]
    parts = [File.model_validate(part) if isinstance(part, dict) and "sha256" in part else part for part in many]
    wrong = next((part for part in parts if not isinstance(part, str | File)), None)
    if wrong is not None:
        raise InvalidInput(
            f"case {case.name!r}: agent {agent.name!r} takes text or files, found {type(wrong).__name__}",
            errors=[{"loc": "input", "msg": "Input should be text or a file", "type": "string_type"}],
        )
    return parts if isinstance(case.input, list) else parts[0]


def read_cases(path: Path) -> list[Case]:
    """The cases in a YAML or JSON file: ``cases:`` with ``name``, ``input``, ``expected`` each.

    A file that pydantic-evals wrote says ``inputs`` and ``expected_output``; that is understood as well.

    Raises:
        ConfigurationError: it is not such a file; the message says where.
    """
    import yaml

    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    try:
        found = _InFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        return [_case(entry, number) for number, entry in enumerate(found.cases, start=1)]
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is neither YAML nor JSON: {error}") from error
    except ValidationError as error:
        wrong = field_errors(error)[0]
        raise ConfigurationError(f"{path} does not hold cases: {wrong['loc']}: {wrong['msg']}") from error


def _case(entry: dict[str, Any], number: int) -> Case:
    renamed = {"inputs": "input", "expected_output": "expected"}
    kept = {renamed.get(key, key): value for key, value in entry.items() if key not in ("metadata", "evaluators")}
    return Case.model_validate({"name": f"case {number}", **kept})


def _stored(row: EvaluationCaseRow) -> StoredCase:
    given = from_json(row.input)
    return StoredCase(
        name=row.name,
        input=given["input"],
        files=tuple(given["files"]),
        expected=None if row.expected is None else from_json(row.expected),
        note=row.note,
        data_set=row.data_set,
        created_by=row.created_by,
        created_at=row.created_at,
    )
