"""Which store a ``File`` belongs to: the one of the installation whose code is running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from toolkit.errors import WrongContext

if TYPE_CHECKING:
    from toolkit.files.store import FileStore

_store: ContextVar[FileStore] = ContextVar("toolkit_file_store")


def current_store() -> FileStore:
    """The store that files are read from and uploaded to here.

    Raises:
        WrongContext: the code runs outside of an installation.
    """
    try:
        return _store.get()
    except LookupError:
        raise WrongContext(
            "a file was used outside of a running installation, so there is no place to find its bytes; use it in a "
            "workflow, step or request handler, within `async with app.running():`, or within `using(store):`"
        ) from None


@contextmanager
def using(store: FileStore) -> Iterator[FileStore]:
    """Within the block, and in the tasks it starts, files belong to ``store``."""
    token = _store.set(store)
    try:
        yield store
    finally:
        _store.reset(token)
