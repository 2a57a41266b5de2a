"""A process may be ended at any instant: nothing is lost, nothing is paid twice, and others go on."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import nullcontext
from pathlib import Path

import asyncpg
import pytest

from tests.kills.model_server import serving_model
from tests.kills.processes import await_readiness, install, kill, running, serving
from tests.kills.scenario import INVOICES, Clients, make_invoices, run_scenario

pytestmark = [pytest.mark.kill, pytest.mark.timeout(420)]

LEASE_SECONDS = 2.0


async def test_every_invoice_is_paid_once_however_often_the_server_is_killed(tmp_path: Path, database_url: str) -> None:
    with serving_model() as model:
        installation = install(tmp_path, database_url=database_url, model_url=model.url, lease_seconds=LEASE_SECONDS)

        report = await run_scenario(installation, model, kills=4, seed=20)

    assert report.faults == []
    assert report.kills == 4
    assert report.payments == INVOICES


@pytest.mark.postgresql
@pytest.mark.parametrize("victim", ["web", "worker"])
async def test_two_workers_and_a_web_process_share_postgresql_and_any_may_be_killed(
    tmp_path: Path, postgresql_url: str, victim: str
) -> None:
    with serving_model(seconds=1.0) as model:
        # Few at a time each, so that all three have something to do.
        installation = install(
            tmp_path, database_url=postgresql_url, model_url=model.url, lease_seconds=LEASE_SECONDS, concurrency=4
        )
        with (
            running(installation, "dev", *serving(installation)) as web,
            running(installation, "worker") as worker,
            running(installation, "worker"),
        ):
            await asyncio.to_thread(await_readiness, installation, web)
            clients = Clients(installation, make_invoices(), random.Random(3))
            await until_workers(postgresql_url, 3)
            await clients.live(sends=INVOICES, answers=0)
            assert len(clients.runs) == INVOICES
            dead = web if victim == "web" else worker
            await until_it_runs_something(postgresql_url, dead.pid)

            kill(dead)
            seconds = await seconds_until_taken_over(postgresql_url, dead.pid)

            web_again = running(installation, "dev", *serving(installation)) if victim == "web" else nullcontext(web)
            with web_again as process:
                await asyncio.to_thread(await_readiness, installation, process)
                states = await clients.finish()
            await clients.close()

    assert states == {"succeeded": INVOICES}
    assert seconds < LEASE_SECONDS + 10  # the lease, and room for a busy machine


async def until_workers(url: str, count: int) -> None:
    """Return when ``count`` workers live."""
    await until_true(url, f"SELECT count(*) >= {count} FROM toolkit_worker")


async def until_it_runs_something(url: str, pid: int) -> None:
    """Return when the process advances a run."""
    await until_true(url, f"SELECT EXISTS ({RUNS_OF.format(pid=pid)})")


async def seconds_until_taken_over(url: str, pid: int) -> float:
    """How long the runs of a process that is gone stay its own."""
    began = time.monotonic()
    await until_true(url, f"SELECT NOT EXISTS ({RUNS_OF.format(pid=pid)})")
    return time.monotonic() - began


RUNS_OF = (
    "SELECT 1 FROM toolkit_run AS r JOIN toolkit_worker AS w ON w.id = r.worker_id "
    "WHERE r.state = 'running' AND w.process_id = {pid}"
)


async def until_true(url: str, question: str, *, within: float = 60.0) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(within):
            while not await connection.fetchval(question):
                await asyncio.sleep(0.02)  # another process does what is waited for
    finally:
        await connection.close()
