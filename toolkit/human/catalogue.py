"""The catalogue: what the definitions of an installation know of a task on record, and what an answer must fit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from toolkit.errors import Conflict, InvalidInput
from toolkit.files import File
from toolkit.human.asked import asked_again
from toolkit.human.evidence import shown_digest
from toolkit.human.forms import build_form, check_read_only, with_confidence
from toolkit.human.queries import task_of
from toolkit.human.tasks import Quota, TaskDetail

if TYPE_CHECKING:
    from toolkit.human.human import Human
    from toolkit.human.tables import TaskRow

_LARGEST_OUTPUT = 4_000_000


class Catalogue:
    """Finds the definition of a task by its name; a question that was asked by ``ask`` brings its own along."""

    def __init__(self, humans: Mapping[str, Human[Any, Any]]) -> None:
        self._humans = humans

    def find(self, row: TaskRow) -> Human[Any, Any] | None:
        """The definition that opened ``row``, if this installation has it."""
        return self._humans.get(row.name) or asked_again(row.name, row.input)

    def definition_of(self, row: TaskRow) -> Human[Any, Any]:
        """The definition that opened ``row``.

        Raises:
            Conflict: this installation does not have it.
        """
        human = self.find(row)
        if human is None:
            raise Conflict(
                f"task {row.id!r} was opened by {row.name!r}, which this installation does not define (any more); "
                "register it again to answer the task, or cancel the task",
                state=row.state,
                name=row.name,
            )
        return human

    def valid_output(self, row: TaskRow, output_json: str | bytes) -> str:
        """An answer to ``row`` as it is stored.

        Raises:
            InvalidInput: it does not fit, with an entry for each field that is wrong.
            Conflict: as for :meth:`definition_of`.
        """
        human = self.definition_of(row)
        output = human.output_codec.encode(human.output_codec.parse_json(output_json))
        if len(output) > _LARGEST_OUTPUT:
            message = f"the answer has {len(output):,} characters, at most {_LARGEST_OUTPUT:,} are kept"
            raise InvalidInput(message, errors=[{"loc": "", "msg": message, "type": "too_long"}])
        suggested = None if row.suggested_data is None else from_json(row.suggested_data)
        check_read_only(human.output_schema(), from_json(output), suggested)
        human.check_answer(from_json(row.input), from_json(output))
        return output

    def detail(self, row: TaskRow, *, rejections: Sequence[int] = ()) -> TaskDetail:
        """Everything there is to show of ``row``; ``rejections`` has a 0 or 1 for each vote."""
        human = self.find(row)
        schema = None if human is None else human.output_schema()
        confidence: dict[str, float] = {} if row.confidence is None else from_json(row.confidence)
        quorum = None
        if row.quorum is not None:
            rejected = sum(rejections)
            quorum = Quota(**json.loads(row.quorum), accepted=len(rejections) - rejected, rejected=rejected)
        return TaskDetail(
            **task_of(row).model_dump(),
            description=row.description,
            input=from_json(row.input),
            suggested_data=None if row.suggested_data is None else from_json(row.suggested_data),
            confidence=confidence,
            files=[File.model_validate(each) for each in from_json(row.files)],
            output=None if row.output is None else from_json(row.output),
            output_schema=schema,
            form=None if schema is None else with_confidence(build_form(schema), confidence),
            is_form_changed=human is None or human.output_schema_digest != row.output_schema_digest,
            candidates=json.loads(row.candidates),
            four_eyes=bool(row.four_eyes),
            quorum=quorum,
            next_at=row.next_at,
            seen=shown_digest(row, form_digest=human.output_schema_digest if human else None),
        )
