"""Whatever a caller sends, to whichever route: the answer says what was wrong with it, and is no fault of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.api.installation import Installation

V1 = "/toolkit/v1"
UNKNOWN = "01900000-0000-7000-8000-00000000dead"
_TEXTS = [
    "99999999999999999999",  # more than any column of a database holds
    "2147483648",
    "9" * 5000,  # more digits than Python reads
    "-1",
    "1e400",
    "0001-01-01T00:00:00+14:00",  # outside of the years that there are, in UTC
    "9999-12-31T23:59:59.999999-14:00",
    "0001-01-01T00:00:00Z",
    "\u2028",
    "\x00",
    "x" * 3000,
    "MDAwMDAwMDA",  # base64, as cursors are
    "WyItaWQiLFsiYSJdXQ",
]
# Halves of surrogate pairs and bytes that are no UTF-8 are found in addresses only.
IN_ADDRESSES = [*(quote(text, safe="") for text in _TEXTS), "%ED%A0%80", "%FF%FE"]
IN_HEADERS = ["9" * 5000, "99999999999999999999", "x" * 300, "\xe9\xff", "retry:x", '"1"']
IN_BODIES = [
    *(f'"{text}"' for text in _TEXTS if text.isprintable() and len(text) < 4000),
    *("null", "true", "-1", "1e400", "2147483648", "9223372036854775808", "9" * 5000, '""', "[]", "{}", "[[]]"),
    *('{"a": 1}', '"\\u0000"', '"\\ud800"', '"\\u2028"', '"undisclosed:;@x"', "[" * 5000 + "]" * 5000),
]
BODIES = [b"", b"{", b"null", b"[]", b"\xff", b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b"[" * 100_000]


_OF_EACH = 3


def some(values: Sequence[Any], *place: str) -> Sequence[Any]:
    """A few of ``values``, others at each place and the same in each run: all of them everywhere take minutes."""
    return Random("/".join(place)).sample(values, min(_OF_EACH, len(values)))


def sample(schema: dict[str, Any]) -> Any:
    """Something that may stand where ``schema`` does."""
    for known in ("const", "default"):
        if known in schema:
            return schema[known]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0])
    match schema.get("type"):
        case "string":
            moments = {"date": "2030-01-01", "date-time": "2030-01-01T00:00:00Z"}
            return moments.get(schema.get("format", ""), "xx")
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "array":
            return [sample(schema.get("items", {}))] if schema.get("minItems") else []
        case _:
            return {}


def bodies_of(operation: dict[str, Any]) -> Iterator[bytes]:
    """Bodies that are right but for one field, and some that are none."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return
    schema = content["application/json"]["schema"]
    yield from some(BODIES, schema.get("title", ""))
    fields: dict[str, Any] = schema.get("properties", {})
    right = {name: sample(fields[name]) for name in schema.get("required", [])}
    for name in fields:
        others = [f'"{other}": {json.dumps(value)}' for other, value in right.items() if other != name]
        for value in some(IN_BODIES, name, schema.get("title", "")):
            yield ("{" + ", ".join([*others, f'"{name}": {value}']) + "}").encode()


def requests_of(
    path: str, operation: dict[str, Any], known: dict[str, str]
) -> Iterator[tuple[str, dict[str, str], bytes | None]]:
    """Addresses, headers and bodies in each of which one thing is nonsense."""
    parameters = operation.get("parameters", [])
    places = re.findall(r"{(\w+)}", path)
    right = {name: known.get(name, "x") for name in places}
    base = path.format(**right)
    ends = "?seconds=0" if base.endswith("/human-tasks/changes") else ""
    empty = b"{}" if "requestBody" in operation else None
    for name in places:
        for value in some(IN_ADDRESSES, name, path):
            yield path.format(**right | {name: value}) + ends, {}, empty
    for parameter in parameters:
        if parameter["in"] == "query":
            others = ends.replace("?", "&") if parameter["name"] != "seconds" else ""
            for value in some(IN_ADDRESSES, parameter["name"], path):
                yield f"{base}?{parameter['name']}={value}{others}", {}, empty
    for header in ("last-event-id", "idempotency-key", "if-match", "range"):
        if header == "last-event-id" or header in {each["name"].lower() for each in parameters}:
            for value in some(IN_HEADERS, header, path):
                yield base + ends, {header: value}, empty
    for body in bodies_of(operation):
        yield base + ends, {}, body


