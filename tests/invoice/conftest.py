"""The invoice application on a new database, and a client that talks to it as anybody would: by REST."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.invoice.demo.rest import Client
from examples.invoice.main import app
from toolkit.config import Settings

Serve = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The example's configuration on an empty database of either kind."""
    url = f"sqlite:///{tmp_path / 'invoices.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    return Settings.of(
        {
            "database": {"url": url},
            "file_storage": {"default": str(tmp_path / "files")},
            "ai_models": {"invoice_model": {"provider": "offline"}},
        },
        folder=tmp_path,
    )


@asynccontextmanager
async def served(settings: Settings, *, seed: Callable[[Any], None] | None = None) -> AsyncIterator[Client]:
    """The application running in this process; ``seed`` may put rows into its database first."""
    async with app.running(settings=settings):
        if seed is not None:
            async with app.services.database.session() as session:
                seed(session)
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as http:
            yield Client(http, patience=30)


@pytest.fixture(autouse=True)
def a_key_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment, which nothing here may use."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-must-not-be-used")
