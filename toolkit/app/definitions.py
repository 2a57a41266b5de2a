"""What one application is made of: its workflows, agents, rules, human tasks and entities, each by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.app.references import place_of, referred_by
from toolkit.errors import DefinitionError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from toolkit.agents import Agent
    from toolkit.app.installation import Installation
    from toolkit.entities import Registration
    from toolkit.files import Scan
    from toolkit.human import Human
    from toolkit.rules import Rule
    from toolkit.storage import PayloadCodec
    from toolkit.workflows import Schedule, Workflow


@dataclass(kw_only=True)
class Definitions:
    """Kept by each application for itself: two of them in one process do not meet."""

    folder: Path | None = None
    """Where its code is, and its migrations."""
    workflows: dict[str, Workflow[..., Any]] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    agents: dict[str, Agent[Any, Any]] = field(default_factory=dict)
    rules: dict[str, Rule[Any, Any]] = field(default_factory=dict)
    humans: dict[str, Human[Any, Any]] = field(default_factory=dict)
    entities: dict[str, type[Any]] = field(default_factory=dict)
    registrations: dict[str, Registration] = field(default_factory=dict)
    routers: list[APIRouter] = field(default_factory=list)
    model_factories: dict[str, Callable[..., Any]] = field(default_factory=dict)
    scan: Scan | None = None
    payload_codec: PayloadCodec | None = None
    on_start: list[Callable[[Installation], Awaitable[None]]] = field(default_factory=list)

    def add_workflow(self, workflow: Workflow[..., Any]) -> None:
        """Take in a workflow with all that it refers to, through its steps, children, rules and agents' tools."""
        self._take_in(self.workflows, "workflow", _Kinds().workflow, workflow)

    def add_schedule(self, schedule: Schedule) -> None:
        """Take in a schedule with the workflow that it starts."""
        from toolkit.workflows import Schedule

        if not isinstance(schedule, Schedule):
            raise DefinitionError(
                f"found {schedule!r} where a schedule was expected: Schedule(name, workflow, cron=...)"
            )
        schedule.check_arguments()
        self.add_workflow(schedule.workflow)
        _keep(self.schedules, "schedule", schedule.name, schedule)

    def add_agent(self, agent: Agent[Any, Any]) -> None:
        """Take in an agent with what its tools refer to."""
        self._take_in(self.agents, "agent", _Kinds().agent, agent)

    def add_rule(self, rule: Rule[Any, Any]) -> None:
        """Take in a rule with what its function refers to."""
        self._take_in(self.rules, "rule", _Kinds().rule, rule)

    def add_human(self, human: Human[Any, Any]) -> None:
        """Take in a human task."""
        self._take_in(self.humans, "human task", _Kinds().human, human)

    def add_entity(
        self,
        entity: type[Any],
        *,
        name: str | None = None,
        is_read_only: bool = False,
        read_only: Collection[str] = (),
        hidden: Collection[str] = (),
    ) -> None:
        """Take in a SQLModel class that is a table; its table is made at start when it is missing."""
        if not isinstance(entity, type) or getattr(entity, "__table__", None) is None:
            raise DefinitionError(
                f"register_entity takes a SQLModel class with table=True, found {entity!r}; "
                "other models need no registration"
            )
        from toolkit.entities import Registration, entity_name

        _keep(self.entities, "entity", entity.__name__, entity)
        self.registrations[entity.__name__] = Registration(
            entity,
            name or entity_name(entity),
            is_read_only=is_read_only,
            read_only_fields=tuple(read_only),
            hidden_fields=tuple(hidden),
        )

    def add_model_factory(self, name: str, factory: Callable[..., Any]) -> None:
        """Take in what makes the models of one key or provider."""
        _keep(self.model_factories, "model factory", name, factory)

    def _take_in(self, place: dict[str, Any], kind: str, expected: type[Any], definition: Any) -> None:
        if not isinstance(definition, expected):
            hint = (
                "; did you forget the decorator?" if callable(definition) and not isinstance(definition, type) else ""
            )
            raise DefinitionError(
                f"found {definition!r} where a {kind} was expected (an instance of {expected.__qualname__}){hint}"
            )
        _keep(place, kind, getattr(definition, "key", definition.name), definition)  # a workflow's holds its version
        self._follow(definition)

    def _follow(self, definition: Any) -> None:
        """Take in what ``definition`` refers to, and what that refers to; everything once."""
        kinds = _Kinds()
        seen = {id(definition)}
        waiting = [definition]
        while waiting:
            for function in _functions_of(waiting.pop()):
                for found in referred_by(function, wanted=kinds.all):
                    if id(found) in seen:
                        continue
                    seen.add(id(found))
                    found = getattr(found, "workflow", found)  # noqa: PLW2901 - a workflow with options is that workflow
                    waiting.append(found)
                    self._keep_found(kinds, found)

    def _keep_found(self, kinds: _Kinds, found: Any) -> None:
        if isinstance(found, kinds.workflow):
            _keep(self.workflows, "workflow", found.key, found)  # versions of one workflow stand side by side
        elif isinstance(found, kinds.agent):
            _keep(self.agents, "agent", found.name, found)
        elif isinstance(found, kinds.rule):
            _keep(self.rules, "rule", found.name, found)
        elif isinstance(found, kinds.human):
            _keep(self.humans, "human task", found.name, found)
        # A step needs no place of its own: its name counts within its run, and two workflows may each have a `notify`.


class _Kinds:
    """The classes of definitions; imported late, because an application is imported before anything runs."""

    def __init__(self) -> None:
        from toolkit.agents import Agent
        from toolkit.human import Human
        from toolkit.rules import Rule
        from toolkit.workflows import ConfiguredWorkflow, Step, Workflow

        self.workflow, self.agent, self.rule, self.human = Workflow, Agent, Rule, Human
        self.all: tuple[type[Any], ...] = (Workflow, ConfiguredWorkflow, Step, Agent, Rule, Human)


def _functions_of(definition: Any) -> Iterator[Callable[..., Any]]:
    """The author's functions in a definition: the decorated one, or the tools of an agent."""
    function = getattr(definition, "__wrapped__", None)
    if callable(function):
        yield function
    if (clean_up := getattr(definition, "on_cancel", None)) is not None:
        yield lambda: clean_up
    for tool in getattr(definition, "tools", ()):
        yield getattr(tool, "function", tool)


def _keep(place: dict[str, Any], kind: str, name: str, definition: Any) -> None:
    """Keep ``definition`` under its name; the same one twice is nothing new, another one is an error."""
    known = place.setdefault(name, definition)
    if known is not definition:
        raise DefinitionError(
            f"two {kind} definitions are called {name!r}: one at {place_of(known)}, one at {place_of(definition)}; "
            "give one of them another name"
        )
