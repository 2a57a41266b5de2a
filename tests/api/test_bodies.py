"""Bodies are read no further than their limit and keep their digits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from toolkit.api.bodies import Body, JsonObjectText, JsonText, Text, read, read_json
from toolkit.errors import InvalidInput, LimitExceeded
from toolkit.serialization import codec_for


class Sample(Body):
    payload: JsonText = "null"
    thing: JsonObjectText | None = None
    note: Text | None = None


def request_of(*chunks: bytes, **headers: str) -> Request:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": at < len(chunks) - 1} for at, chunk in enumerate(chunks)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    sent = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


async def parsed(text: str | bytes, **options: Any) -> Sample:
    content = text.encode() if isinstance(text, str) else text
    return await read_json(request_of(content), Sample, limit=1000, **options)


@pytest.mark.parametrize("text", ["0.1", "12345678901234567890123", '{"a" : [1.10]}', '"\\u0000"', "null", "true"])
async def test_json_for_a_room_is_handed_on_as_it_came(text: str) -> None:
    assert (await parsed(f'{{"payload": {text}}}')).payload == text


@pytest.mark.parametrize("token", ["1000000000000000.01", "0.1000000000000000055", "1e400", "123456789.12345678901E7"])
async def test_a_number_that_a_float_cannot_hold_keeps_every_digit(token: str) -> None:
    body = await parsed(f'{{"payload": {{"amount": {token}, "rate": 0.25, "count": 12345678901234567890}}}}')

    assert codec_for(dict[str, Decimal]).parse_json(body.payload) == {
        "amount": Decimal(token),
        "rate": Decimal("0.25"),
        "count": Decimal("12345678901234567890"),
    }


@pytest.mark.parametrize("token", ["1e99999999999999999999999", "-1E-99999999999999999999999"])
async def test_an_exponent_that_no_number_has_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="exponent of the number"):
        await parsed(f'{{"payload": {{"amount": {token}}}}}')


async def test_a_float_reads_the_same_number_from_a_long_token() -> None:
    body = await parsed('{"payload": 1000000000000000.01}')

    assert codec_for(float).parse_json(body.payload) == 1000000000000000.01


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{", '{"payload": }', '{"payload": 1} x', '{"payload": ' + "[" * 100_000, b'{"payload": "\xff"}'],
)
async def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        await read_json(request_of(text if isinstance(text, bytes) else text.encode()), Sample, limit=200_000)

    assert caught.value.errors


async def test_an_unknown_field_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        await parsed('{"payload": 1, "completed_by": "ada"}')

    assert [error["loc"] for error in caught.value.errors] == ["completed_by"]


async def test_text_that_a_database_cannot_keep_is_refused() -> None:
    with pytest.raises(InvalidInput, match="fit"):
        await parsed('{"note": "a\\u0000b"}')


async def test_an_empty_body_is_an_empty_object_only_where_it_may_be() -> None:
    assert await parsed(b"", is_optional=True) == Sample()
    with pytest.raises(InvalidInput):
        await parsed(b"")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_that_does_not_say_json_is_refused(media_type: str) -> None:
    with pytest.raises(HTTPException) as caught:
        await read_json(request_of(b"{}", content_type=media_type), Sample, limit=1000)

    assert caught.value.status_code == 415


async def test_an_announced_excess_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(LimitExceeded):
        await read(request_of(content_length="1001"), limit=1000)


async def test_an_excess_that_nobody_announced_is_refused_when_it_comes() -> None:
    with pytest.raises(LimitExceeded):
        await read(request_of(b"a" * 600, b"a" * 600), limit=1000)

    assert await read(request_of(b"a" * 600, b"a" * 400), limit=1000) == b"a" * 1000
