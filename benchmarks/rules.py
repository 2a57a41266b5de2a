"""How fast overrides decide, as ratios measured side by side in one run: ``python -m benchmarks.rules``.

Each line compares two ways that were timed one after the other, best of three. What runs in this process is timed by
the processor time it takes, so that a busy machine changes no ratio; what runs in the sandbox, by the clock.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zen
from pydantic import BaseModel

from toolkit.rules import RuleService, rule
from toolkit.rules.compilation import Compiled
from toolkit.rules.engine import DecisionEngine
from toolkit.rules.isolation import IsolatedEngine
from toolkit.rules.overrides import Override
from toolkit.storage import Database
from toolkit.workflows import Engine, using_engine

ROWS, INPUTS, SINGLES = 10, 100_000, 5_000
REPEATS = 3


class Order(BaseModel):
    amount: Decimal
    country: str


class Price(BaseModel):
    discount: int


@rule
def pricing(order: Order) -> Price:
    return Price(discount=0)


def graph() -> dict[str, Any]:
    """A table of ten rows, of which the last always matches."""
    rows = [{"_id": f"r{n}", "a": f">= {n * 100}", "c": "'DE'", "d": str(n)} for n in range(ROWS - 1, 0, -1)]
    content = {
        "hitPolicy": "first",
        "inputs": [
            {"id": "a", "name": "Amount", "field": "amount"},
            {"id": "c", "name": "Country", "field": "country"},
        ],
        "outputs": [{"id": "d", "name": "d", "field": "discount"}],
        "rules": [*rows, {"_id": "r0", "d": "0"}],
    }
    nodes = [
        {"id": "in", "name": "in", "type": "inputNode", "content": {}},
        {"id": "t", "name": "t", "type": "decisionTableNode", "content": content},
        {"id": "out", "name": "out", "type": "outputNode", "content": {}},
    ]
    edges = [{"id": "1", "sourceId": "in", "targetId": "t"}, {"id": "2", "sourceId": "t", "targetId": "out"}]
    return {"nodes": nodes, "edges": edges}


def best(work: Callable[[], Any], *, clock: Callable[[], float] = time.process_time) -> float:
    """The shortest of some timings of ``work``, in seconds."""
    times = []
    for _ in range(REPEATS):
        started = clock()
        work()
        times.append(clock() - started)
    return min(times)


def compare(what: str, ours: float, theirs: float, *, target: str) -> None:
    """Print one ratio beside what it should be."""
    print(f"{what:<66} {ours / theirs:6.2f}   (target: {target})")


def override_in(engine: DecisionEngine | IsolatedEngine, compiled: Compiled) -> Override[Order, Price]:
    """The compiled graph, to be evaluated by ``engine``."""
    override = Override(pricing.contract, compiled, engine, number=1, sha256=compiled.sha256)
    override.load()
    return override


async def main() -> None:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'benchmark.db'}")
        await database.open()
        service = RuleService(database, [pricing], refresh_seconds=3600)
        await service.open()
        try:
            await measure(service, database)
        finally:
            await service.close()
            await database.close()


async def measure(service: RuleService, database: Database) -> None:
    version = await service.upload("pricing", json.dumps(graph()).encode())
    await service.activate("pricing", version.number)
    await service.trust("pricing", version.number, reason="it is measured in this process, and beside it apart")
    compiled = (await service.override("pricing", 1)).compiled
    orders = [Order(amount=Decimal(n % 1500), country=("DE", "FR")[n % 2]) for n in range(INPUTS)]
    encoded = [pricing.contract.encode(order) for order in orders]

    here = override_in(DecisionEngine(), compiled)
    assert compiled.loop is not None
    content = {"loop": zen.ZenDecisionContent(compiled.loop), "single": zen.ZenDecisionContent(compiled.graph)}
    bare = zen.ZenEngine({"loader": content.__getitem__})
    chunks = ['{"items":[' + ",".join(encoded[n : n + 1000]) + "]}" for n in range(0, INPUTS, 1000)]

    bare_batch = best(lambda: [bare.evaluate("loop", chunk) for chunk in chunks])
    bare_single = best(lambda: [bare.evaluate("single", one) for one in encoded[:SINGLES]]) / SINGLES
    with using_engine(_engine(service, database)):
        batch = await best_of(lambda: pricing.batch(orders))
        one_by_one = await best_of(lambda: _one_by_one(orders[:SINGLES])) / SINGLES
    single = best(lambda: [here.decide(order) for order in orders[:SINGLES]]) / SINGLES
    compare(".batch of 100,000 / the bare engine's loop mode", batch, bare_batch, target="at most 2.5")
    compare(".batch a row / one `await rule(x)` a row", batch / INPUTS, one_by_one, target="at most 0.5")
    compare("one evaluation with models in and out / ZenEngine.evaluate", single, bare_single, target="at most 3")
    compare("one `await rule(x)` outside a run / ZenEngine.evaluate", one_by_one, bare_single, target="none")

    pool = IsolatedEngine()
    apart = override_in(pool, compiled)
    try:
        apart.decide(orders[0])
        apart_single = best(lambda: [apart.decide(order) for order in orders[:500]], clock=time.perf_counter) / 500
        apart_batch = best(lambda: apart.decide_many(orders), clock=time.perf_counter)
    finally:
        pool.close()
    compare("one evaluation in the sandbox / in the process", apart_single, single, target="none")
    compare(".batch in the sandbox / in the process", apart_batch, batch, target="none")
    print(f"in the process: {single * 1e6:.1f} us one, {batch / INPUTS * 1e6:.2f} us a row of a batch")
    print(f"in the sandbox: {apart_single * 1e6:.1f} us one, {apart_batch / INPUTS * 1e6:.2f} us a row of a batch")


async def best_of(work: Callable[[], Any]) -> float:
    """As :func:`best`, for what is awaited."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        await work()
        times.append(time.process_time() - started)
    return min(times)


async def _one_by_one(orders: list[Order]) -> None:
    for order in orders:
        await pricing(order)


def _engine(service: RuleService, database: Database) -> Engine:
    engine = Engine(database, workflows=[])
    engine.resources[RuleService] = service
    return engine


if __name__ == "__main__":
    asyncio.run(main())
