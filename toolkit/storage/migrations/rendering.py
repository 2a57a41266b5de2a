"""How a column's type is written in a revision: such that the file runs by itself, years after the model changed."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy.types import TypeDecorator


def render_item(kind: str, item: Any, context: Any) -> str | Literal[False]:
    """The source text of a type, or ``False`` to leave it to Alembic. Types of SQLModel are those of SQLAlchemy."""
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    if type(item).__module__.startswith("sqlmodel."):
        return f"sa.{item.impl_instance!r}"
    text = repr(item)
    if not text.startswith(f"{type(item).__name__}("):  # it says itself which plain type a migration needs
        return f"sa.{text}"
    place = type(item).__module__
    for door in ("toolkit.storage", "toolkit.entities"):
        place = door if place.startswith(f"{door}.") else place
    context.imports.add(f"import {place}")
    return f"{place}.{text}"
