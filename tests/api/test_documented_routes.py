"""Every route that a page of the documentation names is served, with the parameters that stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.api.installation import Caller

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["agents", "files", "human", "rules", "runs", "workflows"]  # entities.md is about routes of one's own tables
_CODE = re.compile(r"`([^`]+)`")
_ROUTE = re.compile(r"(?:(GET|POST|PUT|PATCH|DELETE) )?(/[^ ]*)$")


class Named(NamedTuple):
    line: int
    method: str
    path: str
    parameters: frozenset[str]


def named_in(page: str) -> Iterator[Named]:
    """``GET /a/{b}?c=1`` in code, and in a row of a table also ``/a``, by the method that stands before it."""
    for number, line in enumerate(page.splitlines(), start=1):
        method = ""
        for code in _CODE.findall(line):
            found = _ROUTE.match(code.replace("…", "").replace("...", ""))
            if found is None or not (found[1] or (method and line.startswith("|"))):
                continue
            method = found[1] or method
            path, _, query = found[2].partition("?")
            yield Named(number, method, _shape(path), frozenset(re.findall(r"(\w+)=", query)))


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


@pytest.fixture
async def routes(call: Caller) -> list[Named]:
    """All that an application serves, each with the parameters of its query."""
    paths: dict[str, dict[str, Any]] = (await call("GET", "/openapi.json")).json()["paths"]
    return [
        Named(0, method.upper(), _shape(path), frozenset(_in_query(operation)))
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]


def _in_query(operation: dict[str, Any]) -> Iterator[str]:
    return (one["name"] for one in operation.get("parameters", ()) if one["in"] == "query")


@pytest.mark.parametrize("page", PAGES)
def test_what_is_documented_is_served(page: str, routes: list[Named]) -> None:
    named = list(named_in((DOCS / f"{page}.md").read_text(encoding="utf-8")))
    assert named
    assert [one for one in named if not any(_serves(route, one) for route in routes)] == []


def _serves(route: Named, named: Named) -> bool:
    is_it = route.method == named.method and route.path.endswith(named.path)  # a page may leave out what they all share
    return is_it and named.parameters <= route.parameters
