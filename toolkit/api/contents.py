"""Contents: the bytes of a file as an answer, which begins when the first of them are there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from toolkit.files import plan_download

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from toolkit.files import FileMetadata, FileStore


async def respond_with(store: FileStore, file: FileMetadata, headers: Mapping[str, str], *, inline: bool) -> Response:
    """The answer to a request with ``headers`` for the bytes of ``file``.

    Raises:
        What :meth:`FileStore.open` raises, and ``StorageError`` if already the first bytes cannot be read: after the
        status has been sent there is no other way to say so than to break off.
    """
    delivery = plan_download(file, headers, inline=inline)
    if delivery.status not in {200, 206}:
        return Response(status_code=delivery.status, headers=delivery.headers)
    async with AsyncExitStack() as stack:
        chunks = await stack.enter_async_context(store.open(file.id, start=delivery.start, end=delivery.end))
        first = await anext(chunks, b"")
        return _Content(first, chunks, stack.pop_all(), status=delivery.status, headers=delivery.headers)


class _Content(StreamingResponse):
    """Chunks of which the first has been read; whatever they came from is closed, also where nobody takes them."""

    def __init__(
        self,
        first: bytes,
        rest: AsyncIterator[bytes],
        opened: AsyncExitStack,
        *,
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(_chained(first, rest), status_code=status, headers=headers)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opened:
            await super().__call__(scope, receive, send)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
