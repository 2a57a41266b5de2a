"""A room is entered by its door: other rooms import what its ``__init__`` offers, never a file behind it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = sorted(path.parent.name for path in (ROOT / "toolkit").glob("*/__init__.py"))
OUTSIDE = [*ROOT.glob("toolkit/*.py"), *ROOT.glob("examples/**/*.py")]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_reaches_behind_the_door(room: str) -> None:
    others = [path for other in ROOMS if other != room for path in (ROOT / "toolkit" / other).rglob("*.py")]

    reached = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in [*others, *OUTSIDE]
        for name in imports_of(path)
        if name.startswith(f"toolkit.{room}.")
    ]

    assert reached == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_door_says_first_why_the_room_exists_and_what_it_offers(room: str) -> None:
    tree = ast.parse((ROOT / "toolkit" / room / "__init__.py").read_text(encoding="utf-8"))

    assert ast.get_docstring(tree), f"toolkit.{room} does not say why it exists"
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert "__all__" in names
