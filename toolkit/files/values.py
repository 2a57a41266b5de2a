"""Large values: what a step returns and the journal need not hold goes to a storage that every process reaches.

The journal keeps a stub in its place, of a form that no JSON text has. Bytes first, stub after, and a key of its own
for each: what a crash leaves between the two is swept.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final, TypeAlias

from toolkit.clock import Clock
from toolkit.errors import StorageError
from toolkit.files.storages import BLOCK_BYTES, FileStorages, Storage
from toolkit.files.sweeps import list_days
from toolkit.ids import new_id
from toolkit.storage import Payloads, readable_bytes

logger = logging.getLogger(__name__)

INLINE_BYTES: Final = 256 * 1024

_FOLDER: Final = "values"
_ID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_STUB: Final = re.compile(
    rf"@values:(?P<storage>[^:/]+):(?P<key>{_FOLDER}/\d{{4}}/\d\d/\d\d/{_ID}\.{_ID}):(?P<size>\d+):(?P<sha256>[0-9a-f]{{64}})"
)
_OBJECT: Final = re.compile(rf"({_ID})\.{_ID}(\.part)?")

# Of a file, or of an agent's history, in whose messages files may be.
_REFERENCE: Final = re.compile(r'"sha256"\s*:\s*"[0-9a-f]{64}"|"messages"\s*:\s*[0-9]')

StubsOf: TypeAlias = Callable[[Sequence[str]], Awaitable[set[str]]]
"""The stubs that the journals of some runs hold."""


class LargeValues:
    """Values above ``inline_bytes`` of UTF-8, in the storage that is declared ``shared``."""

    def __init__(
        self,
        storages: FileStorages,
        *,
        clock: Clock,
        inline_bytes: int = INLINE_BYTES,
        payloads: Payloads | None = None,
    ) -> None:
        """Without a shared storage every value stays where it is. ``payloads`` encodes what is stored."""
        self._storages = storages
        self._payloads = payloads
        self._clock = clock
        self.inline_bytes = inline_bytes

    async def keep(self, text: str, *, run_id: str) -> str:
        """What the journal of ``run_id`` is to hold for ``text``: itself, or a stub of the bytes that are now stored.

        A value that refers to a file, or to a history with files, stays: whoever would delete such a file looks into
        the journal for who needs it.

        Raises:
            StorageError: the storage did not take it.
        """
        if self._storages.shared is None or len(text) * 4 <= self.inline_bytes:  # no character takes more than four
            return text
        data = text.encode()
        if len(data) <= self.inline_bytes or _REFERENCE.search(text):
            return text
        if self._payloads is not None:
            data = await asyncio.to_thread(self._payloads.encode_bytes, data, what="a large value")
        place = self._storages.get(self._storages.shared)
        key = f"{_FOLDER}/{self._clock.now():%Y/%m/%d}/{run_id}.{new_id()}"
        await place.write(key, _blocks(data))
        return f"@values:{place.name}:{key}:{len(data)}:{hashlib.sha256(data).hexdigest()}"

    async def fetch(self, text: str) -> str:
        """The value that a stub stands for; any other text is the value itself.

        Raises:
            StorageError: the bytes cannot be read, or are not those that were stored.
            PayloadNotDecoded: they are encoded, and cannot be decoded here.
        """
        found = _STUB.fullmatch(text) if text.startswith("@") else None
        if found is None:
            return text
        place, size = self._storages.get(found["storage"]), int(found["size"])
        async with aclosing(place.read(found["key"], start=0, end=size)) as chunks:
            data = b"".join([chunk async for chunk in chunks])
        if hashlib.sha256(data).hexdigest() != found["sha256"]:
            raise StorageError(
                f"the bytes of a step's result in the storage {place.name!r} are not those that were stored; restore "
                f"{found['key']!r} from a backup"
            )
        what = f"the large value {found['key']!r}"
        if self._payloads is None:
            return readable_bytes(data, what=what).decode()
        return (await asyncio.to_thread(self._payloads.decode_bytes, data, what=what)).decode()

    async def sweep(self, stubs_of: StubsOf, *, before: datetime) -> int:
        """Delete the values that were written ``before`` and stand in no journal; how many there were."""
        if self._storages.shared is None:
            return 0
        place, count = self._storages.get(self._storages.shared), 0
        async for found in list_days(place, folder=_FOLDER, named=_OBJECT):
            old = [item.key for item in found if item.modified_at is not None and item.modified_at < before]
            for start in range(0, len(old), 500):
                count += await _sweep_some(place, old[start : start + 500], stubs_of)
        return count


async def _sweep_some(place: Storage, keys: Sequence[str], stubs_of: StubsOf) -> int:
    runs = {found[1] for key in keys if (found := _OBJECT.fullmatch(key.rpartition("/")[2]))}
    kept = {found["key"] for stub in await stubs_of(sorted(runs)) if (found := _STUB.fullmatch(stub))}
    orphans = [key for key in keys if key not in kept]
    for key in orphans:
        await place.delete(key)
    if orphans:
        logger.info(
            "Values without a step were deleted",
            extra={"event": "values.swept", "storage": place.name, "count": len(orphans)},
        )
    return len(orphans)


async def _blocks(data: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(data), BLOCK_BYTES):
        yield data[start : start + BLOCK_BYTES]
