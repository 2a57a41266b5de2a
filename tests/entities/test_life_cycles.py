"""A status goes where its life cycle leads, is recorded at every move, and takes workflows along."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.entities.conftest import Caller
from tests.entities.shop import Order, jump_ahead, make_shop
from toolkit import Toolkit
from toolkit.config import Settings
from toolkit.entities import Entity, StatusField, Transition, on_transition
from toolkit.errors import DefinitionError, RunFailed, TransitionRefused
from toolkit.workflows import step


async def the_run(app: Toolkit) -> Any:
    """The only run, when it has ended."""
    (run,) = await app.services.engine.list_runs()
    await app.services.engine.wait_for_completion(run.id)
    return run


async def test_a_move_that_is_not_declared_is_refused_with_those_that_are(call: Caller) -> None:
    made = await call.make("order", number="A-1", total="5")

    response = await call.change("order", made["id"], status="ordered")

    assert response.status_code == 409
    assert response.json()["type"].endswith(":transition-refused")
    assert response.json()["details"]["allowed"] == ["approved", "rejected"]
    assert (await call("GET", f"/order/{made['id']}")).json()["status"] == "draft"


async def test_a_guard_that_does_not_hold_is_named(call: Caller) -> None:
    made = await call.make("order", number="A-1", total="0")

    refused = await call.change("order", made["id"], status="approved")
    allowed = await call.change("order", made["id"], status="approved", total="5")

    assert refused.status_code == 409
    assert refused.json()["details"]["unmet"] == ["a total is known"]
    assert refused.json()["details"]["allowed"] == ["rejected"]
    assert allowed.status_code == 200


async def test_moves_and_versions_are_on_record(call: Caller) -> None:
    made = await call.make("order", number="A-1", total="5")
    await call.change("order", made["id"], pieces=2)
    await call.change("order", made["id"], status="approved")
    await call("DELETE", f"/order/{made['id']}", headers={"if-match": '"2"'})

    moves = (await call("GET", f"/order/{made['id']}/moves")).json()["items"]
    history = (await call("GET", f"/order/{made['id']}/history")).json()["items"]
    rest = (await call("GET", f"/order/{made['id']}/history?after=1&limit=1")).json()

    assert [(move["from_state"], move["to_state"], move["by"]) for move in moves] == [
        (None, "draft", "ada"),
        ("draft", "approved", "ada"),
    ]
    assert [(kept["version"], kept["values"]["pieces"], kept["values"]["status"]) for kept in history] == [
        (1, 1, "draft"),
        (2, 2, "draft"),
        (3, 2, "approved"),
    ]
    assert "secret_margin" not in history[0]["values"]
    assert ([kept["version"] for kept in rest["items"]], rest["next"]) == ([2], 2)


async def test_history_outlives_its_row(call: Caller) -> None:
    made = await call.make("order", number="A-1")
    await call("DELETE", f"/order/{made['id']}", headers={"if-match": '"1"'})

    history = (await call("GET", f"/order/{made['id']}/history")).json()["items"]

    assert [kept["action"] for kept in history] == ["created", "deleted"]


async def test_of_two_moves_at_once_one_wins_and_the_other_is_refused(call: Caller) -> None:
    made = await call.make("order", number="A-1", total="5")
    await call.change("order", made["id"], status="approved")

    ordered, rejected = await asyncio.gather(
        call.change("order", made["id"], status="ordered"), call.change("order", made["id"], status="rejected")
    )

    assert sorted([ordered.status_code, rejected.status_code]) == [200, 409]
    moves = (await call("GET", f"/order/{made['id']}/moves")).json()["items"]
    assert len(moves) == 3


async def test_a_session_is_held_to_the_life_cycle_too(shop: Toolkit) -> None:
    async with shop.session() as session:
        order = Order(number="A-1", created_by="eve", version=17)
        session.add(order)
    assert order.version == 1
    assert order.created_by != "eve"

    with pytest.raises(TransitionRefused) as refused:
        async with shop.session() as session:
            found = await session.get(Order, order.id)
            assert found is not None
            found.status = "ordered"
    assert refused.value.allowed == ["rejected"]

    with pytest.raises(TransitionRefused, match="begin"):
        async with shop.session() as session:
            session.add(Order(number="A-2", status="ordered"))


async def test_a_step_is_held_to_the_life_cycle_too(shop: Toolkit) -> None:
    async with shop.session() as session:
        order = Order(number="A-1")
        session.add(order)

    with pytest.raises(RunFailed, match="cannot become 'ordered'"):
        await (await shop.start(jump_ahead, order.id)).result()


async def test_a_move_starts_its_workflow_in_the_same_transaction(settings: Settings) -> None:
    async with make_shop(with_orders_placed=True).running(settings=settings) as app:
        call = Caller(app)
        made = await call.make("order", number="A-1", total="5")

        with pytest.raises(ZeroDivisionError):
            async with app.session() as session:
                order = await session.get(Order, made["id"])
                assert order is not None
                order.status = "approved"
                await session.flush()
                raise ZeroDivisionError
        assert await app.services.engine.list_runs() == []

        await call.change("order", made["id"], status="approved")
        run = await the_run(app)

        moves = (await call("GET", f"/order/{made['id']}/moves")).json()["items"]
        assert (run.workflow, run.started_by) == ("order_it", "ada")
        assert [move["to_state"] for move in moves] == ["draft", "approved", "ordered"]
        assert moves[2]["by"] == f"run:{run.id}"
        assert len(await app.services.engine.list_runs()) == 1


def test_the_diagram_shows_states_moves_and_conditions() -> None:
    from tests.entities.shop import Order
    from toolkit.entities.changes import life_cycles_of

    assert life_cycles_of(Order)["status"].diagram() == (
        "stateDiagram-v2\n"
        "    [*] --> draft\n"
        "    draft --> approved : a total is known\n"
        "    draft --> rejected\n"
        "    approved --> ordered\n"
        "    approved --> rejected\n"
        "    ordered --> [*]\n"
        "    rejected --> [*]\n"
    )


@pytest.mark.parametrize(
    ("states", "transitions", "says"),
    [
        ([], {}, "at least one"),
        (["a", "a"], {}, "each once"),
        (["a", "b"], {"a": ["c"]}, "'c'"),
        (["a", "b"], {"a": ["a"]}, "leads nowhere"),
        (["a", "b"], [Transition("a", "b"), Transition("a", "b")], "twice"),
    ],
)
def test_a_life_cycle_that_cannot_work_is_refused_where_it_is_written(
    states: list[str], transitions: Any, says: str
) -> None:
    with pytest.raises(DefinitionError, match=says):
        StatusField(states=states, transitions=transitions)


def test_only_a_workflow_of_one_argument_starts_on_a_move() -> None:
    @step()
    async def alone() -> None: ...

    with pytest.raises(DefinitionError, match="above @workflow"):
        on_transition(Entity)(alone)  # type: ignore[type-var]
