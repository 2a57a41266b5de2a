"""What is known of an entity class: its fields, who may write which, and the shapes in which it goes in and out."""

from __future__ import annotations

import re
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.fields import FieldInfo
from sqlalchemy import Column, inspect

from toolkit.entities.changes import life_cycles_of
from toolkit.entities.entity import Entity, History, SoftDelete, own_fields
from toolkit.entities.life_cycles import LifeCycle
from toolkit.errors import DefinitionError

_VIEW = ConfigDict(from_attributes=True, ser_json_bytes="base64")
_BODY = ConfigDict(extra="forbid", val_json_bytes="base64")


@dataclass(frozen=True)
class Registration:
    """A SQLModel class as an application offers it over REST."""

    entity: type[Any]
    name: str
    is_read_only: bool = False
    read_only_fields: Collection[str] = ()
    hidden_fields: Collection[str] = ()


def entity_name(entity: type[Any]) -> str:
    """``PurchaseOrder`` is ``purchase_order`` in addresses."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", entity.__name__).lower()


@dataclass(frozen=True)
class EntityField:
    """One field: the type that it has in Python, its column, and what may be done with it."""

    name: str
    annotation: Any
    column: Column[Any]
    info: FieldInfo
    is_writable: bool

    @cached_property
    def value_type(self) -> Any:
        """The type without ``None``."""
        if get_origin(self.annotation) in {Union, types.UnionType}:
            rest = [option for option in get_args(self.annotation) if option is not type(None)]
            return rest[0] if len(rest) == 1 else self.annotation
        return self.annotation

    @property
    def is_nullable(self) -> bool:
        return bool(self.column.nullable)

    @property
    def constraints(self) -> list[Any]:
        """What Pydantic checks beside the type; SQLModel's own remarks are left out."""
        return [found for found in self.info.metadata if not type(found).__module__.startswith("sqlmodel")]

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.value_type)


@dataclass(frozen=True)
class EntityDescription:
    """A registered class, looked at once."""

    registration: Registration
    fields: dict[str, EntityField]
    key: EntityField
    life_cycles: dict[str, LifeCycle]
    #: Field by name of the relation: what this entity points to, and which field of which other points to it.
    parents: dict[str, tuple[str, str]] = field(default_factory=dict)
    children: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.registration.name

    @property
    def entity(self) -> type[Any]:
        return self.registration.entity

    @property
    def table(self) -> str:
        return str(self.entity.__tablename__)

    @property
    def is_versioned(self) -> bool:
        return issubclass(self.entity, Entity)

    @property
    def is_soft_deleted(self) -> bool:
        return issubclass(self.entity, SoftDelete)

    @property
    def keeps_history(self) -> bool:
        return issubclass(self.entity, History) and self.is_versioned

    @property
    def writable(self) -> list[str]:
        """The fields that a body may set."""
        return [found.name for found in self.fields.values() if found.is_writable]

    @cached_property
    def view(self) -> type[BaseModel]:
        """What a reader gets."""
        shown = {found.name: (self._shown_type(found), ...) for found in self.fields.values()}
        return create_model(self.entity.__name__, __config__=_VIEW, __doc__=self.entity.__doc__, **shown)  # type: ignore[call-overload, no-any-return]

    @cached_property
    def create_body(self) -> type[BaseModel]:
        """What a new entity is made of."""
        taken = {name: self._taken(self.fields[name]) for name in self.writable}
        return create_model(f"New{self.entity.__name__}", __config__=_BODY, **taken)  # type: ignore[call-overload, no-any-return]

    @cached_property
    def patch_body(self) -> type[BaseModel]:
        """What of an entity may be changed: some of its fields."""
        # Moves and versions are kept under the key of an ``Entity``, so it stays what it was.
        changed = [name for name in self.writable if not (self.is_versioned and name == self.key.name)]
        taken = {name: (self._taken_type(self.fields[name], is_new=False), None) for name in changed}
        return create_model(f"{self.entity.__name__}Changes", __config__=_BODY, **taken)  # type: ignore[call-overload, no-any-return]

    def show(self, row: Any) -> BaseModel:
        """``row`` as a reader gets it."""
        return self.view.model_validate(row)

    def _shown_type(self, found: EntityField) -> Any:
        cycle = self.life_cycles.get(found.name)
        return Annotated[str, Field(json_schema_extra={"enum": list(cycle.states)})] if cycle else found.annotation

    def _taken(self, found: EntityField) -> tuple[Any, Any]:
        info, taken = found.info, self._taken_type(found, is_new=True)
        if info.is_required():
            return taken, ...
        if info.default_factory is not None:
            return taken, Field(default_factory=info.default_factory)
        return taken, info.default

    def _taken_type(self, found: EntityField, *, is_new: bool) -> Any:
        if cycle := self.life_cycles.get(found.name):
            return Literal[(cycle.initial,)] if is_new else Literal[cycle.states]
        return Annotated[(found.annotation, *found.constraints)] if found.constraints else found.annotation


