"""``Entity``: a SQLModel table whose rows know who changed them when, and notice when two change them at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Text
from sqlalchemy.orm import declared_attr
from sqlmodel import Field, SQLModel

from toolkit.ids import new_id
from toolkit.storage import UtcDateTime


def _now() -> datetime:
    return datetime.now(UTC)


class Entity(SQLModel):
    """Parent of an author's tables: ``class Invoice(Entity, table=True): ...``.

    ``id`` sorts by time. ``version`` counts the changes: of two sessions that change one row, the second one to flush
    gets ``sqlalchemy.orm.exc.StaleDataError`` (over REST: 412). ``updated_at``, ``updated_by`` and ``version`` are
    written at the flush, whatever a session says. Statements such as ``update(Invoice)`` pass all of this by.
    """

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Text)
    version: int = Field(default=1)
    created_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    created_by: str = Field(default="", sa_type=Text)
    updated_at: datetime = Field(default_factory=_now, sa_type=UtcDateTime)
    updated_by: str = Field(default="", sa_type=Text)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy calls it with the class
        # Counted in ``changes``: SQLAlchemy would begin a row of a key that was there before, with its history, at 1.
        return {"version_id_col": cls.__table__.c.version, "version_id_generator": False}  # type: ignore[attr-defined]


class SoftDelete(SQLModel):
    """Mixin: a row that is deleted over REST stays, with who did it when, and is found no more unless asked for."""

    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deleted_by: str | None = Field(default=None, sa_type=Text)


class History(SQLModel):
    """Mixin: what each version of a row said is kept in ``toolkit_entity_version``."""


def own_fields(entity: type[Any]) -> set[str]:
    """What of ``entity`` the toolkit writes itself; nobody else may.

    An ``id`` that the class declares anew and without a default is its author's: whoever makes a row says it.
    """
    parents: tuple[type[SQLModel], ...] = (Entity, SoftDelete)
    own = {name for parent in parents if issubclass(entity, parent) for name in parent.model_fields}
    return own - {"id"} if "id" in own and entity.model_fields["id"].is_required() else own
