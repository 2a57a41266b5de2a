"""A cable between a client and a server, which can be cut while bytes run through it."""

from __future__ import annotations

import asyncio
from typing import Self
from urllib.parse import urlsplit


class Cable:
    """Forwards connections to ``endpoint``; ``async with Cable(...) as cable: cable.endpoint``."""

    def __init__(self, endpoint: str) -> None:
        self._target = urlsplit(endpoint)
        self._writers: set[asyncio.StreamWriter] = set()
        self._left: dict[str, int] = {}
        self.is_cut = False
        self.cuts = 0
        self._heals = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._cut()
        self._server.close()

    def cut_after(self, count: int, *, of: str, heals: bool) -> None:
        """Cut it when ``count`` bytes more have been ``sent`` or ``received``; it ``heals`` at once, or stays cut."""
        self._left, self._heals = {of: count}, heals

    def mend(self) -> None:
        self.is_cut = False

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, back}
        await asyncio.gather(self._forward(reader, back, "sent"), self._forward(there, writer, "received"))
        self._writers -= {writer, back}

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        try:
            while data := await reader.read(65536):
                if way in self._left:
                    self._left[way] -= len(data)
                    if self._left[way] <= 0:
                        self._cut()
                        return
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    def _cut(self) -> None:
        self._left, self.is_cut = {}, not self._heals
        self.cuts += 1
        for writer in self._writers:
            writer.transport.abort()
