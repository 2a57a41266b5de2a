"""What the payloads of a statement and of a table are, and the codec that compresses."""

from __future__ import annotations

import zlib

import pytest
from sqlalchemy import Text

import toolkit.human.tables  # noqa: F401 - declares what is asked for below
from toolkit.human import statements as human
from toolkit.storage import (
    MARK,
    CompressedPayloads,
    Payload,
    Payloads,
    Query,
    Statement,
    Table,
    Unencoded,
    both,
    insert,
)
from toolkit.workflows import statements
from toolkit.workflows.tables import RunRow

# Stored as it is in a table whose column has another type; see there.
_ALSO = {"toolkit_step.display_name"}


def inserts() -> list[Statement]:
    """Those of one table; what PostgreSQL writes to several at once is looked at in ``test_waits_at_once``."""
    found = [each for each in (*vars(statements).values(), *vars(human).values()) if isinstance(each, Statement)]
    return [each for each in found if each.sqlite.startswith("INSERT") and each.name.startswith("insert toolkit_")]


@pytest.mark.parametrize("statement", inserts(), ids=lambda statement: statement.name)
def test_a_statement_encodes_what_its_table_calls_a_payload(statement: Statement) -> None:
    table = Table.metadata.tables[statement.name.removeprefix("insert ")]
    names = statement.sqlite[statement.sqlite.index("(") + 1 : statement.sqlite.index(")")].split(", ")

    declared = {name for name in names if isinstance(table.columns[name].type, Payload)}
    also = {name for name in names if f"{table.name}.{name}" in _ALSO}
    assert {name for _, name in statement.payloads} == declared | also
    assert all(names[at] == name for at, name in statement.payloads)


def test_a_payload_is_text_to_the_database() -> None:
    assert isinstance(RunRow.__table__.c.input.type.impl, Text)  # type: ignore[attr-defined]


def test_only_payloads_are_encoded_and_only_once() -> None:
    payloads = Payloads(CompressedPayloads())
    statement = both("keep", "INSERT INTO t VALUES ($1, $2, $3)", payloads=((1, "input"),))

    (encoded,) = [payloads.encoded(Query(statement, ["id", '{"a": 1}', None]))]
    assert isinstance(encoded, Query)
    id_, text, nothing = encoded.parameters
    assert (id_, nothing) == ("id", None)
    assert text.startswith(MARK)
    assert payloads.decoded([("id", text, None)]) == [("id", '{"a": 1}', None)]
    for kept in (text, None, "@values:default:values/x", Unencoded('{"type": "RunParked"}')):
        assert payloads.encoded_values(statement, ["id", kept, None]) == ["id", kept, None]


def test_what_cannot_be_decoded_stays_as_it_is() -> None:
    payloads = Payloads(CompressedPayloads())

    rows: list[tuple[object, ...]] = [("id", f"{MARK}bm90IG1pbmU=", 1), ("id", f"{MARK}%%%", 2), ("id", "plain", 3)]
    assert payloads.decoded(rows) == rows


def test_small_payloads_are_not_compressed_and_large_ones_come_back_equal() -> None:
    codec = CompressedPayloads(above=100)
    small, large, noise = b"x" * 99, b"abc" * 10_000, bytes(range(256)) * 2

    assert codec.encode(small) == b"=" + small
    assert len(codec.encode(large)) < 1000
    assert [codec.decode(codec.encode(data)) for data in (b"", small, large, noise)] == [b"", small, large, noise]


def test_a_payload_that_would_fill_the_memory_is_refused() -> None:
    codec = CompressedPayloads(largest=1000)

    with pytest.raises(ValueError, match="larger than 1,000 bytes"):
        codec.decode(b"z" + zlib.compress(b"x" * 1001))
    with pytest.raises(ValueError, match="cut off"):
        codec.decode(codec.encode(b"abc" * 1000)[:-5])
    with pytest.raises(ValueError, match="not made by"):
        codec.decode(b"?")
    assert codec.decode(b"z" + zlib.compress(b"x" * 1000)) == b"x" * 1000


def test_a_statement_without_payloads_has_none() -> None:
    assert insert("t", {"id": "text"}).payloads == ()