@pytest.fixture
async def known(installation: Installation) -> dict[str, str]:
    """What the places in addresses stand for, so that nonsense gets further than to what is not found."""
    call = installation.caller()
    run = (await call("POST", f"{V1}/workflows/wait_for_letter/runs", json={"input": {}})).json()["id"]
    file = (await call("POST", f"{V1}/files?filename=a.txt", content=b"hello")).json()["items"][0]["id"]
    await call("PUT", f"{V1}/users/ada", json={})
    await call("PUT", f"{V1}/groups/finance", json={"members": ["ada"]})
    unknown = dict.fromkeys(("task_id", "link_id", "token", "substitution_id", "evaluation_id"), UNKNOWN)
    return {**unknown, "run_id": run, "file_id": file, "user_id": "ada", "group_id": "finance", "number": "1"}


async def test_nonsense_is_answered_and_never_with_a_fault_of_the_server(
    installation: Installation, known: dict[str, str]
) -> None:
    named = {"agents": "read_payment", "rules": "limit", "workflows": "greet"}
    faults: list[str] = []
    count = 0
    headers = {"x-toolkit-user": "ada", "content-type": "application/json"}
    transport = httpx2.ASGITransport(app=installation.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:8000", headers=headers) as client:
        for path, operations in installation.app.openapi()["paths"].items():
            places = known | {"name": named.get(path.split("/")[3], "x")}
            for method, operation in operations.items():
                for address, more, body in requests_of(path, operation, places):
                    raw = [(name.encode(), value.encode("latin-1")) for name, value in more.items()]
                    response = await client.request(method, address, headers=raw, content=body)
                    count += 1
                    if response.status_code >= 500:
                        faults.append(f"{response.status_code} {method} {address[:200]} {more!s:.80} {body!s:.200}")

    assert faults == []
    assert count > 1000


@pytest.mark.parametrize("position", ["9" * 5000, "99999999999999999999", "-1", "²", "١"])
async def test_a_stream_goes_on_after_an_event_that_may_be_one_of_its_own(
    installation: Installation, position: str
) -> None:
    call = installation.caller()
    run = (await call("POST", f"{V1}/workflows/greet/runs", json={"input": {"name": "Ada"}})).json()["id"]

    refused = await call("GET", f"{V1}/runs/{run}/agent-events", headers={"last-event-id": position.encode()})  # type: ignore[dict-item]
    last = await call("GET", f"{V1}/runs/{run}/agent-events", headers={"last-event-id": "9" * 18})

    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, "last-event-id")
    assert last.text.endswith("event: end\ndata: {}\n\n")


OUTSIDE = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "2030-01-01T00:00:00"]
MOMENTS = [
    *(("GET", f"{V1}/runs", name) for name in ("created_from", "created_until", "finished_from", "finished_until")),
    *(("GET", f"{V1}/files", name) for name in ("created_from", "created_before")),
    ("GET", f"{V1}/human-tasks", "due_before"),
    ("PATCH", f"{V1}/human-tasks/{UNKNOWN}", "due_at"),
    ("POST", f"{V1}/rules/limit/versions/1/activate", "valid_from"),
]


@pytest.mark.parametrize(("method", "path", "name"), MOMENTS)
async def test_a_moment_that_there_is_not_in_utc_is_refused_by_name(
    installation: Installation, method: str, path: str, name: str
) -> None:
    call = installation.caller()
    for moment in OUTSIDE:
        sent: dict[str, Any] = {"params": {name: moment}} if method == "GET" else {"json": {name: moment}}
        response = await call(method, path, **sent)
        assert response.status_code == 422, response.text
        assert response.json()["errors"][0]["loc"].endswith(name)


