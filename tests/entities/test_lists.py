"""Lists: filtered by field and operator, sorted, and walked page by page without losing or repeating a row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.entities.conftest import Caller
from tests.entities.shop import fields_of

ORDERS: list[dict[str, Any]] = [
    {"number": "A-1", "total": "9.50", "pieces": 3, "wanted_on": "2026-01-01"},
    {"number": "A-2", "total": "100.00", "pieces": 1, "colour": "blue"},
    {"number": "B-10%", "total": "99.99", "pieces": 2, "wanted_on": "2026-03-01"},
    {"number": "b-4", "total": "-5", "pieces": 2},
]


@pytest.fixture
async def orders(call: Caller) -> None:
    for order in ORDERS:
        await call.make("order", **order)


async def numbers(call: Caller, query: str) -> list[str]:
    response = await call("GET", f"/order?{query}")
    assert response.status_code == 200, response.text
    return [order["number"] for order in response.json()["items"]]


FILTERS: list[tuple[str, list[str]]] = [
    ("", ["b-4", "B-10%", "A-2", "A-1"]),
    ("number=A-1", ["A-1"]),
    ("number.ne=A-1", ["b-4", "B-10%", "A-2"]),
    ("number.in=A-1,A-2", ["A-2", "A-1"]),
    ("number.contains=0%25", ["B-10%"]),
    ("number.starts_with=b-", ["b-4", "B-10%"]),
    ("number.contains=%27%20OR%201=1--", []),
    ("total.gt=99", ["B-10%", "A-2"]),
    ("total.le=9.5", ["b-4", "A-1"]),
    ("total=9.5", ["A-1"]),
    ("pieces.ge=2&total.lt=50", ["b-4", "A-1"]),
    ("colour=blue", ["A-2"]),
    ("wanted_on.is_null=true", ["b-4", "A-2"]),
    ("wanted_on.ge=2026-02-01", ["B-10%"]),
    ("status=draft&limit=2", ["b-4", "B-10%"]),
]


@pytest.mark.usefixtures("orders")
async def test_a_filter_finds_what_fits(call: Caller) -> None:
    for query, expected in FILTERS:
        assert await numbers(call, query) == expected, query


SORTED: list[tuple[str, list[str]]] = [
    ("total", ["b-4", "A-1", "B-10%", "A-2"]),
    ("-total", ["A-2", "B-10%", "A-1", "b-4"]),
    ("pieces,-total", ["A-2", "B-10%", "b-4", "A-1"]),
    ("wanted_on", ["A-1", "B-10%", "A-2", "b-4"]),
    ("-wanted_on", ["B-10%", "A-1", "b-4", "A-2"]),
    ("id", ["A-1", "A-2", "B-10%", "b-4"]),
]


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("limit", [1, 3])
async def test_pages_of_any_size_make_up_the_whole_list(call: Caller, limit: int) -> None:
    for sort, expected in SORTED:
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            query = f"/order?sort={sort}&limit={limit}&count=true" + (f"&after={after}" if after else "")
            page = (await call("GET", query)).json()
            seen += [order["number"] for order in page["items"]]
            assert page["count"] == 4
            after = page["next"]

        assert seen == expected, sort


@pytest.mark.usefixtures("orders")
async def test_as_much_as_may_be_asked_can_be_answered(call: Caller) -> None:
    many = "&".join([f"number.in={','.join(['9%25'] * 200)}", "number.contains=" + "%25" * 2000, *["pieces=3"] * 48])

    assert await numbers(call, many) == []


async def test_a_row_that_comes_while_a_list_is_read_moves_nothing(call: Caller) -> None:
    for n in range(4):
        await call.make("order", number=f"A-{n}")
    first = (await call("GET", "/order?limit=2")).json()
    await call.make("order", number="A-9")

    rest = await numbers(call, f"limit=2&after={first['next']}")

    assert rest == ["A-1", "A-0"]


LONG = ["a" * 4000 + "1", "a" * 4000 + "2", "a" * 99, "ä" * 5000, "b" * 101, "日" * 3000, "", "a" * 4000 + "1"]


async def walk(call: Caller, query: str, *, limit: int = 1) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    after = ""
    while True:
        response = await call("GET", f"/note?{query}&limit={limit}{after}")
        assert response.status_code == 200, response.text
        page = response.json()
        seen += page["items"]
        if page["next"] is None:
            return seen
        after = f"&after={page['next']}"


@pytest.mark.parametrize("sort", ["text", "-text", "text,-id", "-rank,text"])
async def test_a_list_sorted_by_long_texts_is_walked_to_its_end(call: Caller, sort: str) -> None:
    for at, text in enumerate(LONG):
        await call.make("note", text=text, rank=at % 2 or None)

    whole = (await call("GET", f"/note?sort={sort}")).json()["items"]

    assert await walk(call, f"sort={sort}") == whole
    assert len(whole) == len(LONG)


@pytest.mark.parametrize("sort", ["text", "-text"])
async def test_a_cursor_whose_row_has_changed_repeats_what_begins_alike_and_skips_nothing(
    call: Caller, sort: str
) -> None:
    made = [await call.make("note", text="a" * 200 + str(at)) for at in range(4)]
    await call.make("note", text="b" if sort == "text" else "A")
    first = (await call("GET", f"/note?sort={sort}&limit=2")).json()
    await call.change("note", first["items"][1]["id"], text="somewhere else")

    rest = (await call("GET", f"/note?sort={sort}&after={first['next']}")).json()["items"]

    unseen = {note["id"] for note in made} - {note["id"] for note in first["items"]}
    assert unseen < {note["id"] for note in rest}


async def test_a_cursor_is_an_address_whatever_the_rows_say(call: Caller) -> None:
    for _ in range(2):
        await call.make("note", text="日" * 100_000)

    cursor = (await call("GET", "/note?sort=text&limit=1")).json()["next"]

    assert len(cursor) < 1000


MISFITS: list[tuple[str, str]] = [
    ("secret_margin=1", "query.secret_margin"),
    ("numbr=1", "query.numbr"),
    ("number.regex=.*", "query.number.regex"),
    ("pieces=many", "query.pieces"),
    ("pieces.gt=99999999999", "query.pieces.gt"),
    ("total=NaN", "query.total"),
    ("total.gt=1e999", "query.total.gt"),
    ("colour.gt=red", "query.colour.gt"),
    ("colour=green", "query.colour"),
    ("wanted_on.is_null=maybe", "query.wanted_on.is_null"),
    ("created_at.gt=2026-01-01T00:00:00", "query.created_at.gt"),
    ("paper=1", "query.paper"),
    ("sort=colour", "query.sort"),
    ("sort=number,number", "query.sort"),
    ("sort=secret_margin", "query.sort"),
    ("after=nonsense", "query.after"),
    ("after=W10", "query.after"),
    ("sort=number&after=WyItaWQiLFsiYSJdXQ", "query.after"),
    ("sort=" + ",".join(["number"] * 11), "query.sort"),
    ("&".join(["number=1"] * 51), "query"),
    ("number.contains=" + "x" * 2001, "query.number.contains"),
    ("number.in=" + "x" * 2001, "query.number.in"),
    ("created_at.gt=9999-12-31T23:59:59-14:00", "query.created_at.gt"),
    ("sort=number&after=WyJudW1iZXIsaWQiLFtbXSwiYSJdXQ", "query.after"),
    ("limit=0", "query.limit"),
    ("limit=1000", "query.limit"),
]


async def test_a_list_that_cannot_be_made_says_why(call: Caller) -> None:
    for query, place in MISFITS:
        response = await call("GET", f"/order?{query}")

        assert (response.status_code, fields_of(response)) == (422, [place]), query
