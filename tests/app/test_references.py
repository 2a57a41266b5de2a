"""Which definitions a function brings along."""

import functools
import types
from typing import Any

from toolkit.app.references import referred_by


class Piece:
    """Stands for any definition."""

    def __init__(self, name: str) -> None:
        self.name = name


first, second, third, unused = Piece("first"), Piece("second"), Piece("third"), Piece("unused")
several = [Piece("listed"), {"key": Piece("nested")}]
module = types.ModuleType("pieces")
vars(module).update(direct=Piece("direct"), other=Piece("other"))


def names_in(function: Any) -> list[str]:
    return [piece.name for piece in referred_by(function, wanted=(Piece,))]


def helper(*arguments: Any) -> Any:
    return second, helper


def test_names_of_the_module_are_found_in_the_order_of_the_code() -> None:
    def function() -> Any:
        return third, first

    assert names_in(function) == ["third", "first"]


def test_names_of_the_closure_are_found() -> None:
    local = Piece("local")

    def function() -> Any:
        return local

    assert names_in(function) == ["local"]


def test_inner_functions_and_comprehensions_are_looked_into() -> None:
    def function() -> Any:
        def inner() -> Any:
            return [first for _ in range(2)]

        return inner, lambda: third

    assert sorted(names_in(function)) == ["first", "third"]


def test_helpers_are_followed_once() -> None:
    def function() -> Any:
        return helper(), helper(), first

    assert names_in(function) == ["second", "first"]


def test_attributes_of_modules_are_found_and_only_those_named() -> None:
    def function() -> Any:
        return module.direct

    assert names_in(function) == ["direct"]


def test_collections_partials_and_defaults_are_looked_into() -> None:
    partial = functools.partial(helper, first)

    def function(default: Any = third) -> Any:
        return several, partial, default

    assert sorted(names_in(function)) == ["first", "listed", "nested", "second", "third"]


def test_a_name_that_is_assigned_later_is_no_error() -> None:
    def function() -> Any:
        return later

    assert names_in(function) == []
    later = 1
    assert function() == later
