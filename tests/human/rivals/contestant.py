"""A process of its own: ``worker URL`` advances runs, ``answerer URL`` answers the tasks that it reads by line.

An answerer reads ``{"tasks": [...], "rivals": [...]}``, lets every rival answer every task at once, writes a line for
each attempt, and an empty line when all of them are done.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.human.rivals.contest import Arena, entered
from toolkit.access import Permission, Principal, acting_as
from toolkit.errors import Conflict

# A server takes a hundred connections; five processes of so many sessions leave room for the others.
_AT_ONCE = 12
_MAY = frozenset({Permission.TASKS_COMPLETE, Permission.TASKS_MANAGE})


async def work(url: str) -> None:
    async with entered(url, is_worker=True):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until the other end closes


async def answer(url: str) -> None:
    turn = asyncio.Semaphore(_AT_ONCE)
    async with entered(url, is_worker=False) as arena:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)
            await asyncio.gather(
                *(_attempt(arena, turn, task, rival) for task in wanted["tasks"] for rival in wanted["rivals"])
            )
            print(flush=True)


async def _attempt(arena: Arena, turn: asyncio.Semaphore, task_id: str, rival: int) -> None:
    who = f"rival-{rival}"
    async with turn:
        with acting_as(Principal(id=who, kind="person", permissions=_MAY)):
            try:
                await arena.tasks.complete(task_id, json.dumps({"amount": rival}))
            except Conflict as error:
                said = {"task": task_id, "rival": who, "winner": error.details["ended_by"]}
            else:
                said = {"task": task_id, "rival": who, "winner": who, "has_won": True}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    role, database_url = sys.argv[1:]
    asyncio.run({"worker": work, "answerer": answer}[role](database_url))
