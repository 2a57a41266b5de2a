"""Classes that authors write otherwise than the toolkit's own examples are served as they read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, time

import pytest
from sqlalchemy import ForeignKeyConstraint
from sqlmodel import Field, SQLModel

from tests.entities.conftest import Caller
from tests.entities.shop import fields_of
from toolkit import Toolkit
from toolkit.config import Settings
from toolkit.entities import Entity, Guard, History, SoftDelete, StatusField, Transition


class Leaflet(SoftDelete, table=True):
    """Deleted softly, and no ``Entity``."""

    __tablename__ = "odd_leaflet"

    id: int | None = Field(default=None, primary_key=True)
    text: str


class Contract(Entity, table=True):
    """What it has in a field of a familiar name is its own."""

    __tablename__ = "odd_contract"

    title: str
    deleted_by: str = ""


class Vendor(Entity, table=True):
    """Two life cycles, of which one is hidden."""

    __tablename__ = "odd_vendor"

    name: str
    rating: str = StatusField(states=["fine", "shady"], transitions={"fine": ["shady"]})
    status: str = StatusField(states=["new", "known"], transitions={"new": ["known"]})


class Visit(SQLModel, table=True):
    """Columns as SQLModel makes them of plain types, and a key that the caller chooses."""

    __tablename__ = "odd_visit"

    code: str = Field(primary_key=True)
    at: datetime
    opens: time | None = None


class Site(Entity, History, table=True):
    """An ``Entity`` whose id the caller chooses."""

    __tablename__ = "odd_site"

    id: str = Field(primary_key=True)
    name: str = ""


class Part(Entity, table=True):
    """It comes in a lot, and a lot has one part for a sample."""

    __tablename__ = "odd_part"

    name: str
    lot_id: str | None = Field(default=None, foreign_key="odd_lot.id")


class Lot(Entity, table=True):
    __tablename__ = "odd_lot"
    __table_args__ = (ForeignKeyConstraint(["part_id"], ["odd_part.id"], name="sample", use_alter=True),)

    part_id: str | None = None


class Claim(Entity, table=True):
    """Its guard takes for granted what may be missing."""

    __tablename__ = "odd_claim"

    total: int | None = None
    status: str = StatusField(
        states=["open", "paid"],
        transitions=[Transition.between("open", "paid", Guard("a total is known", lambda claim: claim.total > 0))],
    )


CLASSES: list[type[SQLModel]] = [Leaflet, Contract, Vendor, Visit, Site, Part, Lot, Claim]
HIDDEN: dict[type[SQLModel], list[str]] = {Vendor: ["rating"]}


@pytest.fixture
async def odd(settings: Settings) -> AsyncIterator[Caller]:
    app = Toolkit("Odd")
    for entity in CLASSES:
        app.register_entity(entity, hidden=HIDDEN.get(entity, []))
    async with app.running(settings=settings) as running:
        yield Caller(running)


async def test_who_deleted_a_row_of_a_plain_class_is_nothing_to_be_written(odd: Caller) -> None:
    made = await odd.make("leaflet", text="hello")
    forged = {"deleted_at": "2026-01-01T00:00:00Z", "deleted_by": "eve"}

    new = await odd("POST", "/leaflet", json={"text": "bye", **forged})
    changed = await odd.change("leaflet", made["id"], **forged)
    gone = await odd("DELETE", f"/leaflet/{made['id']}", headers={"if-match": "*"})

    assert (new.status_code, fields_of(new)) == (422, ["deleted_at", "deleted_by"])
    assert (changed.status_code, fields_of(changed)) == (422, ["deleted_at", "deleted_by"])
    (kept,) = (await odd("GET", "/leaflet?deleted=true")).json()["items"]
    assert (gone.status_code, kept["deleted_by"]) == (204, "ada")


async def test_a_field_that_is_called_like_one_of_ours_is_written_as_any_other(odd: Caller) -> None:
    made = await odd.make("contract", title="Lease", deleted_by="the landlord")

    assert made["deleted_by"] == "the landlord"


async def test_the_moves_of_a_hidden_status_are_hidden(odd: Caller) -> None:
    made = await odd.make("vendor", name="Acme")
    async with odd.app.session() as session:
        vendor = await session.get(Vendor, made["id"])
        assert vendor is not None
        vendor.rating, vendor.status = "shady", "known"

    moves = (await odd("GET", f"/vendor/{made['id']}/moves")).json()["items"]

    assert [(move["field"], move["to_state"]) for move in moves] == [("status", "new"), ("status", "known")]


async def test_a_moment_without_an_offset_is_refused_with_what_is_expected(odd: Caller) -> None:
    made = await odd("POST", "/visit", json={"code": "a", "at": "2026-01-01T12:00:00"})
    listed = await odd("GET", "/visit?at.gt=2026-01-01T12:00:00")

    for response, place in ((made, "at"), (listed, "query.at.gt")):
        assert (response.status_code, fields_of(response)) == (422, [place])
        assert "with its offset" in response.json()["errors"][0]["msg"]
    assert (await odd.make("visit", code="a", at="2026-01-01T12:00:00+02:00"))["at"].startswith("2026-01-01T10:00:00")


async def test_a_time_of_day_with_an_offset_is_refused_rather_than_kept_without(odd: Caller) -> None:
    visit = {"code": "a", "at": "2026-01-01T12:00:00Z"}

    response = await odd("POST", "/visit", json={**visit, "opens": "10:00:00+02:00"})
    listed = await odd("GET", "/visit", params={"opens": "10:00:00+02:00"})
    made = await odd.make("visit", **visit, opens="10:00:00")

    assert (response.status_code, fields_of(response)) == (422, ["opens"])
    assert (listed.status_code, fields_of(listed)) == (422, ["query.opens"])
    assert "without an offset" in response.json()["errors"][0]["msg"]
    assert made["opens"] == "10:00:00"


async def test_an_entity_with_an_id_of_its_own_is_made_with_it_and_keeps_it(odd: Caller) -> None:
    made = await odd.make("site", id="berlin-1", name="Berlin")

    without = await odd("POST", "/site", json={"name": "Bonn"})
    moved = await odd.change("site", "berlin-1", id="bonn-1")

    assert (made["id"], made["version"]) == ("berlin-1", 1)
    assert (without.status_code, fields_of(without)) == (422, ["id"])
    assert (moved.status_code, fields_of(moved)) == (422, ["id"])
    assert (await odd("GET", "/site/berlin-1")).json() == made


async def test_two_entities_that_lead_to_each_other_have_a_relation_for_each_way(odd: Caller) -> None:
    lot = await odd.make("lot")
    parts = [await odd.make("part", name=name, lot_id=lot["id"]) for name in ("bolt", "nut")]
    await odd.change("lot", lot["id"], part_id=parts[0]["id"])

    kinds = {kind["name"]: kind["relations"] for kind in (await odd("GET", "")).json()["items"]}
    sample = (await odd("GET", f"/lot/{lot['id']}/related/part")).json()["items"]
    all_of_it = (await odd("GET", f"/lot/{lot['id']}/related/part_by_lot_id")).json()["items"]

    assert kinds["lot"] == {"part": "part", "part_by_lot_id": "part"}
    assert kinds["part"] == {"lot": "lot", "lot_by_part_id": "lot"}
    assert [part["name"] for part in sample] == ["bolt"]
    assert [part["name"] for part in all_of_it] == ["nut", "bolt"]


async def test_a_row_that_comes_again_goes_on_with_its_history(odd: Caller) -> None:
    if_match = {"if-match": "*"}
    await odd.make("site", id="berlin-1", name="Berlin")
    await odd("DELETE", "/site/berlin-1", headers=if_match)

    again = await odd("POST", "/site", json={"id": "berlin-1", "name": "Berlin again"})
    changed = await odd.change("site", "berlin-1", again.headers["etag"], name="Bonn")
    stale = await odd.change("site", "berlin-1", '"1"', name="Bern")
    async with odd.app.session() as session:  # out and in again in one flush
        await session.delete(await session.get(Site, "berlin-1"))
        session.add(Site(id="berlin-1", name="Basel"))

    assert (again.status_code, again.headers["etag"]) == (201, '"3"')
    assert (changed.status_code, changed.headers["etag"], stale.status_code) == (200, '"4"', 412)
    kept = (await odd("GET", "/site/berlin-1/history")).json()["items"]
    assert [(version["version"], version["action"], version["values"]["name"]) for version in kept] == [
        (1, "created", "Berlin"),
        (2, "deleted", "Berlin"),
        (3, "created", "Berlin again"),
        (4, "updated", "Bonn"),
        (5, "created", "Basel"),
    ]
    assert (await odd("GET", "/site/berlin-1")).json()["version"] == 5


async def test_what_a_session_says_of_the_version_is_not_heeded(odd: Caller) -> None:
    made = await odd.make("site", id="berlin-1", name="Berlin")
    async with odd.app.session() as session:
        site = await session.get(Site, made["id"])
        assert site is not None
        site.version, site.name = 70, "Bonn"
    async with odd.app.session() as session:
        session.add(Site(id="berlin-2", version=70))

    assert [site["version"] for site in (await odd("GET", "/site?sort=id")).json()["items"]] == [2, 1]


async def test_a_guard_that_raises_does_not_hold(odd: Caller, caplog: pytest.LogCaptureFixture) -> None:
    made = await odd.make("claim")

    with caplog.at_level("WARNING", logger="toolkit.entities"):
        refused = await odd.change("claim", made["id"], status="paid")
    paid = await odd.change("claim", made["id"], total=5, status="paid")

    assert (refused.status_code, refused.json()["details"]["unmet"]) == (409, ["a total is known"])
    assert {(vars(record)["guard"], vars(record)["error"]) for record in caplog.records} == {
        ("a total is known", "TypeError")
    }
    assert (paid.status_code, paid.json()["status"]) == (200, "paid")
