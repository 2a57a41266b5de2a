"""Life cycles: which states a status may have, and which moves between them are allowed under which condition."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Field

from toolkit.errors import DefinitionError, TransitionRefused

logger = logging.getLogger(__name__)

INFO_KEY: Final = "toolkit.life_cycle"
"""Where a column keeps its life cycle."""


@dataclass(frozen=True)
class Guard:
    """A condition that a business person can read, and the plain function of the entity that tells whether it holds."""

    description: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Transition:
    """An allowed move from one state to another, under all of its guards."""

    source: str
    target: str
    guards: tuple[Guard, ...] = ()

    @classmethod
    def between(cls, source: str, target: str, *guards: Guard) -> Transition:
        """``Transition.between("draft", "approved", Guard("a total is known", lambda invoice: ...))``."""
        return cls(source, target, guards)


@dataclass(frozen=True)
class LifeCycle:
    """The states of one status; the first is where an entity begins."""

    states: tuple[str, ...]
    transitions: tuple[Transition, ...]

    @property
    def initial(self) -> str:
        return self.states[0]

    @property
    def final(self) -> tuple[str, ...]:
        """The states that no move leaves."""
        left = {transition.source for transition in self.transitions}
        return tuple(state for state in self.states if state not in left)

    def moves_from(self, state: str) -> list[Transition]:
        """The moves that leave ``state``, in the order of their declaration."""
        return [transition for transition in self.transitions if transition.source == state]

    def allowed_from(self, state: str, entity: Any) -> list[str]:
        """The states that ``entity`` may go to now, its guards considered."""
        return [move.target for move in self.moves_from(state) if not unmet(move, entity)]

    def check_beginning(self, state: str, *, entity: str, entity_id: str) -> None:
        """Refuse an entity that would begin anywhere else than in the initial state.

        Raises:
            TransitionRefused
        """
        if state != self.initial:
            raise TransitionRefused(entity, entity_id, source=None, target=state, allowed=[self.initial])

    def check_move(self, source: str, target: str, subject: Any, *, entity: str, entity_id: str) -> None:
        """Refuse a move that is not declared, or whose guards do not hold.

        Raises:
            TransitionRefused: with the moves that are allowed.
        """
        declared = {move.target: move for move in self.moves_from(source)}
        missing = unmet(declared[target], subject) if target in declared else []
        if target in declared and not missing:
            return
        raise TransitionRefused(
            entity,
            entity_id,
            source=source,
            target=target,
            allowed=self.allowed_from(source, subject),
            unmet=[guard.description for guard in missing],
        )

    def diagram(self) -> str:
        """The life cycle as a state diagram of Mermaid, guards on the arrows."""
        lines = ["stateDiagram-v2", f"    [*] --> {_node(self.initial)}"]
        lines += [f'    state "{state}" as {_node(state)}' for state in self.states if _node(state) != state]
        for move in self.transitions:
            label = _label(move.guards)
            lines.append(f"    {_node(move.source)} --> {_node(move.target)}" + (f" : {label}" if label else ""))
        lines += [f"    {_node(state)} --> [*]" for state in self.final]
        return "\n".join(lines) + "\n"

    def described(self) -> dict[str, Any]:
        """The life cycle as JSON-able values, for people and programs that have no Python at hand."""
        return {
            "states": list(self.states),
            "initial": self.initial,
            "final": list(self.final),
            "transitions": [
                {
                    "from": move.source,
                    "to": move.target,
                    "when": [guard.description for guard in move.guards],
                }
                for move in self.transitions
            ],
            "diagram": self.diagram(),
        }


def StatusField(  # noqa: N802 - it stands where Field stands
    *,
    states: Sequence[str],
    transitions: Mapping[str, Iterable[str]] | Iterable[Transition],
    **field: Any,
) -> Any:
    """A field of an :class:`Entity` whose moves are checked, recorded and can start workflows.

    ``states`` begins with the initial one. ``transitions`` maps each state to those it may become, or lists
    :class:`Transition` objects with guards. ``field`` goes to SQLModel's ``Field``.

    Raises:
        DefinitionError: a transition names a state that is not declared, or stands twice.
    """
    cycle = LifeCycle(tuple(states), tuple(_read(transitions)))
    _check(cycle)
    return Field(
        default=cycle.initial,
        index=field.pop("index", True),
        schema_extra={"json_schema_extra": {"enum": list(cycle.states)}},
        sa_column_kwargs={"info": {INFO_KEY: cycle}, **field.pop("sa_column_kwargs", {})},
        **field,
    )


def unmet(transition: Transition, entity: Any) -> list[Guard]:
    """The guards of ``transition`` that do not hold for ``entity``."""
    return [guard for guard in transition.guards if not _holds(guard, entity)]


def _holds(guard: Guard, entity: Any) -> bool:
    """Whether ``guard`` can say that it holds: of a field without a value it may be unable to, and that is no."""
    try:
        return bool(guard.holds(entity))
    except Exception as error:  # noqa: BLE001 - an author's function may raise anything
        # Its type alone: the text may tell what the row says.
        logger.warning(
            "A guard raised instead of an answer, so the move is refused",
            extra={"event": "entity.guard_failed", "guard": guard.description, "error": type(error).__name__},
        )
        return False


def _read(found: Mapping[str, Iterable[str]] | Iterable[Transition]) -> Iterable[Transition]:
    if isinstance(found, Mapping):
        for source, targets in found.items():
            for target in targets:
                yield Transition(source, target)
    else:
        yield from found


def _check(cycle: LifeCycle) -> None:
    if not cycle.states or len(set(cycle.states)) != len(cycle.states):
        raise DefinitionError(f"the states of a status are {cycle.states!r}; expected at least one, each once")
    seen: set[tuple[str, str]] = set()
    for move in cycle.transitions:
        for state in (move.source, move.target):
            if state not in cycle.states:
                raise DefinitionError(
                    f"a transition names the state {state!r}, which is none of {', '.join(map(repr, cycle.states))}"
                )
        if (move.source, move.target) in seen or move.source == move.target:
            raise DefinitionError(
                f"the transition from {move.source!r} to {move.target!r} "
                + ("leads nowhere" if move.source == move.target else "is declared twice; give one of them all guards")
            )
        seen.add((move.source, move.target))


def _node(state: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in state)


def _label(guards: Sequence[Guard]) -> str:
    """A colon or a line end would end the label."""
    text = " and ".join(guard.description for guard in guards)
    return " ".join(text.replace(":", " ").replace(";", ",").split())
