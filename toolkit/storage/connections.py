"""What both drivers promise, and the three ways in which a transaction can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from toolkit.errors import StorageError
from toolkit.storage.statements import Query, Row, Script

T = TypeVar("T")


class StorageUnavailable(StorageError):
    """The database could not be reached or could not write; nothing of the transaction was kept. Try again."""


class OutcomeUnknown(StorageError):
    """The connection broke during the commit: the transaction may or may not be kept. Read before going on."""


class DataRejected(StorageError):
    """The database refused a value of the transaction; nothing of it was kept. Trying again would fail again."""


class Outcome(asyncio.Future[Any]):
    """The future of a commit; whoever awaits it is told of a cancellation after the commit, not instead of it.

    ``cancel`` does nothing, so that a task that is cancelled meanwhile hears of it when the outcome is there: a commit
    cut short would have an unknown outcome. It does what ``asyncio.shield`` and waiting again would do, in a tenth of
    the time.
    """

    def cancel(self, msg: Any = None) -> bool:
        return False


class Connection(Protocol):
    """One connection to the database; calls are served one after the other."""

    async def run(self, script: Script[T], *, in_own_task: bool = True) -> T:
        """Run ``script`` in one transaction and return what it returns.

        The commit is durable when this returns. A cancelled caller does not cut it short; where nobody cancels the
        caller, ``in_own_task=False`` spares two turns of the event loop.

        Raises:
            StorageUnavailable, OutcomeUnknown, DataRejected
        """

    async def read(self, query: Query) -> Sequence[Row]:
        """The rows of one reading statement, outside a transaction."""

    async def close(self) -> None:
        """Finish what was asked and let go of the connection."""
