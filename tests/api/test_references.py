"""A reference to a file in a workflow's input is completed from what the file store knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from toolkit.api.references import complete_references
from toolkit.errors import InvalidInput, NotFound
from toolkit.files import File

KNOWN = File(
    id="01900000-0000-7000-8000-000000000001",
    filename="invoice.pdf",
    content_type="application/pdf",
    size=7,
    sha256="0" * 64,
)


class Case(BaseModel):
    title: str
    file: File | None = None
    more: list[File] = []
    by_name: dict[str, File] = {}
    below: Case | None = None
    pair: tuple[int, File] | None = None


class NotAFile(BaseModel):
    id: str


@dataclass
class Folder:
    left: Folder | Case | None = None
    right: Folder | Case | None = None


async def find(file_id: str) -> File:
    if file_id != KNOWN.id:
        raise NotFound("file", file_id)
    return KNOWN


def schema_of(**parameters: Any) -> dict[str, Any]:
    return TypeAdapter(TypedDict("Arguments", parameters)).json_schema()  # type: ignore[operator]


async def completed(value: Any, type_: Any) -> Any:
    text = await complete_references(json.dumps({"case": value}), schema_of(case=type_), find)
    return TypeAdapter(type_).validate_python(json.loads(text)["case"])


async def test_an_id_becomes_the_whole_reference() -> None:
    assert await completed({"id": KNOWN.id}, File) == KNOWN


async def test_what_a_caller_says_beyond_the_id_is_not_believed() -> None:
    forged = {"id": KNOWN.id, "filename": "x", "size": 0, "sha256": "f" * 64, "content_type": "text/html"}

    assert await completed(forged, File) == KNOWN


@pytest.mark.parametrize(
    "value",
    [
        {"title": "a", "file": {"id": KNOWN.id}},
        {"title": "a", "more": [{"id": KNOWN.id}, {"id": KNOWN.id}]},
        {"title": "a", "by_name": {"first": {"id": KNOWN.id}}},
        {"title": "a", "below": {"title": "b", "file": {"id": KNOWN.id}}},
        {"title": "a", "pair": [1, {"id": KNOWN.id}]},
    ],
)
async def test_references_are_found_wherever_the_schema_has_a_file(value: dict[str, Any]) -> None:
    case = await completed(value, Case)

    assert KNOWN.sha256 in case.model_dump_json()


async def test_an_unknown_file_names_its_field() -> None:
    unknown = "01900000-0000-7000-8000-00000000dead"

    with pytest.raises(InvalidInput) as caught:
        await completed({"title": "a", "more": [{"id": KNOWN.id}, {"id": unknown}]}, Case)

    assert [error["loc"] for error in caught.value.errors] == ["case.more.1"]


async def test_an_id_that_is_not_a_files_is_left_alone() -> None:
    assert await completed({"id": "anything"}, NotAFile) == NotAFile(id="anything")


async def test_a_recursive_union_is_read_in_proportion_to_its_size() -> None:
    value: dict[str, Any] = {"title": "leaf"}
    for _ in range(60):
        value = {"left": value, "right": None}
    schema = schema_of(case=Folder)

    await complete_references(
        json.dumps({"case": value}), schema, find
    )  # two to the power of sixty steps would not end


async def test_input_nested_without_end_is_refused() -> None:
    value: dict[str, Any] = {}
    for _ in range(500):
        value = {"left": value}

    with pytest.raises(InvalidInput, match="recursion limit"):
        await complete_references(json.dumps({"case": value}), schema_of(case=Folder), find)


async def test_numbers_beside_a_file_keep_their_digits() -> None:
    text = f'{{"amount": "1000000000000000.01", "big": 12345678901234567890123, "file": {{"id": "{KNOWN.id}"}}}}'

    completed_text = await complete_references(text, schema_of(amount=Any, big=Any, file=File), find)

    assert '"amount":"1000000000000000.01","big":12345678901234567890123' in completed_text


async def test_input_without_files_is_handed_on_as_it_came() -> None:
    assert await complete_references('{"a" : 1.10}', schema_of(a=float), find) == '{"a" : 1.10}'
