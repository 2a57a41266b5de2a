"""The port for results that the journal need not hold: they go where every process finds them, a stub stays here."""

from __future__ import annotations

from typing import Protocol

from toolkit.storage import PayloadNotDecoded
from toolkit.workflows.failures import RunUndecoded

_MARK = "@"  # begins a stub and no JSON text


class LargeValues(Protocol):
    """Who puts an installation together may hand one over as ``engine.large_values``."""

    async def keep(self, text: str, *, run_id: str) -> str:
        """What the journal of ``run_id`` is to hold for ``text``: itself, or a stub of what is durable elsewhere."""
        ...

    async def fetch(self, text: str) -> str:
        """The text that a stub stands for."""
        ...


def is_stub(text: str) -> bool:
    """Whether the journal holds a stub in place of the text itself."""
    return text.startswith(_MARK)


async def whole(text: str | None, large_values: LargeValues | None) -> str | None:
    """The recorded ``text``, fetched if the journal holds its stub.

    Raises:
        StorageError: it is not where the stub says, or not what was stored.
        RunParked: this process cannot decode it.
    """
    if text is None or large_values is None or not is_stub(text):
        return text
    try:
        return await large_values.fetch(text)
    except PayloadNotDecoded as error:
        raise RunUndecoded(error.what) from error
