"""Workflows that start when an entity changes its state: in the transaction of the change, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict

from toolkit.errors import DefinitionError
from toolkit.workflows import Workflow

W = TypeVar("W", bound=Workflow[Any, Any])


class Move(BaseModel):
    """What a workflow is told of the move that started it; ``from_state`` is ``None`` for a new entity."""

    model_config = ConfigDict(frozen=True)

    id: str
    entity: str
    """The name of its table."""
    entity_id: str
    field: str
    from_state: str | None
    to_state: str
    at: datetime
    by: str


@dataclass(frozen=True)
class Trigger:
    """Which moves of which entity start a workflow; what is ``None`` does not matter."""

    entity: type[Any]
    from_state: str | None
    to_state: str | None

    def fits(self, entity: type[Any], move: Move) -> bool:
        return (
            issubclass(entity, self.entity)
            and self.from_state in {None, move.from_state}
            and self.to_state in {None, move.to_state}
        )


_declared: WeakKeyDictionary[Workflow[Any, Any], list[Trigger]] = WeakKeyDictionary()


def on_transition(entity: type[Any], *, to: str | None = None, source: str | None = None) -> Callable[[W], W]:
    """Start the decorated workflow with a :class:`Move` whenever an ``entity`` goes from ``source`` to ``to``.

    Its run comes to be in the transaction of the move: both or neither, and once. It holds in each application that
    registers the workflow::

        @on_transition(Invoice, to="approved")
        @workflow()
        async def pay_invoice(move: Move) -> None: ...

    Raises:
        DefinitionError: below it stands no workflow, or one that does not take one argument.
    """

    def declare(workflow: W) -> W:
        if not isinstance(workflow, Workflow):
            raise DefinitionError(f"@on_transition stands above @workflow(), found {workflow!r} below it")
        taken = workflow.input_schema().get("properties", {})
        if len(taken) != 1:
            raise DefinitionError(
                f"workflow {workflow.name!r} takes {len(taken)} arguments; started by a move it gets one, a Move"
            )
        _declared.setdefault(workflow, []).append(Trigger(entity, source, to))
        return workflow

    return declare


class Triggers:
    """The workflows of one installation that moves may start."""

    def __init__(self, workflows: Iterable[Workflow[Any, Any]]) -> None:
        self._all = [(trigger, workflow) for workflow in workflows for trigger in _declared.get(workflow, ())]

    def started_by(self, entity: type[Any], move: Move) -> list[Workflow[Any, Any]]:
        """The workflows that ``move`` starts, each once."""
        return list({workflow.name: workflow for trigger, workflow in self._all if trigger.fits(entity, move)}.values())