async def test_runs_are_found_from_the_first_moment_to_the_last(installation: Installation) -> None:
    call = installation.caller()
    await call("POST", f"{V1}/workflows/greet/runs", json={"input": {"name": "Ada"}})
    ends = {"created_from": "0001-01-01T00:00:00Z", "created_until": "9999-12-31T23:59:59.999999Z"}

    for params, count in [
        (ends, 1),
        ({"created_from": "1969-01-01T00:00:00Z"}, 1),
        ({"created_until": "1969-01-01T00:00:00Z"}, 0),
        ({"created_until": "0001-01-01T00:00:00Z"}, 0),
        ({"created_from": "9999-12-31T23:59:59.999999Z"}, 0),
    ]:
        assert len((await call("GET", f"{V1}/runs", params=params)).json()["items"]) == count, params


@pytest.mark.parametrize("number", ["2147483648", "99999999999999999999", "-1"])
async def test_the_number_of_a_version_is_one_that_there_may_be(installation: Installation, number: str) -> None:
    call = installation.caller()
    for room in ("rules/limit", "agents/read_payment"):
        assert (await call("GET", f"{V1}/{room}/versions/{number}")).status_code == 422
        assert (await call("POST", f"{V1}/{room}/versions/{number}/activate")).status_code == 422
    assert (await call("GET", f"{V1}/rules/limit/tables?version={number}")).status_code == 422
    body = {"input": {"total": "1"}, "version": int(number)}
    assert (await call("POST", f"{V1}/rules/limit/evaluate", json=body)).status_code == 422


@pytest.mark.parametrize("decision", ["%E2%80%A8", "%ED%A0%80", "_____w", "MDE"])
async def test_what_is_no_id_of_a_decision_is_not_found(installation: Installation, decision: str) -> None:
    call = installation.caller()
    assert (await call("GET", f"{V1}/decisions/{decision}/explain")).status_code == 404
    assert (await call("GET", f"{V1}/rules/limit/decisions?after={decision}")).status_code == 404


@pytest.mark.parametrize(
    "attributes",
    [
        "null",
        "[]",
        '""',
        "1",
        '{"a": null}',
        '{"a": 1e501}',
        '{"a": -1e999999999}',
        '{"a": 1e-999999999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": "\\ud800"}',
        '{"a": {"time": "9999-12-31T23:59:59-14:00"}}',
        '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
    ],
)
async def test_attributes_by_which_no_run_could_be_found_are_refused(
    installation: Installation, attributes: str
) -> None:
    call = installation.caller()
    body = '{"input": {"name": "Ada"}, "attributes": ' + attributes + "}"

    response = await call(
        "POST", f"{V1}/workflows/greet/runs", content=body, headers={"content-type": "application/json"}
    )

    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["loc"].startswith(("attributes", "body"))
    assert (await call("GET", f"{V1}/runs")).json()["items"] == []


async def test_a_number_among_the_attributes_has_every_digit_and_is_found_as_a_number(
    installation: Installation,
) -> None:
    call = installation.caller()
    body = '{"input": {"name": "Ada"}, "attributes": {"total": 1000000000000000.01, "small": 12.50}}'
    headers = {"content-type": "application/json"}

    run = (await call("POST", f"{V1}/workflows/greet/runs", content=body, headers=headers)).json()["id"]

    for condition in ("total>=1000", "total=1000000000000000.01", "small=12.5"):
        found = (await call("GET", f"{V1}/runs", params={"attribute": condition})).json()["items"]
        assert [each["id"] for each in found] == [run], condition
    kept = (await installation.services.engine.get_run(run)).summary.attributes
    assert kept == {"total": Decimal("1000000000000000.01"), "small": Decimal("12.5")}
