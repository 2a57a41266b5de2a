"""A shop that runs, on SQLite and on PostgreSQL, and somebody who calls its API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.entities.shop import make_shop
from toolkit import Toolkit
from toolkit.config import Settings

ENTITIES = "/toolkit/v1/entities"


@dataclass
class Caller:
    """Calls the shop as Ada."""

    app: Toolkit

    async def __call__(self, method: str, path: str, **request: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        headers = {"x-toolkit-user": "ada"} | request.pop("headers", {})
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, ENTITIES + path, headers=headers, **request)

    async def make(self, entity: str, **fields: Any) -> dict[str, Any]:
        response = await self("POST", f"/{entity}", json=fields)
        assert response.status_code == 201, response.text
        return dict(response.json())

    async def change(self, entity: str, key: str, if_match: str = "*", **fields: Any) -> httpx2.Response:
        return await self("PATCH", f"/{entity}/{key}", json=fields, headers={"if-match": if_match})


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings.of({"database": {"url": database_url}}, folder=tmp_path)


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Toolkit]:
    async with make_shop().running(settings=settings) as app:
        yield app


@pytest.fixture
def call(shop: Toolkit) -> Caller:
    return Caller(shop)
