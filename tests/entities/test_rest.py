"""A registered class is served: made, read, changed and deleted, and whatever does not fit is refused by name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter

from tests.entities.conftest import Caller
from tests.entities.shop import fields_of, make_shop
from toolkit.access import Permission, list_audit
from toolkit.api import requires
from toolkit.config import Settings
from toolkit.errors import DefinitionError
from toolkit.files import File


async def test_what_was_made_is_read_back_with_who_made_it(call: Caller) -> None:
    made = await call.make("order", number="A-1", total="1000000000000000.01", wanted_on="2026-05-01", colour="blue")

    found = await call("GET", f"/order/{made['id']}")

    assert found.status_code == 200
    assert found.headers["etag"] == '"1"'
    assert found.json() == made
    assert made["total"] == "1000000000000000.01"
    assert (made["created_by"], made["updated_by"], made["version"], made["status"]) == ("ada", "ada", 1, "draft")
    assert made["created_at"] == made["updated_at"]
    assert "secret_margin" not in made


async def test_the_address_of_a_new_row_is_in_the_answer(call: Caller) -> None:
    response = await call("POST", "/note", json={"text": "hello"})

    assert response.headers["location"] == f"/toolkit/v1/entities/note/{response.json()['id']}"


async def test_a_key_of_any_script_has_an_address(call: Caller) -> None:
    for code in ("日本", "a b", "50%", "?#"):
        made = await call("POST", "/country", json={"code": code, "name": "here"})

        location = made.headers["location"]
        assert (made.status_code, location.isascii()) == (201, True)
        found = await call("GET", location.removeprefix("/toolkit/v1/entities"))
        assert (found.status_code, found.json()) == (200, {"code": code, "name": "here"})


async def test_a_key_that_no_address_holds_is_refused(call: Caller) -> None:
    for code in ("x" * 201, "", "a/b", "/", ".", ".."):
        response = await call("POST", "/country", json={"code": code})

        assert (response.status_code, fields_of(response)) == (422, ["code"]), code
        assert "a key stands in addresses" in response.json()["errors"][0]["msg"]
    assert (await call("GET", "/country")).json()["items"] == []


async def test_bytes_are_base64_wherever_they_are_shown(call: Caller) -> None:
    supplier = await call.make("supplier", name="Acme")
    made = await call.make("order", number="A-1", stamp="_____w==", supplier_id=supplier["id"])

    history = (await call("GET", f"/order/{made['id']}/history")).json()["items"]
    listed = (await call("GET", "/order")).json()["items"]
    related = (await call("GET", f"/supplier/{supplier['id']}/related/order")).json()["items"]

    assert (made["stamp"], history[0]["values"]["stamp"]) == ("_____w==", "_____w==")
    assert listed == related == [made]


MISFITS: list[tuple[dict[str, Any], list[str]]] = [
    ({"number": "A-1", "colour_": "red"}, ["colour_"]),
    ({"number": "A-1", "version": 7, "created_by": "eve", "id": "x"}, ["version", "created_by", "id"]),
    ({"number": "A-1", "approved_by": "eve"}, ["approved_by"]),
    ({"number": "A-1", "secret_margin": 7}, ["secret_margin"]),
    ({"number": "A-1", "pieces": 0}, ["pieces"]),
    ({"number": "A-1", "pieces": 2**40}, ["pieces"]),
    ({"number": "A-" + "1" * 30}, ["number"]),
    ({"number": "A1"}, ["number"]),
    ({"number": "A-\u0000"}, ["number"]),
    ({"number": "A-1", "total": "0.001"}, ["total"]),
    ({"number": "A-1", "total": "1e500"}, ["total"]),
    ({"number": "A-1", "status": "approved"}, ["status"]),
    ({"number": "A-1", "colour": "green"}, ["colour"]),
    ({}, ["number"]),
]


async def test_what_does_not_fit_is_refused_by_name(call: Caller) -> None:
    for fields, named in MISFITS:
        response = await call("POST", "/order", json=fields)

        assert (response.status_code, fields_of(response)) == (422, named), fields
    assert (await call("GET", "/order")).json()["items"] == []


async def test_a_change_needs_the_version_that_was_read(call: Caller) -> None:
    made = await call.make("order", number="A-1")

    without = await call("PATCH", f"/order/{made['id']}", json={"pieces": 2})
    changed = await call.change("order", made["id"], '"1"', pieces=2)
    stale = await call.change("order", made["id"], '"1"', pieces=3)

    assert without.status_code == 428
    assert (changed.status_code, changed.headers["etag"], changed.json()["pieces"]) == (200, '"2"', 2)
    assert stale.status_code == 412
    assert stale.json()["details"]["version"] == '"2"'


@pytest.mark.parametrize("entity", ["order", "note"])
async def test_of_two_changes_at_once_one_wins(call: Caller, entity: str) -> None:
    made = await call.make(entity, **({"number": "A-1"} if entity == "order" else {"text": "x"}))
    tag = (await call("GET", f"/{entity}/{made['id']}")).headers["etag"]
    field = "pieces" if entity == "order" else "rank"

    answers = await asyncio.gather(*(call.change(entity, made["id"], tag, **{field: n}) for n in range(2, 8)))

    codes = sorted(answer.status_code for answer in answers)
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert codes == [200, 412, 412, 412, 412, 412]
    assert all(a.json()["details"]["version"] == winner.headers["etag"] for a in answers if a.status_code == 412)
    assert (await call("GET", f"/{entity}/{made['id']}")).json()[field] == winner.json()[field]


async def test_a_row_that_was_deleted_is_gone(call: Caller) -> None:
    made = await call.make("note", text="hello")

    assert (await call("DELETE", f"/note/{made['id']}")).status_code == 428
    assert (await call("DELETE", f"/note/{made['id']}", headers={"if-match": "*"})).status_code == 204
    assert (await call("GET", f"/note/{made['id']}")).status_code == 404
    assert (await call.change("note", made["id"], text="again")).status_code == 404


async def test_a_softly_deleted_row_stays_and_may_come_back(call: Caller) -> None:
    made = await call.make("supplier", name="Acme")

    await call("DELETE", f"/supplier/{made['id']}", headers={"if-match": '"1"'})

    assert (await call("GET", f"/supplier/{made['id']}")).status_code == 404
    assert (await call("GET", "/supplier")).json()["items"] == []
    (kept,) = (await call("GET", "/supplier?deleted=true")).json()["items"]
    assert kept["deleted_by"] == "ada"
    back = await call("POST", f"/supplier/{made['id']}/restore", headers={"if-match": '"2"'})
    assert (back.status_code, back.json()["deleted_at"]) == (200, None)


async def test_a_row_that_is_not_deleted_cannot_be_taken_back(call: Caller) -> None:
    made = await call.make("supplier", name="Acme")

    response = await call("POST", f"/supplier/{made['id']}/restore", headers={"if-match": '"1"'})

    assert (response.status_code, "is not deleted" in response.json()["detail"]) == (409, True)
    entries = await list_audit(call.app.services.database, object_kind="supplier", object_id=made["id"])
    assert [entry.action for entry in entries] == ["entity.created"]


async def test_a_constraint_of_the_database_is_a_conflict(call: Caller) -> None:
    supplier = await call.make("supplier", name="Acme")
    order = await call.make("order", number="A-1", supplier_id=supplier["id"])

    again = await call("POST", "/supplier", json={"name": "Acme"})
    nowhere = await call("POST", "/order", json={"number": "A-2", "supplier_id": "nowhere"})

    assert (again.status_code, nowhere.status_code) == (409, 409)
    assert "Acme" not in again.text
    assert order["supplier_id"] == supplier["id"]


async def test_related_rows_are_found_both_ways(call: Caller) -> None:
    supplier = await call.make("supplier", name="Acme")
    orders = [await call.make("order", number=f"A-{n}", supplier_id=supplier["id"]) for n in range(3)]
    await call.make("order", number="B-1")

    first = (await call("GET", f"/supplier/{supplier['id']}/related/order?limit=2")).json()
    rest = (await call("GET", f"/supplier/{supplier['id']}/related/order?limit=2&after={first['next']}")).json()
    up = (await call("GET", f"/order/{orders[0]['id']}/related/supplier")).json()

    assert [row["number"] for row in first["items"] + rest["items"]] == ["A-2", "A-1", "A-0"]
    assert (up["entity"], [row["name"] for row in up["items"]]) == ("supplier", ["Acme"])
    assert (await call("GET", f"/order/{orders[0]['id']}/related/nothing")).status_code == 404


async def test_a_reference_to_a_file_is_completed_and_an_unknown_one_refused(call: Caller) -> None:
    file = await File.upload(content=b"hello", filename="a.txt")

    made = await call.make("order", number="A-1", paper={"id": file.id})
    unknown = await call("POST", "/order", json={"number": "A-1", "paper": {"id": "0" * 36}})

    assert made["paper"] == file.model_dump()
    assert (unknown.status_code, fields_of(unknown)) == (422, ["paper"])


async def test_a_plain_class_is_served_with_a_digest_for_its_version(call: Caller) -> None:
    made = await call.make("note", text="hello", written_at="2026-05-01T12:00:00+02:00")
    tag = (await call("GET", f"/note/{made['id']}")).headers["etag"]

    changed = await call.change("note", made["id"], tag, text="bye")

    assert made["written_at"].startswith("2026-05-01T10:00:00")
    assert changed.json()["text"] == "bye"
    assert changed.headers["etag"] != tag


async def test_what_there_is_describes_itself(call: Caller) -> None:
    kinds = {kind["name"]: kind for kind in (await call("GET", "")).json()["items"]}

    assert set(kinds) == {"supplier", "order", "note", "country"}  # a link has two keys, and no address
    assert kinds["order"]["relations"] == {"supplier": "supplier"}
    assert kinds["supplier"]["relations"] == {"order": "order"}
    assert "stateDiagram-v2" in kinds["order"]["fields"]["status"]["life_cycle"]["diagram"]
    assert kinds["order"]["fields"]["approved_by"]["is_writable"] is False
    assert "number" in kinds["order"]["schemas"]["new"]["required"]
    assert "secret_margin" not in str(kinds)


async def test_every_change_is_in_the_audit_trail(call: Caller) -> None:
    made = await call.make("note", text="hello")
    await call.change("note", made["id"], text="bye")
    await call("DELETE", f"/note/{made['id']}", headers={"if-match": "*"})

    entries = await list_audit(call.app.services.database, object_kind="note", object_id=made["id"])

    assert [entry.action for entry in entries] == ["entity.deleted", "entity.updated", "entity.created"]
    assert entries[1].details == {"fields": ["text"]}
    assert "bye" not in str(entries)


async def test_an_authors_route_takes_the_place_of_ours(settings: Settings) -> None:
    router = APIRouter()

    @router.get("/toolkit/v1/entities/note/{note_id}", dependencies=[requires(Permission.ENTITIES_READ)])
    async def get_note(note_id: str) -> str:
        return f"mine: {note_id}"

    async with make_shop().register_router(router).running(settings=settings) as app:
        call = Caller(app)
        made = await call.make("note", text="hello")

        assert (await call("GET", f"/note/{made['id']}")).json() == f"mine: {made['id']}"
        assert (await call("GET", "/note")).status_code == 200


async def test_an_option_that_names_no_field_is_refused(settings: Settings) -> None:
    from tests.entities.shop import Note
    from toolkit import Toolkit

    app = Toolkit().register_entity(Note, hidden=["txet"])

    with pytest.raises(DefinitionError, match="txet"):
        async with app.running(settings=settings):
            pass
