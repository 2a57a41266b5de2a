"""Refusals of the database as what a caller can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm.exc import StaleDataError

from toolkit.errors import Conflict, InvalidInput, StorageError, VersionMismatch


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Within the block, what the database says about the entity ``name``.

    Raises:
        VersionMismatch: somebody else was first.
        Conflict: a constraint does not hold; it is named, without the values that broke it.
        InvalidInput: the database cannot hold a value.
        StorageError: the database is not able to do it.
    """
    try:
        yield
    except StaleDataError as error:
        raise VersionMismatch(name, "", version="a newer one", expected="the one that was read") from error
    except IntegrityError as error:
        raise Conflict(f"the database refuses this {name}: {_constraint(error)}", entity=name) from error
    except DBAPIError as error:
        if not _is_data_error(error):
            raise StorageError(f"the database could not do what was asked with {name}") from error
        raise _unfit(name) from error
    except (StatementError, OverflowError) as error:
        raise _unfit(name) from error


def _unfit(name: str) -> InvalidInput:
    return InvalidInput(f"the database cannot hold a value of this {name}")


def _is_data_error(error: DBAPIError) -> bool:
    code = str(getattr(error.orig, "sqlstate", "") or getattr(error.orig, "pgcode", "") or "")
    return code.startswith("22") or type(error.orig).__name__ in {"DataError", "InvalidTextRepresentation"}


def _constraint(error: IntegrityError) -> str:
    """Which constraint it was, without the values that broke it."""
    cause: Any = error.orig.__cause__ if error.orig is not None else None
    if name := getattr(cause, "constraint_name", None):
        return f"the constraint {name!r} does not hold"
    if column := getattr(cause, "column_name", None):
        return f"{column!r} needs a value"
    return str(error.orig).splitlines()[0]