def describe_all(registrations: Iterable[Registration]) -> dict[str, EntityDescription]:
    """What can be offered of ``registrations``, by name, with the relations between them.

    A table whose primary key has several columns, as those between two others have, is not offered by itself.

    Raises:
        DefinitionError: two have one name, or an option names a field that is not there.
    """
    found: dict[str, EntityDescription] = {}
    for registration in registrations:
        if len(inspect(registration.entity).primary_key) != 1:
            continue
        if registration.name in found:
            raise DefinitionError(
                f"two entities are called {registration.name!r}: {found[registration.name].entity.__module__} and "
                f"{registration.entity.__module__}; give one another name= in register_entity"
            )
        found[registration.name] = _describe(registration)
    _relate(found)
    return found


def _describe(registration: Registration) -> EntityDescription:
    entity, mapper = registration.entity, inspect(registration.entity)
    columns = {attribute.key: attribute.columns[0] for attribute in mapper.column_attrs}
    infos: Mapping[str, FieldInfo] = entity.model_fields
    named = {*registration.read_only_fields, *registration.hidden_fields}
    if unknown := sorted(named - columns.keys()):
        raise DefinitionError(f"register_entity({entity.__name__}) names the unknown field(s) {', '.join(unknown)}")
    keys = {column.name for column in mapper.primary_key}
    kept_by_us = own_fields(entity)
    fields = {
        name: EntityField(
            name=name,
            annotation=infos[name].annotation,
            column=column,
            info=infos[name],
            is_writable=not (
                registration.is_read_only
                or name in registration.read_only_fields
                or name in kept_by_us
                or (column.name in keys and _is_made(infos[name], column))
            ),
        )
        for name, column in columns.items()
        if name in infos and name not in registration.hidden_fields
    }
    key = next((found for found in fields.values() if found.column.name in keys), None)
    if key is None:
        raise DefinitionError(f"register_entity({entity.__name__}) hides the primary key, by which a row is found")
    return EntityDescription(
        registration=registration,
        fields=fields,
        key=key,
        life_cycles={name: cycle for name, cycle in life_cycles_of(entity).items() if name in fields},
    )


def _is_made(info: FieldInfo, column: Column[Any]) -> bool:
    """Whether a primary key comes to be by itself, by a default or by the database."""
    return not info.is_required() or column.autoincrement is True


def _relate(found: dict[str, EntityDescription]) -> None:
    """Foreign keys between registered entities as relations, named after what they lead to."""
    by_table = {description.table: description for description in found.values()}
    for description in found.values():
        for each in description.fields.values():
            for foreign in each.column.foreign_keys:
                table, _, column = foreign.target_fullname.rpartition(".")
                parent = by_table.get(table)
                if parent is None or parent.key.column.name != column:
                    continue
                description.parents[each.name.removesuffix("_id")] = (parent.name, each.name)
                is_second = description.name in parent.children
                relation = f"{description.name}_by_{each.name}" if is_second else description.name
                parent.children[relation] = (description.name, each.name)
    for description in found.values():
        for relation in [name for name in description.children if name in description.parents]:  # two ways, two names
            child, name = description.children.pop(relation)
            description.children[f"{child}_by_{name}"] = (child, name)
