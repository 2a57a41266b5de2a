"""Runs are found by what stands on their rows and by attributes of the author's; no payload is read for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.workflows.conftest import StartEngine, until_state
from toolkit.errors import InvalidInput, RunFailed
from toolkit.storage import Database, Query, both
from toolkit.workflows import (
    Attribute,
    Engine,
    RunFilter,
    RunState,
    add_tags,
    remove_tags,
    set_attributes,
    wait_for_event,
    workflow,
)
from toolkit.workflows.attributes import encode_attributes, number_text, read_attributes
from toolkit.workflows.queries import page_query

DUE = datetime(2026, 3, 1, 12, tzinfo=UTC)


@workflow()
async def greet(name: str) -> str:
    if name == "nobody":
        raise ValueError("there is 100% nobody_to greet")
    return f"hello {name}"


@workflow()
async def pay() -> None:
    raise ValueError("Überweisung fehlt")


@workflow()
async def wait_for_letter() -> str:
    letter: str = await wait_for_event("letter", payload_type=str)
    return letter


@workflow()
async def classify(total: Decimal) -> None:
    await set_attributes(total=total, stage="read", due=DUE)
    await add_tags("invoice", "new")
    await wait_for_event("go")
    await set_attributes(stage="done", due=None)
    await remove_tags("new")


async def found(engine: Engine, **conditions: Any) -> list[str]:
    return [run.id for run in await engine.list_runs(RunFilter(**conditions))]


async def started(engine: Engine, name: str, **given: Any) -> str:
    run = await engine.start_json("greet", {"name": name}, **given)
    try:
        await asyncio.wait_for(run.result(), 10)
    except RunFailed:
        assert name == "nobody"
    return run.id


async def test_runs_are_found_by_workflow_state_time_and_tags(start_engine: StartEngine) -> None:
    engine = await start_engine(greet, wait_for_letter)
    first = await started(engine, "ada", tags=["vip", "north"])
    between = datetime.now(UTC)
    second = await started(engine, "bob", tags=["north"])
    waiting = (await engine.start(wait_for_letter)).id
    await until_state(engine, waiting, RunState.SUSPENDED)

    assert await found(engine) == [waiting, second, first]
    assert await found(engine, workflows=["greet"]) == [second, first]
    assert await found(engine, workflows=["greet", "wait_for_letter"], states=[RunState.SUSPENDED]) == [waiting]
    assert await found(engine, created_until=between) == [first]
    assert await found(engine, created_from=between) == [waiting, second]
    assert await found(engine, finished_until=between) == [first]
    assert await found(engine, finished_from=between) == [second]
    assert await found(engine, tags=["north"]) == [second, first]
    assert await found(engine, tags=["north", "vip"]) == [first]
    assert await found(engine, ids=[first, waiting]) == [waiting, first]
    assert await engine.count_runs(RunFilter(tags=["north"])) == 2


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("customer=ACME", ["b", "a"]),
        ("customer=acme", []),
        ("total=100", ["a"]),
        ("total=100.00", ["a"]),
        ("total>=100", ["b", "a"]),
        ("total > 100", ["b"]),
        ("total<0", ["c"]),
        ("due<2026-03-02T00:00:00Z", ["a"]),
        ("due=2026-03-01T13:00:00+01:00", ["a"]),
        ("reference=100", ["c"]),
        ("reference>=100", []),
    ],
)
async def test_runs_are_found_by_texts_numbers_and_times(
    start_engine: StartEngine, condition: str, expected: Sequence[str]
) -> None:
    engine = await start_engine(greet)
    given: dict[str, dict[str, Attribute]] = {
        "a": {"customer": "ACME", "total": Decimal("100.0"), "due": DUE},
        "b": {"customer": "ACME", "total": 100.01, "due": DUE + timedelta(days=1)},
        "c": {"total": -5, "reference": "100"},
    }
    names = {await started(engine, name, attributes=attributes): name for name, attributes in given.items()}

    assert [names[id_] for id_ in await found(engine, attributes=[condition])] == expected


async def test_a_summary_shows_tags_and_attributes_as_they_were_given(start_engine: StartEngine) -> None:
    engine = await start_engine(greet)
    run_id = await started(engine, "ada", tags=["vip"], attributes={"total": Decimal("10.50"), "due": DUE, "note": "é"})

    (summary,) = await engine.list_runs()
    detail = await engine.get_run(run_id)

    assert summary.tags == ("vip",)
    assert summary.attributes == {"total": Decimal("10.5"), "due": DUE, "note": "é"}
    assert detail.summary == summary


async def test_a_run_sets_changes_and_removes_what_it_is_found_by(start_engine: StartEngine) -> None:
    engine = await start_engine(classify)
    run = await engine.start(classify, Decimal(250))
    await until_state(engine, run.id, RunState.SUSPENDED)
    early = (await engine.get_run(run.id)).summary

    await engine.emit_event("go")
    await asyncio.wait_for(run.result(), 10)
    late = (await engine.get_run(run.id)).summary

    assert (early.tags, early.attributes) == (("invoice", "new"), {"total": 250, "stage": "read", "due": DUE})
    assert (late.tags, late.attributes) == (("invoice",), {"total": 250, "stage": "done"})
    assert [step.name for step in await engine.list_steps(run.id)] == [
        "set_attributes",
        "add_tags",
        "go",
        "set_attributes",
        "remove_tags",
    ]


async def test_what_a_run_has_set_is_not_set_again_when_it_is_replayed(start_engine: StartEngine) -> None:
    first = await start_engine(classify)
    run = await first.start(classify, Decimal(1))
    await until_state(first, run.id, RunState.SUSPENDED)
    await first.close()
    second = await start_engine(classify)

    await second.emit_event("go")
    await asyncio.wait_for(second.wait_for_completion(run.id), 10)

    assert (await second.get_run(run.id)).summary.attributes == {"total": 1, "stage": "done"}


async def test_runs_are_found_by_the_text_of_their_error(start_engine: StartEngine) -> None:
    engine = await start_engine(greet)
    await started(engine, "ada")
    failed = await started(engine, "nobody")

    assert await found(engine, error="NOBODY_to") == [failed]
    assert await found(engine, error="valueerror") == [failed]
    assert await found(engine, error="100%") == [failed]
    assert await found(engine, error="nobodyXto") == [], "_ and % stand for themselves"
    (summary,) = await engine.list_runs(state=RunState.FAILED)
    assert summary.error_summary == "ValueError: there is 100% nobody_to greet"


async def test_an_error_is_found_in_any_case_of_any_alphabet(start_engine: StartEngine) -> None:
    engine = await start_engine(pay)
    with pytest.raises(RunFailed):
        await asyncio.wait_for((await engine.start(pay)).result(), 10)

    for text in ("Überweisung", "überweisung", "ÜBERWEISUNG", "überweisung_"):
        assert len(await found(engine, error=text)) == (0 if text.endswith("_") else 1), text


async def test_every_digit_of_an_exact_number_is_kept_and_compared(start_engine: StartEngine) -> None:
    engine = await start_engine(greet)
    account, rate = 10**30 + 1, Decimal("12345678901234567890.12345678901234567890")
    run_id = await started(engine, "ada", attributes={"account": account, "rate": rate})

    assert (await engine.get_run(run_id)).summary.attributes == {"account": account, "rate": rate}
    assert await found(engine, attributes=[f"account={account}", f"rate={rate}0"]) == [run_id]
    assert await found(engine, attributes=[f"account={account + 1}"]) == []


async def test_any_number_of_ids_may_be_named(start_engine: StartEngine) -> None:
    engine = await start_engine(greet)
    run_ids = [await started(engine, name) for name in ("ada", "bob")]

    assert await found(engine, ids=[*run_ids, *map(str, range(40_000))]) == run_ids[::-1]
    assert await engine.count_runs(RunFilter(ids=run_ids[:1] * 200, workflows=["greet"] * 40_000)) == 1


BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
BEFORE, AFTER = timezone(timedelta(hours=1)), timezone(timedelta(hours=-1))


@pytest.mark.parametrize(
    ("where", "is_found"),
    [
        ({"created_from": BEGINNING, "created_until": END}, True),
        ({"finished_from": BEGINNING, "finished_until": END}, True),
        ({"created_from": datetime(1960, 1, 1, tzinfo=UTC)}, True),
        ({"created_until": datetime(1960, 1, 1, tzinfo=UTC)}, False),
        ({"created_from": END}, False),
        ({"attributes": ["total<1e400", "due<9999-12-31T23:59:59Z", "total>-1e400"]}, True),
        ({"attributes": ["reference=1e999999999"]}, True),
        ({"attributes": ["reference=9999-12-31T23:59:59-01:00"]}, False),
    ],
)
async def test_the_ends_of_time_and_of_numbers_may_be_named(
    start_engine: StartEngine, where: dict[str, Any], *, is_found: bool
) -> None:
    engine = await start_engine(greet)
    attributes: dict[str, Attribute] = {"total": 1, "due": DUE, "reference": "1e999999999"}
    run_id = await started(engine, "ada", attributes=attributes)

    assert await found(engine, **where) == ([run_id] if is_found else [])


@pytest.mark.parametrize(
    "where",
    [
        RunFilter(created_until=END.replace(tzinfo=AFTER)),
        RunFilter(created_from=BEGINNING.replace(tzinfo=BEFORE)),
        RunFilter(finished_until=END.replace(tzinfo=AFTER)),
        RunFilter(attributes=["total>=1e999999999"]),
        RunFilter(attributes=["due<9999-12-31T23:59:59-01:00"]),
        RunFilter(error="x" * 501),
        RunFilter(error="\udcff"),
        RunFilter(error="a\x00b"),
        RunFilter(workflows=["a\x00b"]),
        RunFilter(ids=["\ud800"]),
        RunFilter(tags=["\ud800"]),
        RunFilter(attributes=["note=\ud800"]),
        RunFilter(started_by="\x00"),
    ],
)
def test_what_no_run_could_have_is_refused_and_not_looked_for(where: RunFilter) -> None:
    with pytest.raises(InvalidInput):
        page_query(where, after=None, limit=1)


async def test_pages_go_on_where_the_last_one_ended(start_engine: StartEngine) -> None:
    engine = await start_engine(greet)
    ids = [await started(engine, f"guest {at}", tags=["guest"]) for at in range(5)]

    seen: list[str] = []
    after = None
    while page := await engine.list_runs(RunFilter(tags=["guest"]), after=after, limit=2):
        assert len(page) <= 2
        seen += [run.id for run in page]
        after = seen[-1]

    assert seen == ids[::-1]


async def test_steps_come_in_pages_too(start_engine: StartEngine) -> None:
    engine = await start_engine(classify)
    run = await engine.start(classify, Decimal(1))
    await engine.emit_event("go")
    await run.result()
    everything = [step.path for step in await engine.list_steps(run.id)]

    seen: list[str] = []
    while page := await engine.list_steps(run.id, after=seen[-1] if seen else None, limit=2):
        seen += [step.path for step in page]

    assert seen == everything


async def test_a_summary_reads_no_payload(database: Database) -> None:
    query = page_query(
        RunFilter(workflows=["pay"], tags=["vip"], attributes=["total>=1"], error="x"), after=None, limit=50
    )

    for text in (query.statement.sqlite, query.statement.postgresql):
        columns = text.partition(" FROM ")[0].removeprefix("SELECT ").split(", ")
        assert not {"input", "result", "error", "progress", "*"} & set(columns)
        assert " error " not in text.replace("error_summary", "")


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (RunFilter(workflows=["pay"]), "ix_toolkit_run_workflow"),
        (RunFilter(states=[RunState.FAILED]), "ix_toolkit_run_state"),
        (RunFilter(error="timeout"), "ix_toolkit_run_error"),
        (RunFilter(forked_from="a run"), "ix_toolkit_run_forked"),
        (RunFilter(created_from=DUE), "id>?"),
    ],
)
async def test_a_page_is_found_by_an_index(database: Database, where: RunFilter, index: str) -> None:
    if database.dialect != "sqlite":
        pytest.skip("an empty table tells nothing of the plans of PostgreSQL")
    query = page_query(where, after=None, limit=50)
    plan = both("plan", f"EXPLAIN QUERY PLAN {query.statement.sqlite}")

    rows = await database.reader.read(Query(plan, query.parameters))

    assert index in " ".join(str(row[-1]) for row in rows)


@pytest.mark.parametrize(
    "condition", ["total", ">=5", "total>=many", "due<2026-01-01", "total!=5", "a b=c", "1st=x", "="]
)
async def test_a_condition_that_cannot_be_read_is_refused(database: Database, condition: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be used"):
        page_query(RunFilter(attributes=[condition]), after=None, limit=1)


async def test_a_moment_without_a_time_zone_is_refused(database: Database) -> None:
    with pytest.raises(InvalidInput, match="naive"):
        page_query(RunFilter(created_from=datetime(2026, 1, 1)), after=None, limit=1)  # noqa: DTZ001 - it is the point


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x" * 101, "y"),
        ("#tag", "y"),
        ("a=b", "y"),
        ("flag", True),
        ("when", datetime(2026, 1, 1)),  # noqa: DTZ001 - it is the point
        ("total", float("nan")),
        ("total", Decimal("Infinity")),
        ("text", "x" * 501),
        ("text", "\x00"),
        ("text", "\ud800"),
        ("due", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
        pytest.param("total", 10**5000, id="long"),
        ("total", Decimal("1e999999999")),
        ("total", Decimal("1e-999999999")),
        ("list", ["a"]),
    ],
)
def test_a_value_that_no_run_could_be_found_by_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match="search attribute"):
        encode_attributes({name: value})


def test_equal_numbers_are_one_text() -> None:
    assert {number_text(value) for value in (100, 100.0, "100.00", Decimal("1E+2"), "+100")} == {"100"}
    assert number_text("-0.0") == "0"
    assert number_text("much") is None
    assert {number_text(value) for value in ("0.10", 0.1, "1e-1")} == {"0.1"}
    assert number_text(10**30 + 1) == "1000000000000000000000000000001"
    assert number_text("1e999999999") is None


def test_values_come_back_as_what_they_were() -> None:
    given: dict[str, Attribute] = {"a": "x", "b": Decimal("1.25"), "c": DUE}

    assert read_attributes(encode_attributes(given)) == ((), given)
