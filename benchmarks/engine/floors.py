"""The bare cost of a run's commits on a database: ``python -m benchmarks.engine.floors URL``.

A run of five steps makes seven commits: its start, five checkpoints, its end. Here each is one small row, written with
the driver and the durability that the engine uses, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from time import perf_counter

from benchmarks.engine import sizes
from benchmarks.engine.figures import Figures, spread

COMMITS = sizes.STEPS + 2
_ROW = "x" * 100


def on_sqlite(path: str) -> Figures:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, text TEXT)")
    took = []
    for _ in range(sizes.LATENCY_RUNS):
        began = perf_counter()
        for _ in range(COMMITS):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO floor (text) VALUES (?)", [_ROW])
            connection.execute("COMMIT")
        took.append(perf_counter() - began)
    return spread(took)


async def on_postgresql(url: str) -> Figures:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE floor (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)")
    insert = await connection.prepare("INSERT INTO floor (text) VALUES ($1)")
    took = []
    for _ in range(sizes.LATENCY_RUNS):
        began = perf_counter()
        for _ in range(COMMITS):
            await insert.fetch(_ROW)
        took.append(perf_counter() - began)
    await connection.close()
    return spread(took)


if __name__ == "__main__":
    address = sys.argv[1]
    is_sqlite = address.startswith("sqlite:///")
    floor = on_sqlite(address.removeprefix("sqlite:///")) if is_sqlite else asyncio.run(on_postgresql(address))
    print(json.dumps(floor))
