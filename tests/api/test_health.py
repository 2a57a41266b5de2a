"""Probes: the process lives, and says whether it can work."""

from __future__ import annotations

from dataclasses import replace

from tests.api.installation import Caller, Installation
from toolkit.storage import Database
from toolkit.storage.postgresql import PostgresqlConnection

HEALTH = "/toolkit/v1/health"


async def test_a_process_that_can_work_says_so(call: Caller) -> None:
    assert (await call("GET", f"{HEALTH}/live")).json() == {"status": "ok"}
    assert (await call("GET", f"{HEALTH}/ready")).json() == {"status": "ok", "database": "ok", "engine": "ok"}


async def test_a_process_whose_engine_is_closed_is_not_ready(call: Caller, installation: Installation) -> None:
    await installation.services.engine.close()

    ready = await call("GET", f"{HEALTH}/ready")

    assert ready.status_code == 503
    assert ready.json() == {"status": "unavailable", "database": "ok", "engine": "unavailable"}
    assert (await call("GET", f"{HEALTH}/live")).status_code == 200


async def test_a_process_whose_database_is_gone_is_not_ready(installation: Installation) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:9/none"
    gone = Database(nowhere)
    gone._reader = PostgresqlConnection(nowhere, application="test")
    call = Installation(replace(installation.services, database=gone)).caller()

    ready = await call("GET", f"{HEALTH}/ready")

    assert ready.status_code == 503
    assert ready.json() == {"status": "unavailable", "database": "unavailable", "engine": "ok"}
    assert "127.0.0.1" not in ready.text
