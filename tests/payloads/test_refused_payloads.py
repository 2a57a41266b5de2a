"""A codec that refuses a payload fails what wanted to keep it, by a name and without its content."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlmodel import select

from tests.payloads.codecs import Moody
from tests.workflows.conftest import until_state
from toolkit.access import record_audit
from toolkit.agents.tables import AgentHistoryRow
from toolkit.clock import SystemClock
from toolkit.errors import InvalidInput, SerializationError
from toolkit.storage import MARK, Database, PayloadNotDecoded, PayloadNotEncoded, StorageUnavailable
from toolkit.workflows import Engine, RetryPolicy, RunState, get_session, step, wait_for_event, workflow

SECRET = "medlar-5"
calls: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


@pytest.fixture
def codec() -> Moody:
    return Moody()


@pytest.fixture
async def engine(database_url: str, codec: Moody) -> AsyncIterator[Engine]:
    database = Database(database_url, payload_codec=codec)
    await database.open()
    engine = Engine(database, workflows=[keep_word, keep_word_in_session, wait])
    await engine.open()
    yield engine
    await engine.close()
    await database.close()


@step(retry=RetryPolicy(max_retries=3, first_delay=0))
async def say(word: str) -> str:
    calls.append(word)
    return f"the word is {word}"


@step(retry=RetryPolicy(max_retries=3, first_delay=0))
async def say_in_session(word: str) -> str:
    calls.append(word)
    await record_audit(get_session(), action="said", object_kind="word", object_id="1")
    return f"the word is {word}"


@workflow()
async def keep_word(word: str) -> str:
    try:
        return await say(word)
    except SerializationError as error:
        return f"refused: {error}"


@workflow()
async def keep_word_in_session(word: str) -> str:
    try:
        return await say_in_session(word)
    except SerializationError as error:
        return f"refused: {error}"


@workflow()
async def wait() -> str:
    return str(await wait_for_event("word"))


def refuse_results(data: bytes) -> Exception | None:
    return ValueError(f"I do not like {data!r}") if b"the word is" in data else None


@pytest.mark.parametrize("kind", ["plain", "session"])
async def test_a_step_whose_result_is_refused_fails_at_once(kind: str, engine: Engine, codec: Moody) -> None:
    codec.refuses = refuse_results

    chosen = keep_word if kind == "plain" else keep_word_in_session
    said = await (await engine.start(chosen, SECRET)).result()

    assert said.startswith("refused: the result of step 'say")
    assert "the payload codec Moody could not encode 'result' of the statement" in said
    assert "it raised ValueError" in said
    assert SECRET not in said
    assert calls == [SECRET]


async def test_what_is_refused_fails_alone(engine: Engine, codec: Moody) -> None:
    def refuse_one(data: bytes) -> Exception | None:
        return ValueError("no") if b"bad" in data else None

    codec.refuses = refuse_one
    words = ["good", "bad", "better", "best"]
    found = await asyncio.gather(*(engine.start(keep_word, word) for word in words), return_exceptions=True)

    assert [type(each).__name__ for each in found] == ["RunHandle", "PayloadNotEncoded", "RunHandle", "RunHandle"]
    assert isinstance(found[1], PayloadNotEncoded)
    assert (found[1].codec, found[1].column.split()[0]) == ("Moody", "'input'")


async def test_a_key_service_that_is_away_is_waited_for(engine: Engine, codec: Moody) -> None:
    failures = iter(range(3))

    def be_away(data: bytes) -> Exception | None:
        return StorageUnavailable("no key for now") if next(failures, None) is not None else None

    codec.refuses = be_away
    run = await engine.start(keep_word, SECRET)

    assert await run.result() == f"the word is {SECRET}"
    assert calls == [SECRET]


async def test_an_event_that_is_refused_is_not_kept(engine: Engine, codec: Moody) -> None:
    run = await engine.start(wait)
    await until_state(engine, run.id, RunState.SUSPENDED)
    codec.refuses = lambda data: ValueError("no") if b"bad" in data else None

    with pytest.raises(PayloadNotEncoded):
        await engine.emit_event("word", "bad")
    await engine.emit_event("word", "good")

    assert await run.result() == "good"


def history(messages: str) -> AgentHistoryRow:
    return AgentHistoryRow(id="1", agent="a", run_id="r", step="s", messages=messages, created_at=SystemClock().now())


async def test_a_session_tells_the_column_and_nothing_of_the_content(engine: Engine, codec: Moody) -> None:
    codec.refuses = lambda data: ValueError(data.decode())

    with pytest.raises(PayloadNotEncoded) as refused:
        async with engine.database.session() as session:
            session.add(history(SECRET))

    assert str(refused.value) == (
        "the payload codec Moody could not encode the column toolkit_agent_history.messages: it raised ValueError; "
        "nothing of it was stored"
    )
    codec.refuses = lambda data: StorageUnavailable("no key for now")
    with pytest.raises(StorageUnavailable, match="no key for now"):
        async with engine.database.session() as session:
            session.add(history(SECRET))


async def test_a_session_without_the_codec_tells_the_column_too(engine: Engine, database_url: str) -> None:
    async with engine.database.session() as session:
        session.add(history(SECRET))
    plain = Database(database_url)
    await plain.open()
    try:
        with pytest.raises(PayloadNotDecoded, match=r"the column toolkit_agent_history\.messages is encoded"):
            async with plain.session() as session:
                (await session.exec(select(AgentHistoryRow))).all()
        with pytest.raises(InvalidInput, match="cannot hold a text that begins with"):
            async with plain.session() as session:
                session.add(history(f"{MARK}a person's own"))
    finally:
        await plain.close()
