"""Workflows in two editions of their code each: what runs began with, and what is deployed under them."""

from __future__ import annotations

from tests.workflows.notes import note
from toolkit.workflows import gather, patched, wait_for_event, workflow


@workflow(name="pay")
async def pay_1() -> list[str]:
    done = [await note("a")]
    await wait_for_event("go")
    return [*done, await note("b")]


@workflow(name="pay")
async def pay_2() -> list[str]:
    done = [await note("a")]
    if await patched("check-before-waiting"):
        done.append(await note("check"))
    await wait_for_event("go")
    if await patched("check-after-waiting"):
        done.append(await note("late check"))
    if await patched("check-before-waiting"):
        done.append(await note("again"))
    return [*done, await note("b")]


@workflow(name="branches")
async def branches_1() -> list[str]:
    async def branch(name: str) -> str:
        await note(name)
        return str(await wait_for_event(name))

    return list(await gather(branch("x"), branch("y")))


@workflow(name="branches")
async def branches_2() -> list[str]:
    async def branch(name: str) -> str:
        await note(name)
        if await patched("shout"):
            return str(await wait_for_event(name)).upper()
        return str(await wait_for_event(name))

    return list(await gather(branch("x"), branch("y")))


@workflow(name="ship", version="1")
async def ship_1() -> str:
    await wait_for_event("go")
    return "by lorry"


@workflow(name="ship", version="2")
async def ship_2() -> str:
    await wait_for_event("go")
    return "by train"
