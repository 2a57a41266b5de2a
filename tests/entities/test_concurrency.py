"""Many at once change one entity, over REST, in sessions and in steps: each move is one that the life cycle allows."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from sqlalchemy.orm.exc import StaleDataError

from tests.entities.conftest import Caller
from tests.entities.shop import Order, jump_ahead
from toolkit import Toolkit
from toolkit.entities.changes import life_cycles_of
from toolkit.errors import RunFailed, TransitionRefused

STATES = ["draft", "approved", "ordered", "rejected"]


async def over_rest(call: Caller, key: str, state: str) -> int:
    response = await call.change("order", key, status=state)
    assert response.status_code in {200, 409}, response.text
    if response.status_code == 409:
        details = response.json()["details"]
        assert state not in details["allowed"]
    return response.status_code


async def in_a_session(app: Toolkit, key: str, state: str) -> int:
    try:
        async with app.session() as session:
            order = await session.get(Order, key)
            assert order is not None
            await asyncio.sleep(0)  # others read the same meanwhile
            order.status = state
    except (TransitionRefused, StaleDataError):
        return 409
    return 200


async def in_a_step(app: Toolkit, key: str) -> int:
    try:
        await (await app.start(jump_ahead, key)).result()
    except RunFailed:
        return 409
    return 200


@pytest.mark.parametrize("seed", range(3))
async def test_no_forbidden_move_gets_through_however_many_try(shop: Toolkit, call: Caller, seed: int) -> None:
    random = Random(seed)
    made = await call.make("order", number="A-1", total="5")
    tries = [over_rest(call, made["id"], random.choice(STATES)) for _ in range(6)]
    tries += [in_a_session(shop, made["id"], random.choice(STATES)) for _ in range(6)]
    tries += [in_a_step(shop, made["id"]) for _ in range(2)]
    random.shuffle(tries)

    await asyncio.gather(*tries)

    now = (await call("GET", f"/order/{made['id']}")).json()
    moves = (await call("GET", f"/order/{made['id']}/moves")).json()["items"]
    history = (await call("GET", f"/order/{made['id']}/history")).json()["items"]
    allowed = {(move.source, move.target) for move in life_cycles_of(Order)["status"].transitions}
    path = [(move["from_state"], move["to_state"]) for move in moves]
    assert path[0] == (None, "draft")
    assert set(path[1:]) <= allowed
    assert [source for source, _ in path[1:]] == [target for _, target in path[:-1]]  # each begins where one ended
    assert now["status"] == path[-1][1]
    assert [kept["version"] for kept in history] == list(range(1, now["version"] + 1))


async def test_of_sessions_that_change_one_row_at_once_none_overwrites_another(shop: Toolkit, call: Caller) -> None:
    made = await call.make("order", number="A-1")
    all_have_read = asyncio.Barrier(4)

    async def add_a_piece() -> Any:
        async with shop.session() as session:
            order = await session.get(Order, made["id"])
            assert order is not None
            await all_have_read.wait()
            order.pieces += 1

    results = await asyncio.gather(*[add_a_piece() for _ in range(4)], return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["NoneType", *["StaleDataError"] * 3]
    assert (await call("GET", f"/order/{made['id']}")).json()["pieces"] == 2
